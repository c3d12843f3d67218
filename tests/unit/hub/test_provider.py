"""What an OIDC provider says is believed only where it is shown; and only its word about a person ends anybody."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from dure_hub.logins.oidc import groups_in
from dure_hub.logins.provider import Provider, Refused, nonce_of
from dure_hub.operations.login_errors import LoginUnproven, ProviderAway
from dure_hub.settings import Settings

ISSUER, CLIENT, NONCE = "https://login.example", "dure", nonce_of("a verifier")
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


def jwk(key: Any, kid: str) -> dict[str, Any]:
    """A public key as a provider shows it."""
    kind: Any = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**json.loads(kind.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


class World:
    """A provider that answers as told."""

    def __init__(self, folder: Path) -> None:
        secret = folder / "secret"
        secret.write_text("s3cret\n")
        self.settings = Settings(
            data=folder, auth="oidc", oidc_issuer=ISSUER, oidc_client_id=CLIENT, oidc_client_secret_file=secret
        )
        self.discovery: dict[str, Any] = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/auth",
            "token_endpoint": f"{ISSUER}/token",
            "userinfo_endpoint": f"{ISSUER}/me",
            "jwks_uri": f"{ISSUER}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
        }
        self.keys = [jwk(KEY, "one")]
        self.answers: dict[str, httpx.Response] = {}
        self.asked: list[httpx.Request] = []
        self.time = 0.0
        self.provider = Provider(self.settings, httpx.MockTransport(self.answer), lambda: self.time)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Discovery and keys, and what else was told."""
        request.read()
        self.asked.append(request)
        if request.url.path in self.answers:
            return self.answers[request.url.path]
        if request.url.path.endswith("/openid-configuration"):
            return httpx.Response(200, json=self.discovery)
        assert request.url.path == "/keys"
        return httpx.Response(200, json={"keys": self.keys})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def token(key: Any = KEY, kid: str | None = "one", algorithm: str = "RS256", **changed: Any) -> str:
    """An ID token that is right but for what is changed."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": CLIENT, "sub": "42", "iat": now, "exp": now + 300, "nonce": NONCE, **changed}
    headers = {} if kid is None else {"kid": kid}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers=headers)


async def test_a_right_token_is_believed(world: World) -> None:
    assert (await world.provider.claims(token(), NONCE))["sub"] == "42"
    assert (await world.provider.claims(token(kid=None), NONCE))["sub"] == "42"


WRONG: dict[str, Callable[[], str]] = {
    "signed by another key": lambda: token(OTHER),
    "signed with the client's secret": lambda: token("s3cret" * 8, algorithm="HS256"),
    "not signed": lambda: token(None, algorithm="none"),
    "for another client": lambda: token(aud="other"),
    "for several, by another": lambda: token(aud=[CLIENT, "other"], azp="other"),
    "of another issuer": lambda: token(iss="https://evil.example"),
    "over": lambda: token(exp=int(time.time()) - 120),
    "without an end": lambda: token(exp=None),
    "without a person": lambda: token(sub=None),
    "of another login": lambda: token(nonce=nonce_of("another")),
    "of no login": lambda: token(nonce=None),
    "no token": lambda: "nonsense",
    "by a key nobody knows": lambda: token(kid="two"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_wrong_token_is_not(world: World, what: str) -> None:
    with pytest.raises(LoginUnproven):
        await world.provider.claims(WRONG[what](), NONCE)


async def test_new_keys_are_asked_for_but_not_all_the_time(world: World) -> None:
    await world.provider.claims(token(), NONCE)
    world.keys = [jwk(CURVE, "two")]
    with pytest.raises(LoginUnproven):
        await world.provider.claims(token(CURVE, "two", "ES256"), NONCE)
    world.time += 61
    assert await world.provider.claims(token(CURVE, "two", "ES256"), NONCE)
    assert sum(request.url.path == "/keys" for request in world.asked) == 2


async def test_a_key_that_was_taken_back_is_believed_for_an_hour_at_most(world: World) -> None:
    await world.provider.claims(token(), NONCE)
    world.keys = [jwk(CURVE, "two")]
    world.time += 3601
    with pytest.raises(LoginUnproven):
        await world.provider.claims(token(), NONCE)


async def test_somebody_who_says_to_be_another_provider_is_none(world: World) -> None:
    world.discovery["issuer"] = "https://login.example/other"
    with pytest.raises(ProviderAway):
        await world.provider.endpoints()
    world.discovery |= {"issuer": ISSUER, "token_endpoint": "http://login.example/token"}
    world.time += 6
    with pytest.raises(ProviderAway):
        await world.provider.endpoints()


async def test_a_provider_that_is_away_is_asked_once_for_all_who_wait(world: World) -> None:
    world.answers["/.well-known/openid-configuration"] = httpx.Response(503)
    failed = await asyncio.gather(*(world.provider.endpoints() for _ in range(20)), return_exceptions=True)
    assert {type(one) for one in failed} == {ProviderAway}
    assert len(world.asked) == 1
    del world.answers["/.well-known/openid-configuration"]
    world.time += 6
    assert (await world.provider.endpoints()).issuer == ISSUER


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(400, json={"error": "invalid_grant", "error_description": "User disabled"}), Refused),
        (httpx.Response(401, json={"error": "invalid_client"}), ProviderAway),
        (httpx.Response(400, json={"error": "unauthorized_client"}), ProviderAway),
        (httpx.Response(429, json={}), ProviderAway),
        (httpx.Response(503, text="<html>"), ProviderAway),
        (httpx.Response(200, text="<html>"), ProviderAway),
        (httpx.Response(200, json=[]), ProviderAway),
        (httpx.Response(200, json={}), ProviderAway),
        (httpx.Response(302, headers={"location": "https://evil.example"}), ProviderAway),
    ],
)
async def test_only_a_word_about_the_person_counts(
    world: World, answer: httpx.Response, error: type[Exception]
) -> None:
    world.answers["/token"] = answer
    with pytest.raises(error):
        await world.provider.refresh("r")
    assert all(request.url.host == "login.example" for request in world.asked)


USERINFO = [
    (httpx.Response(401, json={"error": "invalid_token"}), Refused),
    (httpx.Response(401, headers={"www-authenticate": 'Bearer realm="x", error="invalid_token"'}), Refused),
    (httpx.Response(401, text="log in at the gateway"), ProviderAway),
    (httpx.Response(403, text="<html>blocked</html>"), ProviderAway),
]


@pytest.mark.parametrize(("answer", "error"), USERINFO)
async def test_a_gateway_before_the_provider_ends_nobody(
    world: World, answer: httpx.Response, error: type[Exception]
) -> None:
    world.answers["/me"] = answer
    with pytest.raises(error):
        await world.provider.userinfo("a")
    world.answers["/.well-known/openid-configuration"] = answer
    world.time += 3601
    with pytest.raises(ProviderAway):
        await world.provider.refresh("r")


async def test_the_secret_goes_where_the_provider_wants_it(world: World) -> None:
    world.answers["/token"] = httpx.Response(200, json={"access_token": "a"})
    await world.provider.refresh("r")
    assert "authorization" in world.asked[-1].headers
    assert b"s3cret" not in world.asked[-1].content
    world.discovery["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    world.time += 3601
    await world.provider.refresh("r")
    assert "authorization" not in world.asked[-1].headers
    assert b"client_secret=s3cret" in world.asked[-1].content


@pytest.mark.parametrize(
    ("claims", "groups"),
    [
        ({"groups": ["a", "b"]}, ["a", "b"]),
        ({"groups": "a"}, ["a"]),
        ({"groups": []}, []),
        ({}, []),
        ({"_claim_names": {"groups": "src1"}}, None),
        ({"realm_access": {"roles": ["x"]}}, []),
    ],
)
def test_groups_in_a_claim(claims: dict[str, Any], groups: list[str] | None) -> None:
    assert groups_in(claims, "groups") == groups


def test_a_claim_within_a_claim() -> None:
    assert groups_in({"realm_access": {"roles": ["x"]}}, "realm_access.roles") == ["x"]
    assert groups_in({"realm_access": "x"}, "realm_access.roles") == []
    assert groups_in({"a.b": ["y"], "a": {"b": ["x"]}}, "a.b") == ["y"]

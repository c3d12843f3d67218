"""Asking a real OIDC provider again about somebody who is signed in: what each of its answers comes to."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest

from dure_hub.app import operations
from dure_hub.logins import authenticator_of
from dure_hub.logins.outcomes import Confirmed, Gone, Unreachable
from dure_hub.logins.provider import nonce_of
from dure_hub.settings import Settings
from dure_hub.store.migrate import migrate
from dure_hub.supervisor.prepare import make_secrets
from tests.support.provider import CLIENT, SECRET, OidcProvider, running

REDIRECT, VERIFIER = "http://127.0.0.1:9/hub/oauth_callback", "v" * 50


class SignedIn:
    """A person of the hub's as `look` needs them: a name, and what is kept of their login."""

    def __init__(self, name: str, kept: dict[str, Any] | None) -> None:
        self.name, self.kept = name, kept
        self.saved = 0

    async def get_auth_state(self) -> dict[str, Any] | None:
        """What is kept."""
        return self.kept

    async def save_auth_state(self, kept: dict[str, Any]) -> None:
        """Keep it."""
        self.kept, self.saved = kept, self.saved + 1


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcProvider]:
    """One provider."""
    with running(REDIRECT, tmp_path_factory.mktemp("provider")) as made:
        yield made


@pytest.fixture
async def authenticator(provider: OidcProvider, tmp_path: Path) -> AsyncIterator[Any]:
    """The hub's authenticator over it, without the hub."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    settings = Settings(
        data=tmp_path / "data",
        auth="oidc",
        oidc_issuer=provider.issuer,
        oidc_client_id=CLIENT,
        oidc_client_secret_file=secret,
        oidc_groups_claim="groups",
        login_admin_group="staff",
    )
    settings.folder.create()
    make_secrets(settings)
    settings.save()
    migrate(settings)
    ops = operations(settings.folder.root)
    made = authenticator_of(ops)()
    yield made
    await made.provider.close()
    await ops.close()


async def sign_in(authenticator: Any, name: str) -> SignedIn:
    """By a browser's way through the provider's own page."""
    found = await authenticator.provider.endpoints()
    code = code_for(found.authorize, name)
    tokens = await authenticator.provider.redeem(code, verifier=VERIFIER, redirect=REDIRECT)
    claims = await authenticator.provider.claims(tokens["id_token"], nonce_of(VERIFIER))
    kept = {
        "access_token": tokens["access_token"],
        "refresh_token": tokens["refresh_token"],
        "subject": claims["sub"],
    }
    return SignedIn(name, kept)


async def test_groups_and_rights_are_those_of_now(provider: OidcProvider, authenticator: Any) -> None:
    provider.set("ana", groups=["vision", "staff"])
    ana = await sign_in(authenticator, "ana")
    first = await authenticator.look(ana)
    assert isinstance(first, Confirmed)
    assert first.teams is not None
    assert (first.subject, first.teams.names, first.admin) == ("ana", ("staff", "vision"), True)
    provider.set("ana", groups=["vision"])
    for count in (2, 3):  # a refresh token is good once: the new one was kept each time
        again = await authenticator.look(ana)
        assert isinstance(again, Confirmed)
        assert again.teams is not None
        assert (again.teams.names, again.admin, ana.saved) == (("vision",), False, count)


async def test_who_is_disabled_is_gone_and_who_is_back_must_sign_in(
    provider: OidcProvider, authenticator: Any
) -> None:
    provider.set("ben", groups=[])
    ben = await sign_in(authenticator, "ben")
    provider.set("ben", disabled=True)
    assert isinstance(await authenticator.look(ben), Gone)
    with pytest.raises(AssertionError):
        await sign_in(authenticator, "ben")


async def test_a_provider_that_is_away_or_refuses_us_says_nothing_of_anybody(
    provider: OidcProvider, authenticator: Any
) -> None:
    provider.set("cho", groups=[])
    cho = await sign_in(authenticator, "cho")
    provider.tell(down=True)
    try:
        assert isinstance(await authenticator.look(cho), Unreachable)
    finally:
        provider.tell()
    authenticator.provider._settings.oidc_client_secret_file.write_text("another secret")
    try:
        refused = await authenticator.look(cho)
        assert isinstance(refused, Unreachable)
        assert "invalid_client" in refused.why
    finally:
        authenticator.provider._settings.oidc_client_secret_file.write_text(SECRET)
    assert isinstance(await authenticator.look(cho), Confirmed)
    assert isinstance(await authenticator.look(SignedIn("dan", None)), Unreachable)
    assert isinstance(await authenticator.look(SignedIn("dan", {"by": "login"})), Unreachable)


async def test_without_a_refresh_token_an_old_access_token_ends_nobody(
    provider: OidcProvider, authenticator: Any
) -> None:
    provider.set("eun", groups=["vision"])
    eun = await sign_in(authenticator, "eun")
    assert eun.kept is not None
    eun.kept["refresh_token"] = None
    assert isinstance(await authenticator.look(eun), Confirmed)
    eun.kept["access_token"] = "an old one"
    assert isinstance(await authenticator.look(eun), Unreachable)


async def test_a_new_login_while_one_is_asked_about_is_not_overwritten(
    provider: OidcProvider, authenticator: Any
) -> None:
    provider.set("fay", groups=[])
    fay = await sign_in(authenticator, "fay")
    asked, refresh = [], authenticator.provider.refresh

    async def meanwhile(token: str) -> dict[str, Any]:
        asked.append(token)
        authenticator.logins_of["fay"] += 1
        return dict(await refresh(token))

    authenticator.provider.refresh = meanwhile
    await authenticator.look(fay)
    assert (len(asked), fay.saved) == (1, 0)


def code_for(authorize: str, name: str) -> str:
    """Through the provider's own page; the code it sends a browser back with."""
    digest = hashlib.sha256(VERIFIER.encode()).digest()
    asked = {
        "client_id": CLIENT,
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "openid profile email groups offline_access",
        "state": "x",
        "nonce": nonce_of(VERIFIER),
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    with httpx.Client(timeout=30) as browser:
        answer = browser.get(authorize, params=asked)
        for _ in range(6):
            while answer.is_redirect and not answer.headers["location"].startswith(REDIRECT):
                answer = browser.get(urljoin(str(answer.url), answer.headers["location"]))
            if answer.is_redirect:
                break
            form = re.search(r'action="([^"]+)"', answer.text)
            assert form is not None, answer.text[:500]
            prompt = re.search(r'name="prompt" value="([^"]+)"', answer.text)
            assert prompt is not None, answer.text[:500]
            words = {"prompt": prompt.group(1), "login": name, "password": "anything"}
            answer = browser.post(urljoin(str(answer.url), form.group(1)), data=words)
        assert answer.is_redirect, "the provider does not let them in"
    return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]

"""The OIDC provider as this portal speaks to it: discovery, codes, refresh, userinfo, and tokens that are checked.

What says something of the person is told from what says something of the provider or of our settings: only
`Refused` may end anybody, `ProviderAway` never.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from dure_hub.operations.login_errors import LoginUnproven, ProviderAway
from dure_hub.settings import Settings

ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"})
"""Signatures that need the provider's private key; never `none`, nor one made with the client's own secret."""
LEEWAY_S = 60
_FRESH_S = 3600.0
_AWAY_S = 5.0
"""So long a provider that could not say where it is, is not asked that again: anybody may cause the question."""
_KEYS_AGAIN_S = 60.0
_TIMEOUT_S = 10.0


class Refused(Exception):
    """The provider's word about the person: a code or a token of theirs is worth nothing any more."""


@dataclass(frozen=True)
class Endpoints:
    """Where a provider is reached. Without an `issuer` its tokens are not checked, as in settings of before."""

    authorize: str
    token: str
    userinfo: str
    issuer: str = ""
    keys: str = ""
    algorithms: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    by_form: bool = True
    """Whether the client's secret goes into the form, else into the header."""


class Provider:
    """One provider. Opens connections when first asked; keeps what discovery said for an hour."""

    def __init__(
        self,
        settings: Settings,
        transport: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._now = now
        self._found: tuple[float, Endpoints] | None = None
        self._away: tuple[float, str] | None = None
        self._keys: tuple[float, jwt.PyJWKSet] | None = None
        self._client: httpx.AsyncClient | None = None
        self._turn = asyncio.Lock()

    async def endpoints(self) -> Endpoints:
        """Its addresses. Raises `ProviderAway` where it cannot say, or says it is somebody else."""
        issuer = self._settings.oidc_issuer
        if not issuer:
            known = self._settings
            return Endpoints(known.oidc_authorize_url, known.oidc_token_url, known.oidc_userdata_url)
        async with self._turn:
            if self._found is None or self._now() - self._found[0] > _FRESH_S:
                self._found = self._now(), await self._discover(issuer)
            return self._found[1]

    async def _discover(self, issuer: str) -> Endpoints:
        if self._away is not None and self._now() - self._away[0] < _AWAY_S:
            raise ProviderAway(why=self._away[1])
        try:
            told = await self._json("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            found = _endpoints(issuer, told)
        except ProviderAway as error:
            self._away = self._now(), str(error.facts["why"])
            raise
        self._away = None
        return found

    async def redeem(self, code: str, *, verifier: str, redirect: str) -> dict[str, Any]:
        """The tokens for a login's code. Raises `Refused`, `ProviderAway`."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "code_verifier": verifier,
        }
        return await self._tokens(form)

    async def refresh(self, refresh_token: str) -> dict[str, Any]:
        """New tokens for a refresh token. Raises `Refused`, `ProviderAway`."""
        return await self._tokens({"grant_type": "refresh_token", "refresh_token": refresh_token})

    async def userinfo(self, access_token: str) -> dict[str, Any]:
        """What the provider says of the person. Raises `Refused`, `ProviderAway`."""
        where = (await self.endpoints()).userinfo
        if not where:
            return {}
        return await self._json("GET", where, "invalid_token", headers={"Authorization": f"Bearer {access_token}"})

    async def claims(self, id_token: str, nonce: str | None) -> dict[str, Any]:
        """What an ID token says, once signature, issuer, audience, time and nonce are found to be right.

        Raises `LoginUnproven`, and `ProviderAway` where its keys cannot be had.
        """
        found = await self.endpoints()
        client = self._settings.oidc_client_id
        try:
            head = jwt.get_unverified_header(id_token)
            key = await self._key(found, head)
            told: dict[str, Any] = jwt.decode(
                id_token,
                key.key,
                algorithms=[name for name in found.algorithms if name == head.get("alg")],
                audience=client,
                issuer=found.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
        except jwt.PyJWTError as error:
            raise LoginUnproven(why=f"its ID token is not right ({type(error).__name__})") from error
        if told.get("azp", client) != client:
            raise LoginUnproven(why="its ID token was made for another client")
        if nonce is not None and not hmac.compare_digest(str(told.get("nonce", "")).encode(), nonce.encode()):
            raise LoginUnproven(why="its ID token is not of this login")
        return told

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _key(self, found: Endpoints, head: Mapping[str, Any]) -> jwt.PyJWK:
        """The key an ID token names; asked for anew where it is not known, but not all the time."""
        if head.get("alg") not in found.algorithms:
            raise jwt.InvalidAlgorithmError("not a signature of the provider's")
        if self._keys is not None and self._now() - self._keys[0] > _FRESH_S:
            self._keys = None  # a key that the provider has taken back is believed no longer than this
        known = _pick(self._keys[1], head) if self._keys is not None else None
        if known is None and (self._keys is None or self._now() - self._keys[0] > _KEYS_AGAIN_S):
            told = await self._json("GET", found.keys)
            self._keys = self._now(), jwt.PyJWKSet.from_dict(told)
            known = _pick(self._keys[1], head)
        if known is None:
            raise jwt.InvalidKeyError("no key of the provider's has this id")
        return known

    async def _tokens(self, form: dict[str, str]) -> dict[str, Any]:
        found, known = await self.endpoints(), self._settings
        more: dict[str, Any] = {"data": form}
        if found.by_form:
            form |= {"client_id": known.oidc_client_id, "client_secret": known.oidc_client_secret}
        else:
            more["auth"] = httpx.BasicAuth(known.oidc_client_id, known.oidc_client_secret)
        told = await self._json(
            "POST", found.token, "invalid_grant", headers={"Accept": "application/json"}, **more
        )
        if not isinstance(told.get("access_token"), str):
            raise ProviderAway(why="it answered without an access token")
        return told

    async def _json(self, method: str, url: str, of_person: str | None = None, **more: Any) -> dict[str, Any]:
        """The provider's answer. The error `of_person` is its word about a person, others about itself or us."""
        try:
            answer = await self._http().request(method, url, **more)
            told = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise ProviderAway(why=type(error).__name__) from error
        except ValueError as error:
            told, broken = {}, error
            if answer.is_success:
                raise ProviderAway(why="its answer is not JSON") from broken
        if not isinstance(told, dict):
            raise ProviderAway(why="its answer is no JSON object")
        if answer.is_success:
            return told
        fault = str(told.get("error") or answer.status_code)
        shown = answer.headers.get("www-authenticate", "")
        if of_person is not None and (fault == of_person or of_person in shown):
            raise Refused(str(told.get("error_description") or of_person)[:200])
        raise ProviderAway(why=f"HTTP {answer.status_code}, {fault}"[:200])

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            ca = self._settings.oidc_ca_file
            verify: Any = ssl.create_default_context(cafile=str(ca)) if ca else True
            self._client = httpx.AsyncClient(
                verify=verify, timeout=_TIMEOUT_S, transport=self._transport, follow_redirects=False
            )
        return self._client


def nonce_of(verifier: str) -> str:
    """A login's nonce, made from its PKCE secret: only the browser that began it holds the cookie with that."""
    return hashlib.sha256(b"dure login nonce " + verifier.encode()).hexdigest()


def _endpoints(issuer: str, told: Mapping[str, Any]) -> Endpoints:
    if told.get("issuer") != issuer:
        raise ProviderAway(why=f"it says its issuer is {str(told.get('issuer'))[:100]}, not {issuer}")
    missing = [
        name
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if not str(told.get(name, "")).startswith(
            ("https://", "http://" if issuer.startswith("http://") else "https://")
        )
    ]
    if missing:
        raise ProviderAway(why=f"its discovery does not name {missing[0]}")
    methods = told.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    offered = told.get("id_token_signing_alg_values_supported", ["RS256"])
    return Endpoints(
        authorize=str(told["authorization_endpoint"]),
        token=str(told["token_endpoint"]),
        userinfo=str(told.get("userinfo_endpoint") or ""),
        issuer=issuer,
        keys=str(told["jwks_uri"]),
        algorithms=tuple(name for name in offered if name in ALGORITHMS),
        scopes=tuple(str(scope) for scope in told.get("scopes_supported", ())),
        by_form="client_secret_post" in methods,
    )


def _pick(keys: jwt.PyJWKSet, head: Mapping[str, Any]) -> jwt.PyJWK | None:
    """The signing key with this id; the only one where the token names none."""
    signing = [key for key in keys.keys if key.public_key_use in (None, "sig")]
    wanted = head.get("kid")
    if wanted is None:
        return signing[0] if len(signing) == 1 else None
    return next((key for key in signing if key.key_id == wanted), None)

"""Login by an OIDC provider. oauthenticator's handlers do the redirects; what comes back is checked here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.oauth2 import OAuthCallbackHandler, OAuthLoginHandler, _deserialize_state

from dure.errors import DureError
from dure_hub.logins.outcomes import Confirmed, Gone, Outcome, Unreachable, confirmed
from dure_hub.logins.provider import Provider, Refused, nonce_of
from dure_hub.logins.vouched import Vouched, refused
from dure_hub.operations.login_errors import BadLoginName, LoginUnproven, ProviderAway
from dure_hub.policies.naming import LOGIN_PATTERN

USUAL, OFFERED = ("openid", "profile", "email"), ("offline_access", "groups")


class ToProvider(OAuthLoginHandler):  # type: ignore[misc]
    """Sends a browser to the provider, with state, nonce and a PKCE challenge."""

    _verifier = ""

    async def get(self) -> None:
        """Where to, is known once the provider has said."""
        try:
            await self.authenticator.find_provider()
        except DureError as error:
            raise refused(self, error) from error
        super().get()

    def _generate_pkce_params(self) -> tuple[str, str]:
        self._verifier, challenge = super()._generate_pkce_params()
        return self._verifier, challenge

    def authorize_redirect(self, *words: Any, extra_params: dict[str, Any], **more: Any) -> None:
        """As tornado does, with the nonce."""
        super().authorize_redirect(*words, extra_params=extra_params | {"nonce": nonce_of(self._verifier)}, **more)


class FromProvider(OAuthCallbackHandler):  # type: ignore[misc]
    """Where the provider sends a browser back to."""


class DureOidc(Vouched, GenericOAuthenticator):  # type: ignore[misc]
    """Lets in whom an OIDC provider confirms."""

    login_handler = ToProvider
    callback_handler = FromProvider

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        settings = self.ops.settings
        self.provider = Provider(settings)
        self.login_service = settings.login_title or "OpenID Connect"
        self.client_id, self.client_secret = settings.oidc_client_id, settings.oidc_client_secret
        self.oauth_callback_url = f"{settings.address}/hub/oauth_callback"
        self.enable_pkce = True

    async def find_provider(self) -> None:
        """Take over where the provider says it is. Raises `ProviderAway`."""
        found = await self.provider.endpoints()
        self.authorize_url, self.token_url, self.userdata_url = found.authorize, found.token, found.userinfo
        more = [scope for scope in OFFERED if scope in found.scopes]
        self.scope = self.ops.settings.oidc_scopes or [*USUAL, *more]

    async def authenticate(self, handler: Any, data: Any = None, **_: Any) -> dict[str, Any]:
        """The hub's model of who comes back with a code."""
        try:
            return await self._authenticate(handler)
        except Refused as error:
            raise refused(handler, LoginUnproven(why=str(error))) from error
        except DureError as error:
            self.log.warning("a login was refused: %s", error)
            raise refused(handler, error) from error

    async def look(self, user: Any) -> Outcome:
        """Ask by the refresh token of their last login, else by its access token while that lives."""
        before = self.logins_of[user.name]
        kept = await user.get_auth_state()
        if not kept or "access_token" not in kept:
            return Unreachable("they have not signed in since logins are checked")
        try:
            claims, kept = await self._ask_again(user, kept, before)
        except Refused as error:
            # Without a refresh token this says only that some minutes are over.
            return Gone(str(error)) if kept.get("refresh_token") else Unreachable("their access token has ended")
        except (ProviderAway, LoginUnproven) as error:
            return Unreachable(str(error.facts.get("why")))
        if kept.get("subject") and claims.get("sub") not in (None, kept["subject"]):
            return Gone("the provider's account is another one")
        return self._confirmed(user.name, claims, kept)

    async def _authenticate(self, handler: Any) -> dict[str, Any]:
        verifier = _deserialize_state(handler.get_state_cookie()).get("code_verifier", "")
        if not verifier:
            raise LoginUnproven(why="this browser has not begun it")
        code = handler.get_argument("code")
        tokens = await self.provider.redeem(code, verifier=verifier, redirect=self.oauth_callback_url)
        claims = await self._claims(tokens, nonce_of(verifier), required=True)
        kept = {
            "access_token": tokens["access_token"],
            "refresh_token": tokens.get("refresh_token"),
            "subject": claims.get("sub"),
        }
        named = claims.get(self.ops.settings.oidc_username_claim)
        if not isinstance(named, str) or not named:
            raise BadLoginName(name=repr(named)[:80], rule=LOGIN_PATTERN)
        name = named.strip().lower()
        return await self.let_in(handler, name, self._confirmed(name, claims, kept))

    async def _ask_again(
        self, user: Any, kept: Mapping[str, Any], before: int
    ) -> tuple[dict[str, Any], Mapping[str, Any]]:
        """What the provider says now, and what to keep. New tokens are kept before anything else is asked."""
        tokens: dict[str, Any] = {"access_token": kept["access_token"]}
        if kept.get("refresh_token"):
            tokens = await self.provider.refresh(str(kept["refresh_token"]))
            newer = {"access_token": tokens["access_token"]}
            if tokens.get("refresh_token"):
                newer["refresh_token"] = tokens["refresh_token"]
            kept = {**kept, **newer}
            if self.logins_of[user.name] == before:  # else they have signed in anew meanwhile
                await user.save_auth_state(kept)
        return await self._claims(tokens, None, required=False), kept

    async def _claims(self, tokens: Mapping[str, Any], nonce: str | None, *, required: bool) -> dict[str, Any]:
        """What the checked ID token and the userinfo say together, which must be about one person."""
        claims: dict[str, Any] = {}
        if self.ops.settings.oidc_issuer and (required or tokens.get("id_token")):
            if not isinstance(tokens.get("id_token"), str):
                raise LoginUnproven(why="it came without an ID token")
            claims = await self.provider.claims(str(tokens["id_token"]), nonce)
        told = await self.provider.userinfo(str(tokens["access_token"]))
        if claims and told and told.get("sub") != claims["sub"]:
            raise LoginUnproven(why="its userinfo is about somebody else")
        return {**claims, **told}

    def _confirmed(self, name: str, claims: Mapping[str, Any], kept: Mapping[str, Any]) -> Confirmed:
        settings = self.ops.settings
        subject = claims.get("sub")
        groups = groups_in(claims, settings.oidc_groups_claim) if settings.oidc_groups_claim else None
        return confirmed(settings, name, None if subject is None else str(subject), groups, kept)


def groups_in(claims: Mapping[str, Any], name: str) -> list[Any] | None:
    """The groups in a claim: a list, or one name. `a.b` is `b` within `a`, where no claim has that name itself.

    None where the provider says that they are elsewhere (too many for a token). No claim at all is no group:
    providers leave out an empty one.
    """
    if name in (claims.get("_claim_names") or {}):
        return None
    found: Any = claims.get(name)
    if found is None and "." in name:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if found is None:
        return []
    return list(found) if isinstance(found, list | tuple | set) else [found]

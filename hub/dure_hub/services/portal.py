"""What every request can reach."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from dure_hub.operations import Operations
from dure_hub.services.identity import Identities, Identity
from dure_hub.services.sessions import HUB_SESSION_COOKIE, Jar, Seal, read_session


@dataclass(frozen=True)
class Portal:
    """The operations, and how people are known. One for each application."""

    ops: Operations
    identities: Identities
    seal: Seal

    @property
    def jar(self) -> Jar:
        """How cookies are set: where browsers reach the portal by https, they may insist on it."""
        settings = self.ops.settings
        secure = settings.address.startswith("https:")
        return Jar(secure=secure, alone=secure and bool(settings.subdomain_host), root=settings.at(""))

    async def identify(self, request: Request, *, cookies: bool = True, now: bool = False) -> Identity | None:
        """Who sends this request. A token decides where there is one; a cookie is not looked at beside it.

        With `now` the hub vouches for it at this moment, and nothing that is remembered does.
        """
        header = request.headers.get("authorization")
        if header is not None:
            kind, _, text = header.partition(" ")
            text = text.strip()
            if kind.lower() not in ("bearer", "token") or not text or not text.isascii():
                return None
            return await self.identities.by_token(text, now=now)
        session = read_session(self.seal, request, self.jar) if cookies else None
        if session is None:
            return None
        hub_session = request.cookies.get(HUB_SESSION_COOKIE, "")
        return await self.identities.by_session(session, hub_session, now=now)


def portal_of(request: Request) -> Portal:
    """The portal of this application."""
    portal = request.app.state.portal
    assert isinstance(portal, Portal)  # noqa: S101 - set where the application is made
    return portal


def operations_of(request: Request) -> Operations:
    """The operations, as a dependency of handlers."""
    return portal_of(request).ops

"""Who takes what was written: the one Envoy of this machine, or all that ask from elsewhere."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Protocol

from dure.errors import BadRequest, NotReady
from dure_hub.dataplane.admin import Admin, AdminElsewhere, EnvoyAway
from dure_hub.dataplane.asking import Asked, Envoy, Taken, verdict
from dure_hub.dataplane.bootstrap import why_refused
from dure_hub.dataplane.errors import RoutesRefused
from dure_hub.dataplane.files import Files, signature_of
from dure_hub.settings import Settings

SOON_S = 0.5
"""Envoy takes a file within milliseconds. One it has not taken after this may be wrong, and is looked at."""

ACCEPT_TIMEOUT_S = 20.0
ANSWERS_AGAIN_S = 10.0
"""How long routes wait for a portal that restarts. Then they are written: it gives them out when it is back."""

POLL_S = 0.01


class Takers(Protocol):
    """Those who route by what is written."""

    async def taken(self, kind: str, version: str) -> None:
        """Return once `version` of this kind is in force with all that are there; at once where nobody is.

        Raises RoutesRefused with the reason, and NotReady where somebody is silent.
        """

    async def live(self) -> bool:
        """Whether anybody routes."""

    async def admins(self) -> list[Admin]:
        """Who can be asked what it has counted; raises EnvoyAway where one is there that cannot."""


def xds_token(settings: Settings) -> str:
    """What an Envoy elsewhere and the portal show each other.

    Raises OSError where its file cannot be read, `BadRequest` where nothing is in it: whoever shows nothing would
    know it.
    """
    if settings.xds_token_file is None:
        return settings.folder.secret("xds-token")
    token = settings.xds_token_file.read_text().strip()
    if not token:
        raise BadRequest(field="xds_token_file", value=settings.xds_token_file, rule="the file is not empty")
    return token


def takers_of(settings: Settings) -> Takers:
    """Who it is with these settings."""
    return Elsewhere(settings) if settings.xds_port else Here(settings)


class Here:
    """The one Envoy of this machine, which watches the files."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin = Admin(Files(settings.folder).socket)

    async def taken(self, kind: str, version: str) -> None:
        """It keeps no reason for what it refuses: another is asked."""
        try:
            if await self._admin.accepted(kind, version, SOON_S):
                return
            reason = await why_refused(self._settings)
            if reason is not None:
                raise RoutesRefused(reason=reason)
            if not await self._admin.accepted(kind, version, ACCEPT_TIMEOUT_S):
                raise NotReady(part="Envoy")
        except EnvoyAway:
            return

    async def live(self) -> bool:
        """Asked on its admin socket."""
        try:
            return await self._admin.live()
        except (EnvoyAway, NotReady):
            return False

    async def admins(self) -> list[Admin]:
        """The one."""
        return [self._admin]


class Elsewhere:
    """All that poll: what they have taken is in the file that the portal service keeps."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._files = Files(settings.folder)
        self._read: tuple[object, Asked | None] = (None, None)

    async def taken(self, kind: str, version: str) -> None:
        """Envoy tells no reason by REST, so another is asked."""
        began = self._clock()
        while True:
            now = self._clock()
            found, reason = verdict(self.asked(), kind, version, now)
            if found in (Taken.BY_ALL, Taken.AWAY):
                return
            if found is Taken.REFUSED:
                why = reason or await why_refused(self._settings)
                raise RoutesRefused(reason=why or "an Envoy elsewhere did not take it; its own log says why")
            if found is Taken.NOBODY_ANSWERS and now - began > ANSWERS_AGAIN_S:
                return
            if now - began > ACCEPT_TIMEOUT_S:
                raise NotReady(part="Envoy")
            await asyncio.sleep(POLL_S)

    async def live(self) -> bool:
        """Whether one has asked within the last seconds."""
        return bool(self._present())

    async def admins(self) -> list[Admin]:
        """All that are there; what one of them does not tell is not known of all of them."""
        present = self._present().values()
        if not present or not all(envoy.statistics for envoy in present):
            raise EnvoyAway
        token = xds_token(self._settings)
        return [AdminElsewhere(envoy.address, envoy.statistics, token) for envoy in present]

    def asked(self) -> Asked | None:
        """What is known of them; None before anybody was answered since the portal is up."""
        try:
            found = signature_of(self._files.asked)
        except FileNotFoundError:
            return None
        if found != self._read[0]:
            self._read = (found, Asked.from_json(json.loads(self._files.asked.read_text())))
        return self._read[1]

    def _present(self) -> dict[str, Envoy]:
        asked = self.asked()
        return {} if asked is None else asked.present(self._clock())

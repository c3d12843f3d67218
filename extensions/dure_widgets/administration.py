"""What the administrators' views ask the portal for, by the SDK."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from dure import environments, wire
from dure.client import read, read_all
from dure_widgets.portal import Portal


class Administration(Portal):
    """The portal, asked as an administrator: what anybody else asks here is refused."""

    def fleet(self) -> wire.Fleet:
        """The machines, and who holds what of them."""
        return read(wire.Fleet, self.look("/fleet"))

    def environments(self, ended: bool = False) -> Sequence[wire.Environment]:
        """Everybody's servers; those that have ended only where they are asked for."""
        asked = {"everyone": "true"} | ({} if ended else {"active": "true"})
        return read_all(wire.Environment, self.look("/environments", **asked))

    def environment(self, owner: str, name: str) -> wire.Environment:
        """One of somebody's servers, as it is now."""
        return read(wire.Environment, self.look(f"/environments/{quote(name, safe='')}", owner=owner))

    def events(self, limit: int) -> Sequence[wire.Event]:
        """What happened last, the newest first."""
        return read_all(wire.Event, self.look("/events", limit=limit))

    def extend(self, owner: str, name: str, until: datetime) -> wire.Environment:
        """Move the end of somebody's server."""
        return environments.extend(name, until=until, owner=owner)

    def stop(self, owner: str, name: str, reason: str, *, now: bool = False) -> None:
        """Stop somebody's server, once they had time to save or now; they read why."""
        environments.stop(name, owner=owner, reason=reason, now=now)

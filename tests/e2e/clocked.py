"""A portal whose time is moved by hand, for browser tests of what happens hours later."""

from __future__ import annotations

import json
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from dure.wire.ids import new_id
from tests.e2e.portal import Portal, make_portal, until

HOUR = 3600
LIFETIME_S, LONGEST_S = 2 * HOUR, 4 * HOUR


class Clocked:
    """A portal whose time is moved by hand, with ana's server in it."""

    def __init__(self, folder: Path, idle_s: int = 8 * HOUR, longest_s: int = LONGEST_S, **more: str) -> None:
        self.clock = folder / "clock"
        self.clock.write_text("0")
        self.moved_s = 0
        self.portal: Portal = make_portal(
            folder,
            DURE_CLOCK_FILE=str(self.clock),
            DURE_MAX_LIFETIME_S=str(longest_s),
            DURE_IDLE_TIMEOUT_S=str(idle_s),
            DURE_LOOK_INTERVAL_S="0.5",
            **more,
        )

    def start(self, lifetime_s: int = LIFETIME_S) -> None:
        """Ana's server, which ends in two hours."""
        with self.portal.client("ana") as api:
            ask = {"id": new_id(), "profile": "cpu", "lifetime_s": lifetime_s}
            api.post("/environments", json=ask).raise_for_status()
        until(lambda: self.seen()["phase"] == "running", "ana's server", timeout=120)

    def seen(self) -> dict[str, Any]:
        """Ana's server as the portal shows it."""
        with self.portal.client("ana") as api:
            return dict(api.get("/environments/default").raise_for_status().json())

    def check(self, name: str) -> str:
        """The state of one of its idle checks."""
        return next(str(one["state"]) for one in self.seen()["checks"] if one["check"] == name)

    def end(self) -> datetime:
        """When it ends."""
        return datetime.fromisoformat(self.seen()["lease"]["until"])

    def leave(self, seconds: float) -> None:
        """Move the portal's clock until so much is left of ana's server."""
        with self.portal.client("ana") as api:
            now = datetime.fromisoformat(api.get("/environments/default/usage").raise_for_status().json()["at"])
        self.moved_s += int((self.end() - now).total_seconds() - seconds)
        self.clock.write_text(str(self.moved_s))

    def unused(self) -> None:
        """Move the portal's clock until ana's server was unused for too long, and wait for its end."""
        for _ in range(5):  # what its page did just before may be told of after the first move
            begun = self.seen()["idle_since"]
            self.moved_s += HOUR + 60
            self.clock.write_text(str(self.moved_s))
            until(partial(self.changed, begun), "its end, or its use")
            if self.seen()["phase"] == "stopped":
                return
        raise AssertionError(f"its open page alone keeps it: {self.seen()}")

    def changed(self, idle_since: str) -> bool:
        """Whether it has ended, or was seen in use since."""
        return (now := self.seen())["phase"] == "stopped" or now["idle_since"] not in (idle_since, None)

    @property
    def folder(self) -> Path:
        """Ana's."""
        return next((self.portal.data / "users").glob("ana*"))

    def own_token(self) -> str:
        """The token that the hub gave ana's server, as the backend keeps it."""
        (record,) = self.portal.data.rglob(f"{self.seen()['lease']['id']}/spec.json")
        return str(json.loads(record.read_text())["secret"])

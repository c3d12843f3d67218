"""`dure up` with fewer services: Envoy, the hub and the portal, which are all that starts a server.

Run as a module it is the supervisor of the data folder that `DURE_DATA` names, in the foreground.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dure_hub.settings import Settings
from dure_hub.supervisor.run import up
from dure_hub.supervisor.services import portal_services
from dure_hub.supervisor.spec import Service
from dure_hub.supervisor.words import line
from tests.e2e.portal import Portal, until

ROOT = Path(__file__).parents[2]
NEEDED = ("envoy", "hub", "portal")


@dataclass
class ShortPortal(Portal):
    """A portal without MLflow, Voila and warm starts."""

    supervisor: subprocess.Popen[bytes] | None = None

    def up(self) -> str:
        """Start; returns what was said once it is ready."""
        self.data.mkdir(parents=True, exist_ok=True)
        said = self.data.with_name("up.log")
        environment = {**os.environ, "DURE_DATA": str(self.data), "DURE_PORT": str(self.port), **self.environment}
        with said.open("wb") as out:
            self.supervisor = subprocess.Popen(
                [sys.executable, "-m", "tests.support.short_portal"],
                cwd=ROOT,
                env=environment,
                stdout=out,
                stderr=out,
            )
        running = self.supervisor
        until(lambda: "ready." in said.read_text() or running.poll() is not None, "the portal", timeout=120)
        assert running.poll() is None, said.read_text() + self.logs()
        return said.read_text()

    def down(self) -> None:
        """End everything, and see that nothing of ours is left."""
        if self.supervisor is not None:
            self.supervisor.terminate()
            self.supervisor.wait(120)
        until(lambda: not self.processes(), lambda: f"an end of {self.processes()}", timeout=15)


def short(settings: Settings) -> list[Service]:
    """The services that are needed."""
    return [service for service in portal_services(settings) if service.name in NEEDED]


def say(key: str, **facts: object) -> None:
    """What `dure up` would print."""
    print(line(key, "en", **facts), flush=True)


if __name__ == "__main__":
    asyncio.run(up({}, say, lambda: print("ready.", flush=True), short))

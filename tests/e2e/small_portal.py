"""`dure up` with real Envoy and MLflow and a small stand-in for hub and portal: the supervisor's tests run it.

The stand-in answers any GET with 200 after it has started, as `python -m tests.e2e.small_portal --stand-in PORT`.
`SMALL_PORTAL=broken` makes the hub's end at once with a sentence in its log.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dure.cli import say_error
from dure.errors import DureError
from dure_hub.settings import Settings
from dure_hub.supervisor import services
from dure_hub.supervisor.run import up
from dure_hub.supervisor.spec import Service
from dure_hub.supervisor.words import line

ROOT = Path(__file__).parents[2]


class Answer(BaseHTTPRequestHandler):
    """200 to everything."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Say nothing."""


def stand_ins(settings: Settings) -> list[Service]:
    """The real services, but for the commands of hub and portal."""
    ports = {"hub": settings.hub_port, "portal": settings.portal_port}
    return [
        service if service.name not in ports else stand_in(service, ports[service.name])
        for service in services.portal_services(settings)
    ]


def stand_in(service: Service, port: int) -> Service:
    """This service with the small server as its command."""
    command: Sequence[str] = [sys.executable, "-m", "tests.e2e.small_portal", "--stand-in", str(port)]
    if service.name == "hub" and os.environ.get("SMALL_PORTAL") == "broken":
        command = [sys.executable, "-c", "raise SystemExit('the hub is broken')"]
    environment = {**service.environment, "PYTHONPATH": str(ROOT)}
    return Service(
        service.name, service.title, command, service.ready, environment=environment, after=service.after
    )


def tell(text: str) -> None:
    """Print it; whoever read it may be gone, as with `dure up`."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


def main() -> int:
    """Be the stand-in, or the portal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stand-in", type=int)
    arguments = parser.parse_args()
    if arguments.stand_in is not None:
        ThreadingHTTPServer(("127.0.0.1", arguments.stand_in), Answer).serve_forever()
    try:
        asyncio.run(up({}, lambda key, **facts: tell(line(key, "en", **facts)), lambda: tell("ready."), stand_ins))
    except DureError as error:
        say_error(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Asks the fork server (forkserver.py) for a run; whatever keeps it from that, the run starts the usual way.

What is asked for is a lease: command and working directory are in its run folder. Only the environment, which
holds secrets and so lies in no file, goes over the socket. Asking twice or both ways is safe: of two keepers of a
lease one gives way.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dure_hub.backends.base import Kind
from dure_hub.backends.embedded import processes
from dure_hub.backends.embedded.processes import Process
from dure_hub.settings import Settings

PROGRAM = "dure_hub.spawners.jupyterhub_singleuser"
"""The one module that a portal's fork server runs: what the spawner starts where no `server_command` is set."""
PATIENCE_S = 3.0
"""Longest wait for an answer. Who answers later may start the run still; of two keepers one gives way."""
PAUSE_S = 15.0
"""Who did not answer is left alone for so long, for starts stand in line."""
LIMIT = 1 << 20
"""Bytes of a request, at most."""
_LEASE, _VARIABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"), re.compile(r"[^=\0]+")
logger = logging.getLogger(__name__)


class Refused(Exception):
    """The fork server cannot start this; the text says why."""


@dataclass(frozen=True)
class Order:
    """One run to be forked: the lease of a recorded run, and its whole environment."""

    lease: str
    kind: Kind
    environment: Mapping[str, str]

    def encoded(self) -> bytes:
        """As it goes over the socket; the end of it is the end of what is sent."""
        return json.dumps(asdict(self)).encode()


def decoded(text: bytes) -> Order:
    """The order in it; `Refused` unless it is well-formed to the last detail."""
    try:
        found = json.loads(text)
        lease, kind, environment = (found.pop(name) for name in ("lease", "kind", "environment"))
        order = Order(lease, Kind(kind), environment)
        good = (
            not found
            and _LEASE.fullmatch(lease)
            and all(_VARIABLE.fullmatch(name) and "\0" not in value for name, value in environment.items())
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refused(f"not an order: {type(error).__name__}") from None  # its text may hold a secret
    if not good or not all(isinstance(value, str) for value in environment.values()):
        raise Refused("not an order")
    return order


def socket_path(settings: Settings) -> Path:
    """Where the fork server listens once it has imported everything."""
    return settings.folder.run / "warm.sock"


def command(program: str = PROGRAM) -> list[str]:
    """How a command that the fork server can take begins; arguments may follow."""
    return [sys.executable, "-P", "-m", program]


def peer(connection: socket.socket) -> int:
    """User id of the process at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


class WarmStarts:
    """The way to one portal's fork server. Remembers only when it last failed to answer."""

    def __init__(self, settings: Settings, program: str = PROGRAM) -> None:
        self.settings = settings
        self.program = program
        self._not_before = 0.0

    def start(self, order: Order, run: Sequence[str]) -> Process | None:
        """The keeper of the run, whose folder must be there; None where it has to be started the usual way."""
        if not self.settings.warm_starts or list(run[:4]) != command(self.program):
            return None
        if time.monotonic() < self._not_before:
            return None
        try:
            pid = self._ask(order)
        except (FileNotFoundError, ConnectionError):  # it is not up, or was ended just now
            return None
        except Refused as why:
            logger.info("%s starts without the fork server: %s", order.lease, why)
            return None
        except OSError as why:
            self._not_before = time.monotonic() + PAUSE_S
            logger.warning("The fork server does not answer (%s); not asked again for %.0f s", why, PAUSE_S)
            return None
        return processes.find(pid) or Process(pid, 0, 1, pid)

    def _ask(self, order: Order) -> int:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_S)
            connection.connect(str(socket_path(self.settings)))
            if peer(connection) != os.geteuid():
                raise Refused("its socket is another user's")
            connection.sendall(order.encoded())
            connection.shutdown(socket.SHUT_WR)
            answer = received(connection)
        try:
            found = json.loads(answer)
            if "pid" in found:
                return int(found["pid"])
            raise Refused(str(found["refused"]))
        except (ValueError, TypeError, KeyError):
            raise ConnectionError("no answer") from None


def received(connection: socket.socket) -> bytes:
    """All that the other end sends until it says that this was all; `Refused` beyond the limit."""
    pieces, size = [], 0
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
        size += len(piece)
        if size > LIMIT:
            raise Refused("too long")
    return b"".join(pieces)

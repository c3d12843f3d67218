"""Loopback ports for what we start."""

from __future__ import annotations

import random
import socket
import sys
from collections.abc import Container
from pathlib import Path

LOW, HIGH = 20000, 32000
"""Below the range from which Linux takes ports for outgoing connections, so that none of those gets in first."""


_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTEN = "0A"


def _shown(address: bytes) -> str:
    """As these tables show it: words of four bytes, each as this machine has numbers."""
    words = [address[at : at + 4] for at in range(0, len(address), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


_HEARD = {
    _shown(socket.inet_pton(family, address))
    for family, address in (
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0"),  # noqa: S104 - looked for, not listened at
        (socket.AF_INET6, "::"),
        (socket.AF_INET6, "::ffff:127.0.0.1"),
    )
}
"""Where whoever listens there hears what is sent to 127.0.0.1."""


def free_port(taken: Container[int]) -> int:
    """A port that nothing listens on and no record names. Hold the start lock until yours is recorded."""
    start = random.randrange(LOW, HIGH)  # noqa: S311 - spreads ports of portals beside each other, no secret
    for step in range(HIGH - LOW):
        port = LOW + (start - LOW + step) % (HIGH - LOW)
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no free port between {LOW} and {HIGH}")


def is_free(port: int) -> bool:
    """Whether one could listen on this loopback port now."""
    with socket.socket() as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_listened_by(port: int, uid: int) -> bool:
    """Whether what answers at 127.0.0.1 on this port is this user's alone. True where nobody can tell."""
    found, told = set(), False
    for table in _TABLES:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:  # a machine without IPv6
            continue
        told = True
        for line in lines:
            _, local, _, state, *rest = line.split()
            address, _, number = local.partition(":")
            if state == _LISTEN and int(number, 16) == port and address in _HEARD:
                found.add(int(rest[3]))
    return found == {uid} if told else True

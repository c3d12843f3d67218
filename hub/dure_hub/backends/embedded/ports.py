"""Loopback ports for what we start."""

from __future__ import annotations

import random
import socket
from collections.abc import Container

LOW, HIGH = 20000, 32000
"""Below the range from which Linux takes ports for outgoing connections, so that none of those gets in first."""


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

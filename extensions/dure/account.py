"""Who asks, and what they may pick."""

from __future__ import annotations

from dure import wire
from dure.client import client, read, read_all
from dure.display import Table


def whoami() -> wire.User:
    """The person this token speaks for."""
    return read(wire.User, client().get("/me"))


def profiles() -> Table[wire.Profile]:
    """The profiles of this portal, with what is free of each now; null is unknown."""
    found = read_all(wire.Profile, client().get("/profiles"))
    return Table(found, ("name", "title", "cpu_cores", "memory_mb", "gpus", "free", "total"))

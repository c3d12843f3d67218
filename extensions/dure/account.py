"""Who asks, and what they may pick."""

from __future__ import annotations

from dure import wire
from dure.client import client
from dure.display import Table


def whoami() -> wire.User:
    """The person this token speaks for."""
    return wire.User.model_validate(client().get("/me"))


def profiles() -> Table[wire.Profile]:
    """The profiles of this portal, with what is free of each now; null is unknown."""
    found = (wire.Profile.model_validate(entry) for entry in client().get("/profiles"))
    return Table(found, ("name", "title", "cpu_cores", "memory_mb", "gpus", "free", "total"))

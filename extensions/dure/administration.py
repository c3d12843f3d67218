"""What administrators look at: the machines with who holds them, and what happened."""

from __future__ import annotations

from dure import wire
from dure.client import client, read, read_all
from dure.display import Table


def fleet() -> wire.Fleet:
    """Devices, processors and memory with who holds how much of them now; for administrators. Null is unknown."""
    return read(wire.Fleet, client().get("/fleet"))


def events(limit: int = 100, thing: str | None = None) -> Table[wire.Event]:
    """What happened, the newest first, at most `limit` (1 to 500); for administrators.

    `thing` keeps the events of one, as in `environment:ana/default`.
    """
    found = read_all(wire.Event, client().get("/events", limit=limit, object=thing))
    return Table(found, ("at", "actor", "on_behalf_of", "verb", "object", "verdict"))

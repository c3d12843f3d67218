"""Who asks, and what they may pick."""

from __future__ import annotations

from dure import wire
from dure.client import client, read, read_all
from dure.display import Table


def whoami() -> wire.User:
    """The person this token speaks for."""
    return read(wire.User, client().get("/me"))


def plan(profile: str = "cpu", team: str | None = None, project: str | None = None) -> wire.Plan:
    """What a job on this profile would hold now, its price an hour, when it could start. Asks for nothing.

    It is refused where the job would be, by the budgets of `team` and `project` too.
    """
    return read(wire.Plan, client().get(f"/profiles/{profile}/plan", team=team, project=project))


def profiles() -> Table[wire.Profile]:
    """The profiles of this portal, with what is free of each now; null is unknown."""
    found = read_all(wire.Profile, client().get("/profiles"))
    return Table(found, ("name", "title", "cpu_cores", "memory_mb", "gpus", "free", "total"))

"""People's servers: ask for one, list, stop."""

from __future__ import annotations

from dure import wire
from dure.client import ask, client, read, read_all
from dure.display import Table
from dure.wire.ids import new_id

COLUMNS = ("name", "profile", "phase", "url", "reason")


def create(profile: str = "cpu", name: str = "default", lifetime_s: int | None = None) -> wire.Environment:
    """Ask for a server. It starts when there is room; until then the answer holds a ticket with its place."""
    request = ask(wire.EnvironmentRequest, id=new_id(), name=name, profile=profile, lifetime_s=lifetime_s)
    answer = client().post("/environments", request.model_dump(mode="json"), repeatable=True)
    return read(wire.Environment, answer)


def list() -> Table[wire.Environment]:  # noqa: A001 - dure.environments.list() reads well
    """Your servers and the requests that wait."""
    found = read_all(wire.Environment, client().get("/environments"))
    return Table(found, COLUMNS)


def get(name: str = "default") -> wire.Environment:
    """One server of yours."""
    return read(wire.Environment, client().get(f"/environments/{name}"))


def stop(name: str = "default") -> None:
    """Stop a server, or leave the queue. Files stay."""
    client().delete(f"/environments/{name}", repeatable=True)

"""The registry: what a finished job saved, as a numbered version of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dure import wire
from dure.client import ask, client, read, read_all
from dure.display import Table

if TYPE_CHECKING:
    from dure.training import Job

COLUMNS = ("name", "version", "aliases", "owner", "created_at")


def register(name: str, job: Job | str, tags: Mapping[str, str] | None = None) -> wire.ModelVersion:
    """Register what this job saved as a new version of `name`; its lineage is recorded by the portal."""
    which = job if isinstance(job, str) else job.name
    request = ask(wire.RegisterRequest, name=name, job=which, tags=dict(tags or {}))
    # One version for each job: asking twice gives the same one, so this may be sent again.
    answer = client().post("/models", request.model_dump(mode="json"), repeatable=True)
    return read(wire.ModelVersion, answer)


def list() -> Table[wire.ModelVersion]:  # noqa: A001 - dure.models.list() reads well; nothing here needs the builtin
    """Every model, each by its newest version."""
    return Table(read_all(wire.ModelVersion, client().get("/models")), COLUMNS)


def versions(name: str) -> Table[wire.ModelVersion]:
    """The versions of a model, with tags, metrics and aliases."""
    found = client().get(f"/models/{name}/versions")
    return Table(read_all(wire.ModelVersion, found), COLUMNS)


def set_alias(name: str, alias: str, version: int) -> None:
    """Let an alias (`champion`, `challenger`, …) stand for this version."""
    client().send("PUT", f"/api/v1/models/{name}/aliases/{alias}", repeatable=True, json={"version": version})

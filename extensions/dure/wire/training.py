"""Training jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from dure.wire.base import Answer, Ask, Name, ParameterName, Scalar, TeamName, Ulid, Value


def _entry(text: str) -> str:
    function = text.partition(":")[2]
    if function and not function.isidentifier():
        raise ValueError(f"{function} is not a name that a function can have")
    return text


Entry = Annotated[str, Field(pattern=r"^[\w./-]+\.py(:\w+)?$", max_length=200), AfterValidator(_entry)]
"""A file, and perhaps a function in it; letters of every script, as Python allows them."""


class JobRequest(Ask):
    """Train. `snapshot` is the SHA-256 of an uploaded zip of code and data (`PUT /snapshots/{sha256}`).

    `entry` is a file in it, or `file.py:function`; a function gets `parameters` as keyword arguments, a file
    as `--name value` arguments. `processes` is the number of ranks, null for the portal's choice. `team` and
    `project` are charged for it; null is the team of the server that asks, else the only one of who asks.
    `fine_tuning` waits in one line with notebooks, before other training.
    """

    id: Ulid
    name: Name
    profile: str = Field(default="cpu", max_length=60)
    snapshot: str = Field(pattern=r"^[0-9a-f]{64}$")
    entry: Entry
    parameters: dict[ParameterName, Value] = Field(default={}, max_length=200)
    processes: int | None = Field(default=None, ge=1, le=64)
    experiment: str = Field(default="default", min_length=1, max_length=120)
    git_commit: str | None = Field(default=None, pattern=r"^[0-9a-f]{7,64}$")
    team: TeamName | None = None
    project: Name | None = None
    fine_tuning: bool = False


class Attempt(Answer):
    """One try at running a job."""

    number: int
    state: str
    exit_code: int | None = None
    reason: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Job(Answer):
    """A job: `state` is queued, starting, running, succeeded, failed or stopped.

    `device` says where it runs ("cpu" or the GPU's name), `processes` how many ranks; `run_id` is MLflow's.
    """

    id: str
    name: str
    owner: str
    profile: str
    state: str
    reason: str | None = None
    entry: str
    parameters: dict[str, Scalar] = {}
    processes: int | None = None
    device: str | None = None
    run_id: str | None = None
    experiment: str = "default"
    created_at: datetime
    ended_at: datetime | None = None
    attempts: list[Attempt] = []


class LogPage(Answer):
    """A piece of a log: `text` from byte `offset`, `next_offset` to go on, `done` when nothing more comes."""

    text: str
    offset: int
    next_offset: int
    done: bool

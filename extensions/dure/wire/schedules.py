"""Notebooks that run by themselves: schedules and their executions. Times are UTC, `cron` is in `timezone`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from dure.wire.base import Answer, Ask, Name, TeamName, Ulid, Value, Words

Given = Annotated[str, Field(max_length=200)]
"""A parameter's name as it was given. Whether the notebook declares it is decided with the notebook at hand."""
Parameter = Value | Annotated[list[Value], Field(max_length=1000)] | dict[Words, Value]
"""A value for a parameter of a notebook: a scalar, or a list or mapping of scalars."""
NOTEBOOK_PATTERN = r"^[^/\\\x00-\x1f{}][^\\\x00-\x1f{}]*\.ipynb$"


class ScheduleRequest(Ask):
    """Run a notebook on schedule. `snapshot` is the SHA-256 of an uploaded zip that holds `notebook`.

    `cron` has the five fields of crontab(5), read in `timezone` (a name of the IANA database). `limit_s` is the
    longest an execution may run; null is the portal's choice. The same `id` sent twice is one request. `team` and
    `project` are charged for its executions; null is the team of the server that asks, else the only one of
    who asks.
    """

    id: Ulid
    name: Name
    snapshot: str = Field(pattern=r"^[0-9a-f]{64}$")
    notebook: str = Field(pattern=NOTEBOOK_PATTERN, max_length=200)
    cron: str = Field(min_length=1, max_length=120)
    timezone: str = Field(default="UTC", min_length=1, max_length=60)
    parameters: dict[Given, Parameter] = Field(default={}, max_length=200)
    profile: str = Field(default="cpu", max_length=60)
    limit_s: int | None = Field(default=None, ge=60, le=30 * 86400)
    team: TeamName | None = None
    project: Name | None = None


class RunRequest(Ask):
    """Run a schedule's notebook once, now. `parameters` take the place of the schedule's own, name by name."""

    id: Ulid
    parameters: dict[Given, Parameter] = Field(default={}, max_length=200)


TIME_LIMIT = "TimeLimit"


class Failure(Answer):
    """Where a notebook stopped: the cell (counted from 1 over all cells), its first line, and the error.

    `error` is `TimeLimit` where it ran into the schedule's limit.
    """

    cell: int | None = None
    source: str | None = None
    error: str
    message: str


class Execution(Answer):
    """One run of a schedule's notebook, `number` counted from 1 within the schedule.

    `state` is queued, starting, running, succeeded, failed, stopped or skipped. `due_at` is the minute it was due
    at, null where somebody asked for it. `page` shows the executed notebook on the front port, once there is one.
    """

    id: str
    schedule: str
    number: int
    owner: str
    state: str
    reason: str | None = None
    parameters: dict[str, Any] = {}
    due_at: datetime | None = None
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    failure: Failure | None = None
    page: str | None = None


class Schedule(Answer):
    """A notebook with a time condition. `next_at` is null while it is paused."""

    id: str
    name: str
    owner: str
    notebook: str
    cron: str
    timezone: str
    parameters: dict[str, Any] = {}
    profile: str
    limit_s: int
    paused: bool = False
    next_at: datetime | None = None
    last: Execution | None = None
    created_at: datetime

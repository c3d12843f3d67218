"""Money, budgets and quotas. Money is in whole micro-units (10^6 are one unit); null is unknown, never zero."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from dure.wire.base import NAME_PATTERN, Answer, Ask

LARGEST = 2**53 - 1
"""The largest number that every reader of JSON reads as it is written."""
Subject = Annotated[
    str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+$")
]
"""The name of a person, team or project: one line of text."""
Limit = Annotated[int, Field(ge=0, le=2**31 - 1)]
LONGEST_TEAM, LONGEST_PROJECT = 100, 30
"""Of a launch's own `team` and `project`."""


def in_team(name: str) -> tuple[str, str] | None:
    """Team and project of a name like `vision/segmentation`; None where it is none.

    The last `/` parts them: a team may have any name, a project's has none in it.
    """
    team, _, project = name.rpartition("/")
    long = len(team) > LONGEST_TEAM or len(project) > LONGEST_PROJECT
    return None if long or not team or re.fullmatch(NAME_PATTERN, project) is None else (team, project)


class CostLine(Answer):
    """What the leases of one group came to; `key` is null where they have no team or project.

    `cost` is known money: busy, idle (held, with no work on it) and unmeasured (nobody knows which) together.
    `idle_cost` and `busy_cost` are null where none of the time was measured. `hours` are those held, `gpu_hours`
    count a part of a GPU as that part, and `unpriced_hours` had an unknown rate: their cost is in no figure. Of
    `hours`, `uncharged_hours` cost nothing, since a GPU had a fault; they are in no other figure.
    """

    key: str | None = None
    cost: int
    busy_cost: int | None = None
    idle_cost: int | None = None
    unmeasured_cost: int = 0
    hours: float
    gpu_hours: float = 0
    unpriced_hours: float = 0
    measured_hours: float = 0
    busy_hours: float | None = None
    uncharged_hours: float = 0


class Uncharged(Answer):
    """Time of a lease that is not charged since a GPU of it has a fault; `until` null goes on."""

    lease: str
    device: str
    code: str
    since: datetime
    until: datetime | None = None
    why: dict[str, str]


class Costs(Answer):
    """Costs of the leases a reader may see, from `start` to before `end`, the largest first (days in order).

    `lines` has at most as many as were asked for; `others` sums what did not fit, so that lines and others are
    `total`. Days are those of `zone`.
    """

    start: datetime
    end: datetime
    by: str
    zone: str
    everyone: bool
    lines: list[CostLine]
    others: CostLine | None = None
    total: CostLine
    uncharged: list[Uncharged] = []


class Forecast(Answer):
    """What this month will come to, at its end. `low` and `high` hold four of five months of this kind.

    `spent` is up to now. Where `code` is `too_few_days`, the rest is null: it takes `days_needed` whole days.
    `running` is what leases without an end will cost of it until then. `text` says all this in each language.
    """

    month: str
    at: datetime
    code: str
    spent: int
    expected: int | None = None
    low: int | None = None
    high: int | None = None
    running: int = 0
    days: int
    days_needed: int
    unpriced_hours: float = 0
    facts: dict[str, Any] = {}
    text: dict[str, str]


class Recommendation(Answer):
    """How something held could have cost less: `facts` are the arithmetic, `text` tells it in each language."""

    code: str
    owner: str
    profile: str
    saved: int
    facts: dict[str, Any]
    text: dict[str, str]


class BudgetRequest(Ask):
    """Money a team or project may spend a month; `amount` null takes the budget away.

    A project is inside a team: its name is `team/project`. One that was set under another name can only be taken
    away.
    """

    kind: str = Field(pattern="^(team|project)$")
    amount: int | None = Field(ge=1, le=LARGEST)
    name: Subject

    @field_validator("name")
    @classmethod
    def _in_a_team(cls, name: str, info: ValidationInfo) -> str:
        if info.data.get("kind") == "project" and info.data.get("amount") is not None and in_team(name) is None:
            raise PydanticCustomError("project_in_team", "a project is named with its team: vision/segmentation")
        return name


class Budget(Answer):
    """A budget with what this month has cost so far, and what active leases will still add (`committed`).

    `unpriced_hours` had an unknown rate, and are in no figure. `near` is the highest of 50, 80 and 100 percent
    that is spent.
    """

    kind: str
    name: str
    amount: int
    month: str
    spent: int
    committed: int = 0
    percent: float
    alerted_percent: int | None = None
    near: int | None = None
    unpriced_hours: float = 0
    set_by: str
    set_at: datetime


class QuotaRequest(Ask):
    """Limits of a user or team; a null limit is none, and without any the quota is taken away.

    `gpus` at once, `gpu_hours_month`, `api_calls_day`, `upload_mb_month` (MiB). Days and months are those of UTC.
    `max_lifetime_s` is how long a server may run at most where its profile allows more.
    """

    kind: str = Field(pattern="^(user|team)$")
    name: Subject
    gpus: Limit | None = None
    gpu_hours_month: Limit | None = None
    api_calls_day: Limit | None = None
    upload_mb_month: Limit | None = None
    max_lifetime_s: int | None = Field(default=None, ge=300, le=30 * 86400)


class Quota(Answer):
    """Limits, and what is used of them now. Who has no quota of their own has that of `*`, and no `set_by`.

    `near` has the limits of which 80 or 100 percent are used, with the percent.
    """

    kind: str
    name: str
    gpus: int | None = None
    gpu_hours_month: int | None = None
    api_calls_day: int | None = None
    upload_mb_month: int | None = None
    max_lifetime_s: int | None = None
    used_gpus: float = 0
    used_gpu_hours: float = 0
    used_api_calls: int = 0
    used_upload_mb: float = 0
    near: dict[str, int] = {}
    set_by: str | None = None
    set_at: datetime | None = None

"""What things cost, what may be spent, and how much may be used.

    dure.costs.by("team")                      # this month, the largest first
    dure.costs.by("day", start=datetime(2026, 11, 1))
    dure.costs.forecast().text["en"]
    dure.costs.recommendations()
    dure.costs.budgets()
    dure.costs.quotas()

The portal counts money in whole micro-units; tables show it in units. Unknown is shown as unknown, never as zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dure import wire
from dure.client import API, ask, client, read, read_all, said
from dure.display import Table, shown
from dure.errors import BadRequest, Text, reader_language

if TYPE_CHECKING:
    from pydantic import BaseModel

    M = TypeVar("M", bound=BaseModel)

MICRO = 1_000_000
_MONEY = frozenset(
    {"cost", "busy_cost", "idle_cost", "unmeasured_cost", "saved", "amount", "spent", "committed", "expected"}
)
_COLUMNS = {"gpu_hours_month": "gpu_hours", "api_calls_day": "api_calls", "upload_mb_month": "upload_mb"}
_NONE = "-"
_ZONE_RULE: Text = {
    "en": "a time zone has a name as in Asia/Seoul",
    "ko": "Asia/Seoul 같은 시간대 이름이어야 합니다",
}
_AMOUNT_RULE: Text = {
    "en": "an amount is a number above 0 with at most six decimals",
    "ko": "금액은 0보다 큰 수이고 소수점 아래 여섯 자리까지 쓸 수 있습니다",
}


class MoneyTable(Table[Any]):
    """A table in which micro-units are shown as money."""

    def _cells(self) -> list[list[str]]:
        return [[_cell(column, getattr(item, column, None)) for column in self.columns] for item in self]


class Costs(MoneyTable):
    """Costs by group, with their sum: `total` (a line like the others), from `start` to before `end`."""

    def __init__(self, answer: wire.Costs) -> None:
        lines: list[wire.CostLine] = [*answer.lines, *([answer.others] if answer.others else [])]
        columns = ("key", "cost", "busy_cost", "idle_cost", "hours", "gpu_hours", "unpriced_hours")
        super().__init__(lines, columns)
        self.answer = answer
        self.total, self.start, self.end = answer.total, answer.start, answer.end

    def _cells(self) -> list[list[str]]:
        rows = super()._cells()
        for row, item in zip(rows, self, strict=True):
            if item is self.answer.others:
                row[0] = _word("others", "나머지")
            elif item.key is None:
                row[0] = _word("none", "없음")
        total = [_cell(column, getattr(self.total, column, None)) for column in self.columns]
        return [*rows, [_word("total", "합계"), *total[1:]]]


def by(
    group: str = "user",
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    zone: str | None = None,
    limit: int | None = None,
) -> Costs:
    """Costs of your leases and your teams' (everybody's for administrators) by user, team, project, profile,
    purpose or day; of this month up to now where no time is given. Days and months are those of `zone`, an IANA
    name; None is this machine's. A time without a zone is read in it. What has no place among the `limit` largest
    is summed; None is every day, or 200 groups.
    """
    from dure.schedules import local_timezone

    query: dict[str, Any] = {
        "from": _time(start, zone),
        "to": _time(end, zone),
        "by": group,
        "zone": zone or local_timezone(),
        "limit": limit or (1000 if group == "day" else 200),
    }
    return Costs(read(wire.Costs, client().get("/costs", **query)))


def forecast(team: str | None = None, project: str | None = None) -> wire.Forecast:
    """What this month (of UTC) will have cost at its end, in micro-units; `text` says it in words, with how sure
    it is."""
    return read(wire.Forecast, client().get("/forecast", team=team, project=project))


def recommendations() -> Table[wire.Recommendation]:
    """How GPUs held in the last 30 days could have cost less; `text` has the arithmetic."""
    found = read_all(wire.Recommendation, client().get("/recommendations"))
    return MoneyTable(found, ("owner", "profile", "saved", "text"))


def budgets() -> Table[wire.Budget]:
    """What your teams and projects may spend a month, and have spent; all for administrators."""
    found = read_all(wire.Budget, client().get("/budgets"))
    columns = ("kind", "name", "amount", "spent", "committed", "percent", "unpriced_hours", "near")
    return _Budgets(found, columns)


def set_budget(kind: str, name: str, amount: float | str | Decimal | None) -> wire.Budget | None:
    """Let a "team" or "project" spend so much a month, in units of money; None takes the budget away.

    A project is inside a team, and named with it: `vision/segmentation`. For administrators.
    """
    micro = None if amount is None else _micro(amount)
    return _put(wire.Budget, "/budgets", ask(wire.BudgetRequest, kind=kind, name=name, amount=micro))


def quotas() -> Table[wire.Quota]:
    """How much you and your teams may use, and use; for administrators every other that is set too.

    A limit of None is none.
    """
    found = read_all(wire.Quota, client().get("/quotas"))
    return _Quotas(found, ("kind", "name", "gpus", "gpu_hours", "api_calls", "upload_mb", "server_hours", "near"))


def set_quota(
    kind: str,
    name: str,
    *,
    gpus: int | None = None,
    gpu_hours_month: int | None = None,
    api_calls_day: int | None = None,
    upload_mb_month: int | None = None,
    max_lifetime_s: int | None = None,
) -> wire.Quota | None:
    """Set all limits of a "user" or "team"; what is not named has none, and without any the quota is taken away.

    `max_lifetime_s` is how long a server may run at most. The name "*" is everybody of that kind who has no quota
    of their own. For administrators.
    """
    request = ask(
        wire.QuotaRequest,
        kind=kind,
        name=name,
        gpus=gpus,
        gpu_hours_month=gpu_hours_month,
        api_calls_day=api_calls_day,
        upload_mb_month=upload_mb_month,
        max_lifetime_s=max_lifetime_s,
    )
    return _put(wire.Quota, "/quotas", request)


class _Budgets(MoneyTable):
    """Each with the percent that its people were warned of, if any."""

    def _cells(self) -> list[list[str]]:
        cells = super()._cells()
        return [
            [*row[:-1], _NONE if one.near is None else f"{one.near} %"]
            for row, one in zip(cells, self, strict=True)
        ]


class _Quotas(Table[wire.Quota]):
    """Each limit with what is used of it, and which are nearly used up."""

    def _cells(self) -> list[list[str]]:
        return [
            [row.kind, row.name, *(_of(used, limit) for used, limit in _limits(row)), _hours(row), _near(row)]
            for row in self
        ]


def money(micro: int | None) -> str:
    """Micro-units as people write money; the currency is that of the rates."""
    return shown(None) if micro is None else f"{micro / MICRO:,.2f}"


def _limits(row: wire.Quota) -> Iterable[tuple[float, int | None]]:
    return (
        (row.used_gpus, row.gpus),
        (row.used_gpu_hours, row.gpu_hours_month),
        (row.used_api_calls, row.api_calls_day),
        (row.used_upload_mb, row.upload_mb_month),
    )


def _hours(row: wire.Quota) -> str:
    """The longest lifetime of a server."""
    return _NONE if row.max_lifetime_s is None else f"{row.max_lifetime_s / 3600:g}"


def _near(row: wire.Quota) -> str:
    return ", ".join(f"{_COLUMNS.get(limit, limit)} {percent} %" for limit, percent in row.near.items()) or _NONE


def _of(used: float, limit: int | None) -> str:
    return f"{used:g}" if limit is None else f"{used:g} / {limit}"


def _cell(column: str, value: Any) -> str:
    if column in _MONEY:
        return money(value)
    return f"{value:.2f}" if isinstance(value, float) else shown(value)


def _word(english: str, korean: str) -> str:
    return korean if reader_language() == "ko" else english


def _time(given: datetime | None, zone: str | None) -> str | None:
    if given is None or given.tzinfo is not None:
        return None if given is None else given.isoformat()
    try:
        # without one it is this machine's, whose own name a machine need not know
        return (given.astimezone() if zone is None else given.replace(tzinfo=ZoneInfo(zone))).isoformat()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadRequest(field="zone", value=zone, rule=_ZONE_RULE) from None


def _micro(amount: float | str | Decimal) -> int:
    try:
        exact = Decimal(str(amount)) * MICRO
        if exact == exact.to_integral_value() and exact > 0:
            return int(exact)
    except (InvalidOperation, ValueError, OverflowError):
        pass  # no number at all: refused below with the same sentence
    raise BadRequest(field="amount", value=repr(amount), rule=_AMOUNT_RULE)


def _put(kind: type[M], path: str, request: BaseModel) -> M | None:
    answer = said(client().send("PUT", API + path, repeatable=True, json=request.model_dump(mode="json")))
    return None if answer is None else read(kind, answer)


__all__: Sequence[str] = (
    "Costs",
    "budgets",
    "by",
    "forecast",
    "money",
    "quotas",
    "recommendations",
    "set_budget",
    "set_quota",
)

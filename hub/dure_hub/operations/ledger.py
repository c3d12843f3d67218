"""Who used which slice for how long at what rate: leases and their measured use, over any window of time.

Who asks sees the leases of their own and those that their teams pay for; administrators see all. A lease on the
slices of another (`parent`) is in no sum: its slices are charged once, by the lease that holds them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import BadRequest, Text
from dure.wire.money import in_team
from dure_hub.operations import pauses
from dure_hub.operations.people import Person
from dure_hub.policies import cost
from dure_hub.policies.cost import HOUR_US, By, Held, Seen, Sum
from dure_hub.policies.slices import WHOLE
from dure_hub.store import Clock, Store
from dure_hub.store.models import Lease, UsageHour

LONGEST = timedelta(days=400)
LINES = 1000
_ZONE_RULE: Text = {
    "en": "a time zone has a name as in Asia/Seoul",
    "ko": "Asia/Seoul 같은 시간대 이름이어야 합니다",
}
_ORDER_RULE: Text = {"en": "the end is after the start", "ko": "끝은 시작보다 뒤여야 합니다"}
_LENGTH_RULE: Text = {"en": "a window has at most 400 days", "ko": "기간은 최대 400일입니다"}
_TIME_RULE: Text = {
    "en": "a time has a zone, as in 2026-01-31T09:00:00+09:00, and a year from 1970 to 9000",
    "ko": "시각은 2026-01-31T09:00:00+09:00처럼 시간대가 있어야 하고 연도는 1970~9000이어야 합니다",
}


@dataclass(frozen=True)
class Window:
    """From `start` to before `end`, in UTC; its days are those of `zone`."""

    start: datetime
    end: datetime
    zone: tzinfo
    zone_name: str = "UTC"


class Ledger:
    """Reads what leases cost."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def costs(
        self,
        person: Person,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        by: By = "user",
        zone: str = "UTC",
        limit: int = LINES,
    ) -> wire.Costs:
        """Costs by user, team, project, profile, purpose or day; of this month up to now where no time is named.

        What a lease costs is exact; how much of it was idle is measured, about once a minute. Raises `BadRequest`.
        """
        now = self._clock()
        window = window_of(start, end, zone, now)

        def read(session: Session) -> wire.Costs:
            leases = held(session, window.start, window.end, now, seen_by(person))
            groups = cost.grouped(leases, window.start, window.end, now, by, window.zone)
            free = pauses.told(session, [one.lease for one in leases], window.start, window.end)
            return _costs(groups, window, by, person.admin, limit).model_copy(update={"uncharged": free})

        return await self._store.read(read)


def seen_by(person: Person) -> ColumnElement[bool] | None:
    """Which leases a person may know of; None is all."""
    if person.admin:
        return None
    mine = Lease.owner == person.name
    return or_(mine, Lease.team.in_(sorted(person.teams))) if person.teams else mine


def held(
    session: Session,
    start: datetime,
    end: datetime,
    now: datetime,
    which: ColumnElement[bool] | None = None,
    *,
    measured: bool = True,
) -> list[Held]:
    """Every lease of a window that is charged, with its hours of use (without, if `measured` is false)."""
    query = select(
        Lease.id,
        Lease.owner,
        Lease.team,
        Lease.project,
        Lease.profile,
        Lease.purpose,
        Lease.rate,
        Lease.granted_at,
        Lease.ended_at,
        Lease.gpus,
        Lease.until,
    ).where(*charged_in(start, end, now, which))
    rows = session.execute(query).all()
    seen: dict[str, list[Seen]] = defaultdict(list)
    if measured and rows:
        for lease, hour, known_us, busy_us in session.execute(used_in(start, end, now, which)):
            seen[lease].append(Seen(hour, known_us, busy_us))
    free = pauses.spans(session, {row.id: row.ended_at or now for row in rows})
    return [
        Held(
            row.id,
            row.owner,
            row.team,
            row.project,
            row.profile,
            row.purpose,
            row.rate,
            row.granted_at,
            row.ended_at,
            row.gpus,
            tuple(seen.get(row.id, ())),
            row.until,
            free.get(row.id, ()),
        )
        for row in rows
    ]


def charged_in(
    start: datetime, end: datetime, now: datetime, which: ColumnElement[bool] | None = None
) -> list[ColumnElement[bool]]:
    """What the leases of a window that are charged have in common."""
    common = [
        Lease.parent.is_(None),
        Lease.granted_at < end,
        Lease.granted_at <= now,
        or_(Lease.ended_at.is_(None), Lease.ended_at > start),
    ]
    return common if which is None else [*common, which]


def used_in(
    start: datetime, end: datetime, now: datetime, which: ColumnElement[bool] | None = None
) -> Select[str, datetime, int, int]:
    """The measured hours of these leases in this window, and of no others, in order."""
    return (
        select(UsageHour.lease_id, UsageHour.hour, UsageHour.known_us, UsageHour.busy_us)
        .join(Lease, Lease.id == UsageHour.lease_id)
        .where(*charged_in(start, end, now, which))
        .where(UsageHour.hour > start - timedelta(hours=1), UsageHour.hour < end)
        .order_by(UsageHour.lease_id, UsageHour.hour)
    )


def window_of(start: datetime | None, end: datetime | None, zone: str, now: datetime) -> Window:
    """The window asked for: from the first day of the month (of that zone) to now, where nothing else is said.

    With an end alone it is the month of the last moment before that which is no time to come.
    """
    where = _zone(zone)
    for name, time in (("from", start), ("to", end)):
        if time is not None and (time.tzinfo is None or not 1970 <= time.year <= 9000):
            raise BadRequest(field=name, value=str(time), rule=_TIME_RULE)
    last = now if end is None else end.astimezone(UTC)
    latest = now if end is None or now < last else last - timedelta(microseconds=1)
    first = cost.month(latest.astimezone(where))[0].astimezone(UTC) if start is None else start.astimezone(UTC)
    if last <= first and (start, end) != (None, None):
        raise BadRequest(field="to", value=last.isoformat(), rule=_ORDER_RULE)
    if last - first > LONGEST:
        raise BadRequest(field="from", value=first.isoformat(), rule=_LENGTH_RULE)
    return Window(first, max(last, first), where, zone)


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadRequest(field="zone", value=name, rule=_ZONE_RULE) from error


def _costs(groups: Mapping[str | None, Sum], window: Window, by: By, everyone: bool, limit: int) -> wire.Costs:
    def first(item: tuple[str | None, Sum]) -> tuple[Any, ...]:
        return (item[0],) if by == "day" else (-item[1].cost, -item[1].held_us, item[0] or "")

    ordered = sorted(groups.items(), key=first)
    rest = ordered[limit:]
    return wire.Costs(
        start=window.start,
        end=window.end,
        by=by,
        zone=window.zone_name,
        everyone=everyone,
        lines=[line(name, part) for name, part in ordered[:limit]],
        others=line(None, cost.total(part for _, part in rest)) if rest else None,
        total=line(None, cost.total(groups.values())),
    )


def line(name: str | None, part: Sum) -> wire.CostLine:
    """One group as the API shows it: what nobody measured is null, not zero."""
    measured = part.known_us > 0
    return wire.CostLine(
        key=name,
        cost=part.cost,
        busy_cost=part.busy_cost if measured else None,
        idle_cost=part.idle_cost if measured else None,
        unmeasured_cost=part.unmeasured_cost,
        hours=hours(part.held_us),
        gpu_hours=hours(part.gpu_us / WHOLE),
        unpriced_hours=hours(part.unpriced_us),
        uncharged_hours=hours(part.uncharged_us),
        measured_hours=hours(part.known_us),
        busy_hours=hours(part.busy_us) if measured else None,
    )


def hours(us: float) -> float:
    """Hours for people to read; sums are made of the microseconds."""
    return round(us / HOUR_US, 6)


def of_project(name: str) -> ColumnElement[bool]:
    """The leases of a project: `vision/segmentation` in its team; a name without a team, in any or none."""
    parts = in_team(name)
    return Lease.project == name if parts is None else and_(Lease.team == parts[0], Lease.project == parts[1])

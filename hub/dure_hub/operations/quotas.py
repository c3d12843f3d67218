"""Quotas as people see and set them, and the warning before one is used up.

Starts are judged by `standing`, calls and uploads by `counters`, times of servers by `lifetimes`; all read what is
set here.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from dure import wire
from dure_hub.operations.counters import ANYBODY, API_CALLS, UPLOAD_BYTES, day_of, month_of
from dure_hub.operations.money_errors import TooManyRows
from dure_hub.operations.near import Near
from dure_hub.operations.people import Person
from dure_hub.operations.standing import Standing, standing
from dure_hub.policies.preemption import Holder
from dure_hub.policies.quota import MIB, Use, near
from dure_hub.policies.slices import WHOLE
from dure_hub.policies.verdict import Verdict
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Counter, Quota

MOST = 10_000
_HOUR_US = 3_600_000_000
LIMITS = ("gpus", "gpu_hours_month", "api_calls_day", "upload_mb_month")
"""What is used up, and told of before."""
_SET = (*LIMITS, "max_lifetime_s")
_NEAR = "near:"
_DAILY = ("gpus", "api_calls_day")
"""What is told of once a day; the others once a month."""


class Quotas:
    """Sets quotas, and tells when they are nearly used up."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def list(self, person: Person) -> builtins.list[wire.Quota]:
        """The person's own and their teams', with what is used; for administrators every other that is set too."""

        def read(session: Session) -> builtins.list[wire.Quota]:
            now = self._clock()
            stands = _standing(session, now)
            whose: dict[Holder, None] = {("user", person.name): None}
            whose.update((("team", team), None) for team in sorted(person.teams))
            rows = {(row.kind, row.name): row for row in session.scalars(select(Quota))}
            if person.admin:
                whose.update((holder, None) for holder in sorted(rows))
            return [_on_wire(holder, stands, rows) for holder in whose]

        return await self._store.read(read)

    async def near(self, person: Person) -> builtins.list[Near]:
        """The limits of the person and their teams that are nearly used up; of every team for administrators."""

        def read(session: Session) -> builtins.list[Near]:
            stands = _standing(session, self._clock())
            found = []
            for kind, name in _limited(stands):
                if person.in_team(name) if kind == "team" else name == person.name:
                    quota, use = stands.quota((kind, name)), stands.use[kind, name]
                    limits = near(quota, use)
                    found += [Near(kind, name, one, _used(use)[one], getattr(quota, one)) for one in limits]
            return found

        return await self._store.read(read)

    async def put(self, person: Person, ask: wire.QuotaRequest) -> wire.Quota | None:
        """Set all limits of one, or take its quota away (no limit named, answers None); for administrators.

        The name `*` is everybody of that kind who has none of their own. Calls and uploads learn of it within
        seconds, starts at once. Percents told of already are told again where they lie ahead at a new limit.
        """
        person.need_admin()

        return await self._store.run(lambda session: set_quota(session, person.name, ask, self._clock()))

    async def ratios(self) -> Sequence[tuple[tuple[str, str, str], float]]:
        """How much of each limit is used, by (kind, name, limit), of all who use any; none of a limit of 0."""

        def read(session: Session) -> Sequence[tuple[tuple[str, str, str], float]]:
            stands = _standing(session, self._clock())
            found = []
            for holder in _limited(stands):
                quota = stands.quota(holder)
                for limit, used in _used(stands.use[holder]).items():
                    if most := getattr(quota, limit):
                        found.append(((*holder, limit), used / most))
            return found

        return await self._store.read(read)

    async def watch(self) -> None:
        """Write `quota.near` at 80 and at 100 percent of a limit, once each in its day or month."""
        now = self._clock()
        if await self._store.read(lambda session: bool(_news(session, now))):
            await self._store.run(self._tell)

    def _tell(self, session: Session) -> None:
        now = self._clock()
        for holder, limit, percent, facts in _news(session, now):
            key = {
                "kind": holder[0],
                "subject": holder[1],
                "what": f"{_NEAR}{limit}",
                "period": _period(limit, now),
            }
            session.merge(Counter(**key, value=percent))
            verdict = Verdict(percent < 100, "quota_near", facts).to_json()
            record(session, now, PORTAL, "quota.near", f"quota:{holder[0]}/{holder[1]}", verdict)


def set_quota(session: Session, actor: str, ask: wire.QuotaRequest, now: datetime) -> wire.Quota | None:
    """`Quotas.put` in the transaction of its caller, who has seen to it that `actor` may."""
    row = session.get(Quota, (ask.kind, ask.name))
    thing = f"quota:{ask.kind}/{ask.name}"
    before = None if row is None else {name: getattr(row, name) for name in _SET}
    limits = {name: getattr(ask, name) for name in _SET}
    facts = {**limits, "before": before}
    changed = [name for name in LIMITS if limits[name] != (before or {}).get(name)]
    if all(limit is None for limit in limits.values()):
        if row is not None:
            session.delete(row)
            record(session, now, actor, "quota.remove", thing, {"code": "removed", "facts": facts})
            session.flush()
            _tell_anew(session, (ask.kind, ask.name), changed, _standing(session, now), now)
        return None
    if row is None:
        if (session.scalar(select(func.count()).select_from(Quota)) or 0) >= MOST:
            raise TooManyRows(limit=MOST)
        row = Quota(kind=ask.kind, name=ask.name)
        session.add(row)
    for name, limit in limits.items():
        setattr(row, name, limit)
    row.set_by, row.set_at = actor, now
    record(session, now, actor, "quota.set", thing, {"code": "set", "facts": facts})
    session.flush()
    stands = _standing(session, now)
    _tell_anew(session, (ask.kind, ask.name), changed, stands, now)
    return _on_wire((ask.kind, ask.name), stands, {(ask.kind, ask.name): row})


def _standing(session: Session, now: datetime) -> Standing:
    """How everybody stands, with calls and uploads, as far as they are written."""
    found = standing(session, now, borrowing=False)
    query = select(Counter).where(
        Counter.period.in_((day_of(now), month_of(now))), Counter.what.in_((API_CALLS, UPLOAD_BYTES))
    )
    for row in session.scalars(query):
        use = found.use.get((row.kind, row.subject), Use())
        more = {"api_calls": row.value} if row.what == API_CALLS else {"upload_bytes": row.value}
        found.use[row.kind, row.subject] = replace(use, **more)
    return found


def _news(session: Session, now: datetime) -> builtins.list[tuple[Holder, str, int, dict[str, object]]]:
    """Limits that are near (or at) their end and not told of yet: whose, which, percent, facts."""
    stands = _standing(session, now)
    if not stands.quotas:
        return []
    told = _told(session, now)
    found = []
    for holder in _limited(stands):
        quota, use = stands.quota(holder), stands.use.get(holder, Use())
        for limit, percent in near(quota, use).items():
            if told.get((*holder, limit), 0) < percent:
                facts: dict[str, object] = {
                    "kind": holder[0],
                    "name": holder[1],
                    "limit": limit,
                    "percent": percent,
                    "used": _used(use)[limit],
                    "quota": getattr(quota, limit),
                    "period": _period(limit, now),
                }
                found.append((holder, limit, percent, facts))
    return found


def _tell_anew(session: Session, whose: Holder, changed: Sequence[str], stands: Standing, now: datetime) -> None:
    """Take back what was told of these limits and is not crossed at the new ones: it is told when it is again."""
    query = _told_rows(now).where(
        Counter.kind == whose[0], Counter.what.in_([f"{_NEAR}{limit}" for limit in changed])
    )
    for row in session.scalars(query if whose[1] == ANYBODY else query.where(Counter.subject == whose[1])):
        holder = (row.kind, row.subject)
        crossed = near(stands.quota(holder), stands.use.get(holder, Use())).get(row.what.removeprefix(_NEAR), 0)
        if whose[1] != ANYBODY or holder not in stands.quotas:
            row.value = min(row.value, crossed)


def _limited(stands: Standing) -> Iterable[Holder]:
    """Everybody with a use and a quota, be it that of everybody."""
    everybody = {kind for kind, name in stands.quotas if name == ANYBODY}
    return sorted(holder for holder in stands.use if holder in stands.quotas or holder[0] in everybody)


def _told(session: Session, now: datetime) -> dict[tuple[str, str, str], int]:
    rows = session.scalars(_told_rows(now))
    return {(row.kind, row.subject, row.what.removeprefix(_NEAR)): row.value for row in rows}


def _told_rows(now: datetime) -> Select[Counter]:
    """What was told of in this day and month."""
    return select(Counter).where(
        Counter.period.in_((day_of(now), month_of(now))), Counter.what.in_([f"{_NEAR}{limit}" for limit in LIMITS])
    )


def _period(limit: str, now: datetime) -> str:
    return day_of(now) if limit in _DAILY else month_of(now)


def _used(use: Use) -> dict[str, float]:
    """What is used of each limit, in the limit's own unit."""
    return {
        "gpus": use.gpus / WHOLE,
        "gpu_hours_month": round(use.gpu_us / _HOUR_US, 3),
        "api_calls_day": use.api_calls,
        "upload_mb_month": round(use.upload_bytes / MIB, 3),
    }


def _on_wire(holder: Holder, stands: Standing, rows: Mapping[Holder, Quota]) -> wire.Quota:
    quota, use = stands.quota(holder), stands.use.get(holder, Use())
    row = rows.get(holder)
    bound = row or rows.get((holder[0], ANYBODY))
    used = _used(use)
    return wire.Quota(
        kind=holder[0],
        name=holder[1],
        gpus=quota.gpus,
        gpu_hours_month=quota.gpu_hours_month,
        api_calls_day=quota.api_calls_day,
        upload_mb_month=quota.upload_mb_month,
        max_lifetime_s=None if bound is None else bound.max_lifetime_s,
        used_gpus=used["gpus"],
        used_gpu_hours=used["gpu_hours_month"],
        used_api_calls=use.api_calls,
        used_upload_mb=used["upload_mb_month"],
        near=near(quota, use),
        set_by=None if row is None else row.set_by,
        set_at=None if row is None else row.set_at,
    )

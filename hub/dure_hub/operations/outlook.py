"""What this month will have cost, and how it could cost less: read from leases and what was measured of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from dure import wire
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.operations import money_words
from dure_hub.operations.ledger import charged_in, held, hours, of_project, seen_by
from dure_hub.operations.people import Person
from dure_hub.operations.profiles import Fleet, Profiles
from dure_hub.policies import cost
from dure_hub.policies.cost import Held
from dure_hub.policies.forecast import HISTORY, NEEDED, forecast
from dure_hub.policies.recommend import SMALLER, Holding, Offer, Recommendation, recommend
from dure_hub.store import Clock, Store
from dure_hub.store.models import Lease, UsageHour

BACK = timedelta(days=30)
"""Recommendations are about the use of so long."""
MOST = 100


class _Measured(NamedTuple):
    seen_us: int = 0
    known_us: int = 0
    busy_us: int = 0
    memory_max_mb: int | None = None


class Outlook:
    """Looks ahead and back, for whoever may see the leases."""

    def __init__(self, store: Store, clock: Clock, profiles: Profiles) -> None:
        self._store, self._clock, self._profiles = store, clock, profiles

    async def forecast(
        self, person: Person, *, team: str | None = None, project: str | None = None
    ) -> wire.Forecast:
        """To the end of this month (of UTC), of what the person may see; of one team or project where named."""
        now = self._clock()
        first, _ = cost.month(now)

        def read(session: Session) -> list[Held]:
            which = [
                part
                for part in (
                    seen_by(person),
                    None if team is None else Lease.team == team,
                    None if project is None else of_project(project),
                )
                if part is not None
            ]
            return held(
                session, min(first, now - HISTORY), now, now, and_(*which) if which else None, measured=False
            )

        leases = await self._store.read(read)
        found = forecast(leases, now)
        unpriced = cost.total(cost.summed(one, first, now, now) for one in leases if one.rate is None)
        facts = {
            **found.verdict.facts,
            "month": f"{first:%Y-%m}",
            "spent": found.spent,
            "running": found.running,
            "expected": found.expected,
            "low": found.low,
            "high": found.high,
            "unpriced_hours": hours(unpriced.unpriced_us),
        }
        codes = [found.verdict.code] + (["unpriced"] if unpriced.unpriced_us else [])
        return wire.Forecast(
            month=str(facts["month"]),
            at=now,
            code=found.verdict.code,
            spent=found.spent,
            expected=found.expected,
            low=found.low,
            high=found.high,
            running=found.running,
            days=found.days,
            days_needed=NEEDED,
            unpriced_hours=hours(unpriced.unpriced_us),
            facts=facts,
            text=money_words.both(codes, facts),
        )

    async def recommendations(self, person: Person) -> list[wire.Recommendation]:
        """What GPUs held in the last 30 days could have cost less, the largest saving first; at most `MOST`."""
        now = self._clock()
        which = seen_by(person)
        holdings = await self._store.read(lambda session: _holdings(session, now, which))
        found = recommend(holdings, offers(await self._profiles.fleet())) if holdings else []
        return [_on_wire(one) for one in found[:MOST]]


def offers(fleet: Fleet) -> dict[str, Offer]:
    """The profiles that stand beside each other: one GPU, or a part whose memory is kept apart from others'."""
    found = {}
    for spec in fleet.profiles.values():
        if spec.gpu_model is None or spec.gpus > 1 or spec.enforced is False:
            continue
        model = spec.gpu_key or spec.gpu_model
        found[spec.name] = Offer(spec.name, model, spec.gpu_memory_mb, spec.rate, _compute(spec, fleet))
    return found


def _compute(spec: ProfileSpec, fleet: Fleet) -> float | None:
    """Which part of its GPU's compute a profile has; None where the grid does not say."""
    if spec.share:
        return spec.share / 1000
    if spec.mig is None:
        return 1.0
    for gpu in (gpu for machine in fleet.machines for gpu in machine.gpus):
        if gpu.grid is not None and (gpu.key or gpu.model) == (spec.gpu_key or spec.gpu_model):
            part = gpu.grid.named(spec.mig)
            whole = max((profile.compute for profile in gpu.grid.profiles), default=0)
            return part.compute / whole if part is not None and whole else None
    return None


def _holdings(session: Session, now: datetime, which: ColumnElement[bool] | None) -> list[Holding]:
    start = (now - BACK).replace(minute=0, second=0, microsecond=0)
    measured = _measured(session, start, now, which)
    sums: dict[tuple[str, str], Holding] = {}
    for one in held(session, start, now, now, which, measured=False):
        paid = cost.cost(one, start, now, now)
        if paid is None or not one.gpus:
            continue
        first, last = cost.overlap(one, start, now, now)
        seen = measured.get(one.lease, _Measured())
        before = sums.get((one.owner, one.profile), Holding(one.owner, one.profile, 0, 0))
        memories = [mb for mb in (before.memory_max_mb, seen.memory_max_mb) if mb is not None]
        sums[one.owner, one.profile] = Holding(
            one.owner,
            one.profile,
            before.held_us + last - first,
            before.cost + paid,
            # of time in which the memory is unknown nobody can say that it would have fitted
            before.seen_us + (seen.seen_us if seen.memory_max_mb is not None else 0),
            before.known_us + seen.known_us,
            before.busy_us + seen.busy_us,
            max(memories, default=None),
        )
    return list(sums.values())


def _measured(
    session: Session, start: datetime, now: datetime, which: ColumnElement[bool] | None
) -> dict[str, _Measured]:
    query = (
        select(
            UsageHour.lease_id,
            func.sum(UsageHour.seen_us),
            func.sum(UsageHour.known_us),
            func.sum(UsageHour.busy_us),
            func.max(UsageHour.memory_max_mb),
        )
        .join(Lease, Lease.id == UsageHour.lease_id)
        .where(UsageHour.hour >= start, *charged_in(start, now, now, which))
        .group_by(UsageHour.lease_id)
    )
    # a sum of large numbers is a Decimal on PostgreSQL
    return {
        lease: _Measured(int(seen), int(known), int(busy), memory)
        for lease, seen, known, busy, memory in session.execute(query)
    }


def _on_wire(one: Recommendation) -> wire.Recommendation:
    facts = {"owner": one.owner, **one.facts}
    codes = [one.code]
    if one.code == SMALLER:
        codes.append("busy_unknown" if one.facts["busy_percent"] is None else "busy_known")
    return wire.Recommendation(
        code=one.code,
        owner=one.owner,
        profile=one.profile,
        saved=one.saved,
        facts=facts,
        text=money_words.both(codes, facts),
    )

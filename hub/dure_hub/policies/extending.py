"""How much longer a lease may be held without putting off anybody's promised start. The clock is an argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from dure_hub.catalogue.machine import Machine
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.policies.ceilings import Holder
from dure_hub.policies.order import Waiting
from dure_hub.policies.queue import Held, look_ahead

FINENESS = timedelta(minutes=5)
"""The latest end is found to within so much, on the side of those who wait."""


def latest_end(
    lease: str,
    wanted: datetime,
    waiting: Sequence[Waiting],
    leases: Sequence[Held],
    profiles: Mapping[str, ProfileSpec],
    machines: Sequence[Machine],
    now: datetime,
    ceilings: Mapping[Holder, int],
) -> tuple[datetime, list[datetime]]:
    """The latest end, `wanted` at most, at which nobody starts later than promised who would not anyway.

    With it the starts that were promised to those whom `wanted` would put off. Never less than the end there is.
    """
    (until,) = {one.until for one in leases if one.lease == lease} or {None}

    def put_off(end: datetime) -> list[datetime]:
        held = [replace(one, until=end) if one.lease == lease else one for one in leases]
        starts = look_ahead(waiting, held, profiles, machines, now, ceilings).starts
        return [promised for key, promised in kept.items() if _later(starts[key], promised)]

    # whoever is late as it is has that promise broken already: what they start at now is what counts for them
    before = look_ahead(waiting, leases, profiles, machines, now, ceilings).starts
    kept = {
        one.id: max(one.promised, start)
        for one in waiting
        if one.promised is not None and (start := before[one.id]) is not None
    }
    if until is None or wanted <= until or not kept:
        return wanted, []
    found = put_off(wanted)
    if not found:
        return wanted, []
    low, high = 0, -((until - wanted) // FINENESS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if not put_off(until + middle * FINENESS) else (low, middle)
    return until + low * FINENESS, found


def _later(start: datetime | None, promised: datetime) -> bool:
    return start is None or start > promised

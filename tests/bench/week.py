"""A simulated week of 200 people on a campus: how far they can rely on what the line tells them.

Through the portal's own admission, queue and reconciler on a real store; see `tests/support/week.py`.
DURE_BENCH_SEEDS says of how many weeks (2).
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.bench.record import Figure
from tests.support.week import Week
from tests.support.weekload import week
from tests.support.weekreport import Report, report

WHAT = {
    "queue_promises_kept": (
        "The part of tickets that started no later than the `expected_start` shown when they asked, of those that"
        " were shown one and stayed in line until they were granted; the worst of the simulated weeks. 200 people"
        " in six teams on the `campus` fleet, some sixty waiting at the peak."
    ),
    "week_longest_wait": (
        "The longest that any ticket waited in these weeks, in simulated hours. A ticket that waits for a day ends"
        " with a reason; what has to give way or ran for a day waits anew."
    ),
}
ALONE = True
"""It takes minutes: it runs by its name only."""
DAYS = 7


def run() -> list[Figure]:
    """Whole weeks, one after the other."""
    seeds = int(os.environ.get("DURE_BENCH_SEEDS") or 2)
    weeks = [asyncio.run(one(seed)) for seed in range(seeds)]
    kept, longest = min(one.kept for one in weeks), max(one.longest_wait_h for one in weeks)
    return [
        Figure("queue_promises_kept", "of tickets", round(kept, 4), None, None, ">= 0.99", kept >= 0.99, seeds),
        Figure("week_longest_wait", "h", round(longest, 2), None, None, "", True, seeds),
    ]


async def one(seed: int) -> Report:
    """One week. What breaks a rule is a failure of the bench."""
    with tempfile.TemporaryDirectory(prefix="dure-week-") as folder:
        world = Week(Path(folder), week(seed, DAYS))
        try:
            await world.run(DAYS)
        finally:
            await world.close()
    assert world.rules.wrong == [], world.rules.wrong[:5]
    found = report(world)
    print("\n".join(f"  {name}: {value}" for name, value in asdict(found).items()))
    return found

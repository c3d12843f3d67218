"""Two days of 200 people on a campus, in simulated time: nobody starves, quotas hold, promises are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.week import Week
from tests.support.weekload import week
from tests.support.weekreport import HOUR, report

DAYS = 2
KEPT, PROMISED = 0.99, 0.8
"""What may be relied on. The rest is what nobody can know: who comes in a higher class and uses up the quota that
a promise to a colleague counts on. None is made to a request that would give up before its start."""


@pytest.mark.timeout(900)
async def test_two_days_of_a_campus(tmp_path: Path) -> None:
    world = Week(tmp_path, week(seed=3, days=DAYS))
    try:
        await world.run(DAYS)
    finally:
        await world.close()
    found = report(world)
    # nothing is held twice, no quota is exceeded at any commit, and nobody is left standing who may start
    assert world.rules.wrong == []
    assert not world.refused
    # it was a crowd, and met the rules that it is held against
    assert found.most_waiting >= 24, found
    assert world.rules.at_the_limit, found
    assert world.rules.borrowed, found
    assert {"granted", "cancelled", "expired"} <= found.ended.keys(), found
    # nobody waits without bound: who still waits at the end has not done so for as long as anybody may
    longest = world.settings.ticket_timeout_s / 3600
    assert found.longest_wait_h <= longest, found
    waiting = [wait for wait in world.waits.values() if wait.state == "waiting"]
    assert all((world.clock() - wait.since) / HOUR < longest for wait in waiting)
    # what people were told when they asked
    assert found.promised >= PROMISED, found
    assert found.kept >= KEPT, found

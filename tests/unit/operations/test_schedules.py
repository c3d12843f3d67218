"""When a schedule is due it becomes an execution, once; the clock is the portal's own file."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

from dure_hub.settings import Settings
from dure_hub.store import system_clock
from dure_hub.store.models import Schedule
from tests.support.schedules import ANA, ask, data, over, pass_time, says, shop, states, verbs
from tests.support.workshop import Workshop, workshop

__all__ = ["data", "shop"]


async def test_a_schedule_fires_once_when_it_is_due(shop: Workshop, data: Settings) -> None:
    asked = await ask(shop, parameters={"epochs": 7})
    made = await shop.schedules.create(ANA, asked)
    assert (await shop.schedules.create(ANA, asked)).id == made.id, "the same id is the same schedule"
    assert (made.limit_s, made.paused, made.last) == (data.execution_limit_s, False, None)
    await shop.schedules.firing.fire()
    assert await states(shop) == [], "it is not due yet"

    pass_time(data, 60)
    for _ in range(3):
        await shop.schedules.firing.fire()
    execution = await over(shop)
    assert (execution.state, execution.reason, execution.due_at) == ("succeeded", None, made.next_at)
    assert execution.parameters == {"epochs": 7}
    assert execution.page == "/services/dure/schedules/nightly/1"
    page = await shop.schedules.logs(ANA, "nightly", 1)
    assert ("epochs 7" in page.text, page.done) == (True, True)
    assert await states(shop) == [(1, "succeeded")]
    now = await shop.schedules.get(ANA, "nightly")
    assert now.next_at is not None
    assert made.next_at is not None
    assert now.next_at == made.next_at + timedelta(minutes=1)
    assert now.last is not None
    assert now.last.number == 1
    assert json.loads(await shop.schedules.notebook(ANA, "nightly", 1))["nbformat"] == 4
    assert verbs(shop, "schedule.", "execution.") == [
        *("schedule.create", "execution.due", "execution.start", "execution.end")
    ]


async def test_what_was_missed_is_made_once(shop: Workshop, data: Settings) -> None:
    made = await shop.schedules.create(ANA, await ask(shop))
    pass_time(data, 3 * 86400)
    await shop.schedules.firing.fire()
    await shop.schedules.firing.fire()
    execution = await over(shop)
    assert execution.due_at == made.next_at, "the first minute it missed"
    await shop.schedules.firing.fire()
    assert await states(shop) == [(1, "succeeded")]
    now = system_clock(data.folder.root / "clock")()
    following = (await shop.schedules.get(ANA, "nightly")).next_at
    assert following is not None
    assert now < following <= now + timedelta(minutes=1)


async def test_two_that_look_at_once_make_it_once(shop: Workshop, data: Settings) -> None:
    await shop.schedules.create(ANA, await ask(shop))
    pass_time(data, 60)
    async with workshop(data) as second:
        firings = [shop.schedules.firing, second.schedules.firing]
        await asyncio.gather(*(firing.fire() for firing in firings * 3))
    assert len(await shop.schedules.executions(ANA, "nightly")) == 1


async def test_a_clock_that_was_set_back_makes_nothing_twice(shop: Workshop, data: Settings) -> None:
    made = await shop.schedules.create(ANA, await ask(shop))
    pass_time(data, 60)
    await shop.schedules.firing.fire()
    with shop.store.transaction() as session:
        session.get_one(Schedule, made.id).next_at = made.next_at
    await shop.schedules.firing.fire()
    assert len(await shop.schedules.executions(ANA, "nightly")) == 1
    following = (await shop.schedules.get(ANA, "nightly")).next_at
    assert following != made.next_at


async def test_one_that_still_runs_keeps_the_next_from_starting(shop: Workshop, data: Settings) -> None:
    await shop.schedules.create(ANA, await ask(shop, "wait.ipynb"))
    pass_time(data, 60)
    await shop.schedules.firing.fire()
    await says(shop, "waiting")
    pass_time(data, 60)
    await shop.schedules.firing.fire()
    assert await states(shop) == [(1, "running"), (2, "skipped")]
    left_out = await shop.schedules.execution(ANA, "nightly", 2)
    assert "execution 1 of this schedule had not ended" in (left_out.reason or "")
    assert "1번 실행" in left_out.model_dump()["reason_text"]["ko"]
    await shop.schedules.stop(ANA, "nightly", 1)
    assert (await over(shop)).reason == "Stopped on request."
    pass_time(data, 60)
    await shop.schedules.firing.fire()
    await says(shop, "waiting", 3)
    await shop.schedules.delete(ANA, "nightly")
    assert "execution.skip" in verbs(shop, "execution.")


async def test_a_paused_schedule_is_not_due_and_a_resumed_one_from_then_on(shop: Workshop, data: Settings) -> None:
    await shop.schedules.create(ANA, await ask(shop))
    await shop.schedules.pause(ANA, "nightly")
    pass_time(data, 3600)
    await shop.schedules.firing.fire()
    resumed = await shop.schedules.resume(ANA, "nightly")
    await shop.schedules.firing.fire()
    assert await states(shop) == []
    assert resumed.next_at is not None
    assert resumed.next_at > system_clock(data.folder.root / "clock")()
    assert verbs(shop, "schedule.") == ["schedule.create", "schedule.pause", "schedule.resume"]


async def test_a_profile_that_is_gone_fails_only_the_execution(shop: Workshop, data: Settings) -> None:
    made = await shop.schedules.create(ANA, await ask(shop))
    with shop.store.transaction() as session:
        session.get_one(Schedule, made.id).profile = "gpu-full"
    pass_time(data, 60)
    await shop.schedules.firing.fire()
    execution = await shop.schedules.execution(ANA, "nightly", 1)
    assert execution.state == "failed"
    assert "There is no profile named gpu-full" in (execution.reason or "")
    assert verbs(shop, "execution.") == ["execution.due", "execution.end"]
    following = (await shop.schedules.get(ANA, "nightly")).next_at
    assert following != made.next_at

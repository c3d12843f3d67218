"""When schedules are due, and when not: after a `down`, with clocks that leap, for owners that are gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from dure import wire
from dure.errors import NotReady
from dure.wire.ids import new_id
from dure_hub.app import operations
from dure_hub.operations import admission
from dure_hub.operations.executionfiles import ExecutionFolder
from dure_hub.operations.notes import sentence
from dure_hub.operations.schedule_errors import NotKept, OwnerGone
from dure_hub.owners import DISABLED, UNKNOWN
from dure_hub.settings import Settings
from dure_hub.store.models import Event, Execution
from tests.support.notebooks import QuickExecutions, notebook
from tests.support.schedules import (
    ANA,
    BEN,
    ROOT,
    WAIT,
    ask,
    data,
    over,
    pass_time,
    run,
    says,
    shop,
    states,
    verbs,
)
from tests.support.workshop import Workshop, end_all, workshop, workshop_settings
from tests.support.world import World

__all__ = ["data", "shop"]


async def test_what_was_missed_while_all_was_down_runs_though_one_ran_at_the_time(data: Settings) -> None:
    async with workshop(data, executions=QuickExecutions(data)) as first:
        await first.schedules.create(ANA, await ask(first, "wait.ipynb"))
        pass_time(data, 60)
        await first.schedules.firing.fire()
        await says(first, "waiting")
        data.folder.closing.touch()
        for seen in await first.executions.seen():
            await first.executions.stop(seen.handle, 3)
        await first.schedules.firing.fire()
        assert await states(first) == [(1, "running")], "`down` leaves the rows to the next portal"
    data.folder.closing.unlink()
    pass_time(data, 3600)
    async with workshop(data, executions=QuickExecutions(data)) as second:
        schedules, reconciler = second.schedules, second.reconciler
        schedules.firing.ready = lambda: reconciler.has_looked(admission.SCHEDULE)
        was = (await schedules.get(ANA, "nightly")).next_at
        for _ in range(2):
            await schedules.firing.fire()
            assert (await schedules.get(ANA, "nightly")).next_at == was, "it stays due until it is known what runs"
            await reconciler.look()
        await schedules.firing.fire()
        await says(second, "waiting", 2)
        assert await states(second) == [(1, "stopped"), (2, "running")]
        await schedules.firing.fire()
        assert len(await states(second)) == 2, "once, however often it was missed"


async def test_only_two_looks_in_a_row_tell_what_runs(shop: Workshop, data: Settings) -> None:
    async def looked() -> bool:
        await shop.reconciler.look()
        return shop.reconciler.has_looked(admission.SCHEDULE)

    assert [await looked() for _ in range(3)] == [False, True, True]
    data.folder.closing.touch()
    assert await looked() is False
    data.folder.closing.unlink()
    assert [await looked() for _ in range(2)] == [False, True]


async def test_the_portal_itself_waits_and_asks(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", instance="0" * 12, hub_port=9)
    settings.folder.create()
    (settings.folder.secrets / "portal-token").write_text("x")
    settings.save()
    World(tmp_path / "data").store.close()  # its database
    made = operations(settings.data)
    assert {"schedules", "executions"} <= made.reconciler.ticks._ticks.keys(), (
        "what fires, and what keeps the newest"
    )
    assert made.schedules.firing.ready() is False
    with pytest.raises(NotReady):
        await made.schedules.firing.why_not("ana", None, frozenset())
    await made.close()


async def test_a_clock_that_was_far_ahead_puts_nothing_off_for_ever(shop: Workshop, data: Settings) -> None:
    made = await shop.schedules.create(ANA, await ask(shop, cron="0 6 * * *"))
    year = 366 * 86400
    pass_time(data, year)
    await shop.schedules.firing.fire()
    await over(shop)
    pass_time(data, -year)
    await shop.schedules.firing.fire()
    assert (await shop.schedules.get(ANA, "nightly")).next_at == made.next_at
    assert "schedule.set_back" in verbs(shop, "schedule.")
    pass_time(data, 86400)
    await shop.schedules.firing.fire()
    again = await shop.schedules.get(ANA, "nightly")
    assert again.next_at is not None
    assert again.next_at < datetime.now(UTC) + timedelta(days=2, minutes=1)
    assert await states(shop) == [(1, "succeeded")], "the minute that has run once does not run again"


async def test_what_one_keeps_from_starting_is_one_row_and_hides_nothing(shop: Workshop, data: Settings) -> None:
    await shop.schedules.create(ANA, await ask(shop, "wait.ipynb"))
    pass_time(data, 60)
    await shop.schedules.firing.fire()
    await says(shop, "waiting")
    for _ in range(3):
        pass_time(data, 60)
        await shop.schedules.firing.fire()
    assert await states(shop) == [(1, "running"), (2, "skipped")]
    left_out = (await shop.schedules.execution(ANA, "nightly", 2)).model_dump()["reason_text"]
    assert left_out["en"].startswith("Left out 3 times, at last at 20")
    assert left_out["en"].endswith(" UTC: execution 1 of this schedule had not ended.")
    assert "3번 건너뜀" in left_out["ko"]
    assert "1번 실행" in left_out["ko"]
    seen = await shop.schedules.get(ANA, "nightly")
    assert seen.last is not None
    assert seen.last.number == 1, "the newest that was not left out"
    assert [one.number for one in await shop.schedules.executions(ANA, "nightly", limit=1)] == [2, 1]
    await shop.schedules.stop(ANA, "nightly", 1)
    await over(shop)
    pass_time(data, 60)
    await shop.schedules.firing.fire()
    await says(shop, "waiting", 3)
    pass_time(data, 60)
    await shop.schedules.firing.fire()
    assert await states(shop) == [(1, "stopped"), (2, "skipped"), (3, "running"), (4, "skipped")]


@pytest.mark.parametrize("code", [UNKNOWN, DISABLED])
async def test_a_schedule_of_somebody_who_may_no_longer_is_paused(
    shop: Workshop, data: Settings, code: str
) -> None:
    await shop.schedules.create(ANA, await ask(shop))
    await shop.schedules.create(BEN, await ask(shop))

    async def why_not(owner: str, *_: object) -> str | None:
        return code if owner == "ana" else None

    shop.schedules.firing.why_not = why_not
    pass_time(data, 60)
    await shop.schedules.firing.fire()
    execution = await shop.schedules.execution(ANA, "nightly", 1)
    assert (execution.state, execution.reason) == ("failed", sentence(code))
    assert ends(shop) == [("nightly/1", "failed")]
    assert (await shop.schedules.get(ANA, "nightly")).paused
    assert not (await shop.schedules.get(BEN, "nightly")).paused
    assert len(await shop.schedules.executions(BEN, "nightly")) == 1
    with shop.store.reading() as session:
        paused = session.scalars(select(Event).where(Event.verb == "schedule.pause")).one()
    assert (paused.actor, paused.on_behalf_of, paused.verdict) == ("dure", "ana", {"code": code})
    for who in (ANA, ROOT):
        with pytest.raises(OwnerGone) as caught:
            await shop.schedules.run_now(who, "nightly", wire.RunRequest(id=new_id()), owner="ana")
        for language in ("en", "ko"):
            assert (sentence(code, language) or "") in caught.value.text(language)
        with pytest.raises(OwnerGone):
            await shop.schedules.resume(who, "nightly", owner="ana")
    assert await states(shop) == [(1, "failed")]


async def test_asking_for_a_run_pauses_it_too(shop: Workshop) -> None:
    await shop.schedules.create(ANA, await ask(shop))

    async def why_not(*_: object) -> str | None:
        return DISABLED

    shop.schedules.firing.why_not = why_not
    with pytest.raises(OwnerGone):
        await run(shop)
    assert (await shop.schedules.get(ANA, "nightly")).paused
    assert await states(shop) == []


async def test_while_the_hub_is_away_it_stays_due(shop: Workshop, data: Settings) -> None:
    made = await shop.schedules.create(ANA, await ask(shop))

    async def away(*_: object) -> str | None:
        raise NotReady(part="JupyterHub")

    shop.schedules.firing.why_not, usual = away, shop.schedules.firing.why_not
    pass_time(data, 60)
    await shop.schedules.firing.fire()
    assert await states(shop) == []
    assert (await shop.schedules.get(ANA, "nightly")).next_at == made.next_at
    shop.schedules.firing.why_not = usual
    await shop.schedules.firing.fire()
    assert (await over(shop)).due_at == made.next_at


async def test_the_limit_says_so_with_the_cell_where_it_was(shop: Workshop, data: Settings) -> None:
    told = (
        "import json, os, pathlib, signal, sys\n"
        "def told(*_):\n"
        "    said = {'state': 'failed', 'cell': 1, 'source': 'import json', 'error': 'Stopped', "
        "'message': 'It was asked to stop before its end.'}\n"
        "    pathlib.Path('../outputs/result.json').write_text(json.dumps(said))\n"
        "    os._exit(1)\n"
        "signal.signal(signal.SIGTERM, told)\n"
    )
    digest = await shop.upload({"long.ipynb": notebook(told + WAIT)})
    await shop.schedules.create(ANA, await ask(shop, "long.ipynb", snapshot=digest, limit_s=60))
    await run(shop)
    await says(shop, "waiting")
    pass_time(data, 61)
    execution = await over(shop)
    assert (execution.state, execution.reason) == (
        "failed",
        "It ran longer than its limit of 60 s, and was ended.",
    )
    assert execution.failure is not None
    assert execution.failure.model_dump() == {
        "cell": 1,
        "source": "import json",
        "error": "TimeLimit",
        "message": "It ran longer than 60 s.",
    }


def ends(shop: Workshop) -> list[tuple[str, Any]]:
    """What has ended by the events, in order, and how."""
    with shop.store.reading() as session:
        found = session.scalars(select(Event).where(Event.verb == "execution.end").order_by(Event.id)).all()
        return [(event.object.removeprefix("execution:ana/"), event.verdict["state"]) for event in found]


async def test_whatever_ends_one_there_is_one_event(
    shop: Workshop, data: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("work.ipynb", "fail.ipynb", "wait.ipynb"):
        await shop.schedules.create(ANA, await ask(shop, file, name=file[:4]))
        await run(shop, name=file[:4])
        if file != "wait.ipynb":
            await over(shop, name=file[:4])
    await shop.schedules.stop(ANA, "wait", 1)
    await over(shop, name="wait")
    expected = [("work/1", "succeeded"), ("fail/1", "failed"), ("wait/1", "stopped")]
    assert ends(shop) == expected

    async def broken(*_: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shop.schedules.subject, "_unpack", broken)
        await run(shop, name="work")
        await over(shop, 2, "work")
    expected.append(("work/2", "failed"))
    assert ends(shop) == expected, "it could not start"


async def test_what_waits_too_long_or_is_given_up_ends_with_an_event(tmp_path: Path) -> None:
    small = workshop_settings(tmp_path / "small", cpu_profile_cores=1, cpu_overcommit=1)
    async with workshop(small, executions=QuickExecutions(small)) as shop:
        await shop.schedules.create(ANA, await ask(shop, "wait.ipynb"))
        waits: list[int] = []
        while len(waits) < 2:
            execution = await run(shop)
            waits += [execution.number] * (execution.state == "queued")
        await shop.schedules.stop(ANA, "nightly", waits[0])
        pass_time(small, small.ticket_timeout_s)
        execution = await over(shop, waits[1])
        assert execution.reason == sentence("gave_up")
        await shop.schedules.delete(ANA, "nightly")
        told = [(f"nightly/{waits[0]}", "stopped"), (f"nightly/{waits[1]}", "failed")]
        assert [end for end in ends(shop) if end in told] == told
    await end_all(small)


async def test_only_the_newest_are_kept_and_it_is_said(shop: Workshop, data: Settings) -> None:
    keeping = data.model_copy(update={"executions_kept": 2})
    async with workshop(keeping, executions=QuickExecutions(keeping)) as shop:
        await shop.schedules.create(ANA, await ask(shop))
        await shop.schedules.create(ANA, await ask(shop, name="other"))
        made = [await run(shop) for _ in range(4)]
        made.append(await run(shop, name="other"))
        for one in made:
            await over(shop, one.number, one.schedule)
        (data.folder.executions / "nobodys").mkdir()
        there = [ExecutionFolder(data, one.id).path for one in made]
        await shop.schedules.retention.tidy()
        assert [path.exists() for path in there] == [False, False, True, True, True]
        assert [number for number, _ in await states(shop)] == [1, 2, 3, 4], "rows stay"
        assert [await shop.schedules.keeps(ANA, "nightly", number) for number in (1, 3)] == [False, True]
        with pytest.raises(NotKept, match="newest 2 executions"):
            await shop.schedules.notebook(ANA, "nightly", 1)
        assert (await shop.schedules.logs(ANA, "nightly", 1)).done
        await shop.schedules.delete(ANA, "nightly")
        await shop.schedules.retention.tidy()
        assert [path.exists() for path in there] == [False, False, False, False, True], "nobody could reach them"
        assert (data.folder.executions / "nobodys").exists()
        with shop.store.reading() as session:
            assert len(session.scalars(select(Execution)).all()) == 5


async def test_all_are_kept_where_the_limit_is_none(shop: Workshop, data: Settings) -> None:
    keeping = data.model_copy(update={"executions_kept": 0})
    async with workshop(keeping, executions=QuickExecutions(keeping)) as shop:
        await shop.schedules.create(ANA, await ask(shop))
        made = [await run(shop) for _ in range(2)]
        for one in made:
            await over(shop, one.number)
        await shop.schedules.retention.tidy()
        assert all(ExecutionFolder(data, one.id).path.exists() for one in made)

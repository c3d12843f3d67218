"""An execution from its start to its end: what it may, what ends it, and portals killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from sqlalchemy import select

from dure import wire
from dure.errors import Conflict, NotFound
from dure.wire.ids import new_id
from dure_hub.operations.executionfiles import ExecutionFolder
from dure_hub.operations.people import USE
from dure_hub.settings import Settings
from dure_hub.store.models import Execution, Lease, Token
from tests.support.notebooks import QuickExecutions, notebook
from tests.support.schedules import ANA, WAIT, ask, data, over, pass_time, run, says, shop, states
from tests.support.workshop import Workshop, end_all, workshop, workshop_settings

__all__ = ["data", "shop"]


async def test_two_at_once_do_not_clash(shop: Workshop) -> None:
    await shop.schedules.create(ANA, await ask(shop))
    first, second = await asyncio.gather(run(shop, epochs=5), run(shop, epochs=6))
    assert {first.number, second.number} == {1, 2}
    for execution in (first, second):
        assert (await over(shop, execution.number)).state == "succeeded"
        log = await shop.schedules.logs(ANA, "nightly", execution.number)
        assert f"epochs {execution.parameters['epochs']}\n" in log.text
        assert json.loads(await shop.schedules.notebook(ANA, "nightly", execution.number))["nbformat"] == 4


async def test_run_now_sent_twice_is_one_and_works_while_paused(shop: Workshop) -> None:
    await shop.schedules.create(ANA, await ask(shop, "in/deep.ipynb"))
    paused = await shop.schedules.pause(ANA, "nightly")
    assert (paused.paused, paused.next_at) == (True, None)
    asked = wire.RunRequest(id=new_id())
    made = [await shop.schedules.run_now(ANA, "nightly", asked) for _ in range(2)]
    assert made[0].number == made[1].number == 1
    assert (await over(shop)).state == "succeeded"
    await shop.schedules.create(ANA, await ask(shop, name="other"))
    with pytest.raises(Conflict):
        await shop.schedules.run_now(ANA, "other", asked)


async def test_a_failed_notebook_says_where_and_why(shop: Workshop) -> None:
    await shop.schedules.create(ANA, await ask(shop, "fail.ipynb"))
    await run(shop)
    execution = await over(shop)
    assert execution.state == "failed"
    failure = execution.failure
    assert failure is not None
    assert (failure.cell, failure.error, failure.message) == (2, "ValueError", "no data here")
    assert (failure.source or "").startswith("raise ValueError(")
    assert execution.reason == "Stopped at cell 2: ValueError: no data here"


async def test_its_token_speaks_for_the_owner_until_it_ends_and_nothing_is_left(
    shop: Workshop, data: Settings
) -> None:
    await shop.schedules.create(ANA, await ask(shop, "who.ipynb"))
    execution = await run(shop)
    await over(shop)
    said = (await shop.schedules.logs(ANA, "nightly", 1)).text
    token, which, name, experiment = next(line for line in said.split("\n") if line.startswith("dure_")).split()
    assert (which, name, experiment) == ("nightly/1", "ana", "ana/default")
    assert await shop.tokens.find(token) is None
    with shop.store.reading() as session:
        row = session.scalars(select(Token)).one()
        assert (row.owner, row.admin, row.purpose, row.scopes) == ("ana", False, "execution", {"scopes": [USE]})
    folder = data.folder.executions / execution.id

    async def tidied() -> bool:
        left = [folder / name for name in ("token", "code", "code.new")]
        return not any(place.exists() for place in left) and not await shop.executions.seen()

    await shop.until(tidied, "it is tidied up")
    assert sorted(path.name for path in folder.iterdir()) == ["kept", "outputs"]
    assert folder.stat().st_mode & 0o777 == 0o700


async def test_the_limit_ends_the_whole_group(shop: Workshop, data: Settings) -> None:
    child = "import subprocess\nprint('child', subprocess.Popen(['sleep', '600'], start_new_session=True).pid)\n"
    digest = await shop.upload({"child.ipynb": notebook(child + WAIT)})
    await shop.schedules.create(ANA, await ask(shop, "child.ipynb", snapshot=digest, limit_s=60))
    await run(shop)
    await says(shop, "waiting")
    pid = int((await shop.schedules.logs(ANA, "nightly", 1)).text.split()[1])
    os.kill(pid, 0)
    pass_time(data, 61)
    execution = await over(shop)
    assert (execution.state, execution.reason) == (
        "failed",
        "It ran longer than its limit of 60 s, and was ended.",
    )
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_an_execution_outlives_the_portal_and_is_neither_lost_nor_doubled(data: Settings) -> None:
    async with workshop(data, executions=QuickExecutions(data)) as first:
        await first.schedules.create(ANA, await ask(first, "wait.ipynb"))
        pass_time(data, 60)
        await first.schedules.firing.fire()
        await says(first, "waiting")
        before = await first.executions.seen()
    pass_time(data, 11)  # as long as the portal that is gone still counts as the one that leads
    async with workshop(data, executions=QuickExecutions(data)) as second:
        for _ in range(3):
            await second.reconciler.look()
        assert [s.handle for s in await second.executions.seen()] == [s.handle for s in before]
        assert await states(second) == [(1, "running")]
        await second.schedules.stop(ANA, "nightly", 1)
        assert (await over(second)).state == "stopped"


@pytest.mark.parametrize("crash", ["_unpack", "_give_token", "_renew", "_started"])
async def test_a_portal_killed_on_the_way_to_a_start_starts_it_once(
    data: Settings, crash: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """As nothing catches SIGKILL."""

    async with workshop(data, executions=QuickExecutions(data)) as first:
        await first.schedules.create(ANA, await ask(first))
        await run(first)
        item = (await first.store.read(first.schedules.subject._open))[0]

        def die(*_: object, **__: object) -> None:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(first.schedules.subject, crash, die)
            with pytest.raises(Killed):
                await first.schedules.subject._start(item)
    pass_time(data, 11)
    async with workshop(data, executions=QuickExecutions(data)) as second:
        assert (await over(second)).state == "succeeded"
        log = (await second.schedules.logs(ANA, "nightly", 1)).text
        assert log.count("epochs 3") == 1
        assert await states(second) == [(1, "succeeded")]


async def test_what_a_killed_portal_left_of_an_ended_one_is_tidied_up(data: Settings) -> None:
    async with workshop(data, executions=QuickExecutions(data)) as first:
        await first.schedules.create(ANA, await ask(first))
        folder = ExecutionFolder(data, (await run(first)).id)
        await over(first)
    pass_time(data, 11)
    folder.write_token("left")
    folder.code.mkdir(exist_ok=True)
    (folder.path / "code.new").mkdir()
    async with workshop(data, executions=QuickExecutions(data)) as second:

        async def tidied() -> bool:
            return not any((folder.path / name).exists() for name in ("token", "code", "code.new"))

        await second.until(tidied, "it is tidied up")
        assert folder.log.exists()
        assert folder.notebook()


async def test_what_waits_for_a_place_starts_in_its_turn_or_is_cancelled(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    small = workshop_settings(tmp_path / "small", cpu_profile_cores=cores, cpu_overcommit=1)
    async with workshop(small, executions=QuickExecutions(small)) as shop:
        await shop.schedules.create(ANA, await ask(shop, "wait.ipynb"))
        states_of = [(await run(shop)).state for _ in range(3)]
        assert states_of == ["starting", "queued", "queued"]
        await shop.schedules.stop(ANA, "nightly", 2)
        assert (await shop.schedules.execution(ANA, "nightly", 2)).state == "stopped"
        await says(shop, "waiting", 1)
        await shop.schedules.stop(ANA, "nightly", 1)
        await over(shop, 1)
        await says(shop, "waiting", 3)
        await shop.schedules.delete(ANA, "nightly")
        with pytest.raises(NotFound):
            await shop.schedules.get(ANA, "nightly")

        async def ended() -> bool:
            with shop.store.reading() as session:
                return None not in session.scalars(select(Execution.ended_at)).all()

        await shop.until(ended, "what ran has ended")
        with shop.store.reading() as session:
            last = session.scalars(select(Execution).where(Execution.number == 3)).one()
            assert (last.state, last.reason) == ("stopped", "deleted")
            assert session.scalars(select(Lease.id).where(Lease.ended_at.is_(None))).all() == []
        again = await shop.schedules.create(ANA, await ask(shop))
        assert again.name == "nightly"
    await end_all(small)

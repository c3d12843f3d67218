"""Schedules with a real store and real processes; the clock is the portal's own file."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from dure import wire
from dure.errors import BadRequest, Conflict, DureError, NotAllowed, NotFound, Unsupported
from dure.wire.ids import new_id
from dure_hub.backends.embedded import gaps
from dure_hub.operations.errors import BadLifetime, NoSuchProfile
from dure_hub.operations.executionfiles import ExecutionFolder
from dure_hub.operations.jobs import SnapshotMissing
from dure_hub.operations.people import USE, Person
from dure_hub.operations.schedule_errors import (
    BadCron,
    BadNotebook,
    BadParameter,
    CronFields,
    CronNever,
    NoSuchTimezone,
    NotebookLanguage,
    ParameterType,
    ParameterUnknown,
)
from dure_hub.operations.schedule_rows import OVER
from dure_hub.settings import Settings
from dure_hub.store import system_clock
from dure_hub.store.models import Event, Execution, Lease, Schedule, Ticket, Token
from tests.support.notebooks import QuickExecutions, notebook
from tests.support.workshop import Workshop, end_all, workshop, workshop_settings

ANA, BEN = Person("ana", scopes=frozenset({USE})), Person("ben", scopes=frozenset({USE}))
ROOT = Person("root", admin=True, scopes=frozenset({USE}))
WAIT = "import time\nprint('waiting', flush=True)\nwhile True:\n    time.sleep(0.05)"
WHO = (
    "import os, pathlib\nprint(pathlib.Path(os.environ['DURE_TOKEN_FILE']).read_text(), "
    "os.environ['DURE_EXECUTION'], os.environ['LOGNAME'], os.environ['MLFLOW_EXPERIMENT_NAME'])"
)
FILES = {
    "work.ipynb": notebook("print('epochs', epochs)", parameters="epochs: int = 3\nname = 'digits'"),
    "wait.ipynb": notebook(WAIT, parameters="epochs = 3"),
    "fail.ipynb": notebook("x = 1", "raise ValueError('no data \\x1b[31mhere')"),
    "who.ipynb": notebook(WHO),
    "in/deep.ipynb": notebook("print('deep')"),
    "julia.ipynb": json.dumps({"nbformat": 4, "cells": [], "metadata": {"language_info": {"name": "julia"}}}),
    "text.ipynb": "no notebook",
}


@pytest.fixture
async def data(tmp_path: Path) -> AsyncIterator[Settings]:
    """A data folder; whatever runs of it is ended at the end."""
    made = workshop_settings(tmp_path / "data")
    yield made
    await end_all(made)


@pytest.fixture
async def shop(data: Settings) -> AsyncIterator[Workshop]:
    """The operations."""
    async with workshop(data, executions=QuickExecutions(data)) as made:
        yield made


def pass_time(settings: Settings, seconds: float) -> None:
    """Move the portal's clock on."""
    clock = settings.folder.root / "clock"
    clock.write_text(str(float(clock.read_text() if clock.exists() else 0) + seconds))


async def ask(
    shop: Workshop, file: str = "work.ipynb", name: str = "nightly", **more: Any
) -> wire.ScheduleRequest:
    """A schedule of one of FILES, due every minute."""
    values = {"id": new_id(), "name": name, "notebook": file, "cron": "* * * * *", **more}
    return wire.ScheduleRequest.model_validate({"snapshot": await shop.upload(FILES), **values})


async def run(shop: Workshop, name: str = "nightly", **parameters: Any) -> wire.Execution:
    """Run one of ana's now."""
    return await shop.schedules.run_now(ANA, name, wire.RunRequest(id=new_id(), parameters=parameters))


async def over(shop: Workshop, number: int = 1, name: str = "nightly") -> wire.Execution:
    """Wait for the end of one of ana's executions."""

    async def look() -> wire.Execution | None:
        execution = await shop.schedules.execution(ANA, name, number)
        return execution if execution.state in OVER else None

    execution = await shop.until(look, f"{name}/{number} ends")
    assert execution is not None
    return execution


async def says(shop: Workshop, text: str, number: int = 1) -> None:
    """Wait until one of ana's executions has said this."""

    async def look() -> bool:
        return text in (await shop.schedules.logs(ANA, "nightly", number)).text

    await shop.until(look, f"{number} says {text}")


async def states(shop: Workshop) -> list[tuple[int, str]]:
    """Number and state of ana's executions, oldest first."""
    return [(one.number, one.state) for one in reversed(await shop.schedules.executions(ANA, "nightly"))]


def verbs(shop: Workshop, *kinds: str) -> list[str]:
    """The events of these kinds of things, in order."""
    with shop.store.reading() as session:
        found = session.scalars(select(Event.verb).order_by(Event.id)).all()
    return [verb for verb in found if verb.startswith(kinds)]


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


async def test_without_papermill_nothing_is_scheduled_and_it_is_said_why(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    shop.executions.unsupported = gaps.without_papermill()
    with pytest.raises(Unsupported) as caught:
        await shop.schedules.create(ANA, await ask(shop))
    assert "papermill, which is not installed" in caught.value.text("en")
    assert "papermill이 설치되어 있지 않습니다" in caught.value.text("ko")


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


async def test_a_profile_that_is_gone_fails_only_the_execution(shop: Workshop, data: Settings) -> None:
    made = await shop.schedules.create(ANA, await ask(shop))
    with shop.store.transaction() as session:
        session.get_one(Schedule, made.id).profile = "gpu-full"
    pass_time(data, 60)
    await shop.schedules.firing.fire()
    execution = await shop.schedules.execution(ANA, "nightly", 1)
    assert execution.state == "failed"
    assert "There is no profile named gpu-full" in (execution.reason or "")
    following = (await shop.schedules.get(ANA, "nightly")).next_at
    assert following != made.next_at


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"snapshot": "0" * 64}, SnapshotMissing),
        ({"notebook": "missing.ipynb"}, BadRequest),
        ({"notebook": "in/../work.ipynb"}, BadRequest),
        ({"notebook": "text.ipynb"}, BadNotebook),
        ({"notebook": "julia.ipynb"}, NotebookLanguage),
        ({"cron": "61 * * * *"}, BadCron),
        ({"cron": "* * * *"}, CronFields),
        ({"cron": "0 0 30 2 *"}, CronNever),
        ({"timezone": "Mars/Olympus"}, NoSuchTimezone),
        ({"profile": "gpu-huge"}, NoSuchProfile),
        ({"limit_s": 30 * 86400}, BadLifetime),
        ({"parameters": {"x=1\nimport os": 1}}, BadParameter),
        ({"parameters": {"epoch": 1}}, ParameterUnknown),
        ({"parameters": {"epochs": "three"}}, ParameterType),
        ({"parameters": {"epochs": True}}, ParameterType),
    ],
)
async def test_what_cannot_run_is_refused_in_words_and_leaves_nothing(
    shop: Workshop, change: dict[str, Any], error: type[DureError]
) -> None:
    asked = (await ask(shop)).model_copy(update=change)
    with pytest.raises(error) as caught:
        await shop.schedules.create(ANA, asked)
    assert type(caught.value) is error
    for language in ("en", "ko"):
        for sentence in (caught.value.text(language), caught.value.advice(language)):
            assert sentence
            assert "unknown" not in sentence
            assert "{" not in sentence
    assert await shop.schedules.list(ANA) == []
    with shop.store.reading() as session:
        for model in (Schedule, Execution, Ticket, Lease, Event):
            assert session.scalars(select(model)).all() == []


async def test_a_run_with_wrong_parameters_leaves_nothing(shop: Workshop, data: Settings) -> None:
    await shop.schedules.create(ANA, await ask(shop))
    for parameters, error in (({"x=1\nimport os": 1}, BadParameter), ({"epochs": 2.5}, ParameterType)):
        with pytest.raises(error):
            await shop.schedules.run_now(ANA, "nightly", wire.RunRequest(id=new_id(), parameters=parameters))
    assert await states(shop) == []
    assert list(data.folder.executions.iterdir()) == []
    with shop.store.reading() as session:
        assert session.scalars(select(Ticket)).all() == []


async def test_names_are_per_owner_and_others_see_nothing(shop: Workshop) -> None:
    asked = await ask(shop)
    await shop.schedules.create(ANA, asked)
    with pytest.raises(Conflict):
        await shop.schedules.create(ANA, await ask(shop))
    with pytest.raises(Conflict):
        await shop.schedules.create(BEN, asked)
    await run(shop)
    await over(shop)
    s = shop.schedules
    asks: list[Callable[..., Awaitable[object]]] = [s.get, s.pause, s.resume, s.delete, s.executions]
    for look in asks:
        with pytest.raises(NotFound):
            await look(BEN, "nightly")
        with pytest.raises(NotAllowed):
            await look(BEN, "nightly", owner="ana")
    of_each: list[Callable[..., Awaitable[object]]] = [s.execution, s.stop, s.keeps, s.notebook, s.logs]
    for of_one in of_each:
        with pytest.raises(NotFound):
            await of_one(BEN, "nightly", 1)
        with pytest.raises(NotAllowed):
            await of_one(BEN, "nightly", 1, owner="ana")
        with pytest.raises(NotFound):
            await of_one(ANA, "nightly", 2)
    with pytest.raises(NotAllowed):
        await shop.schedules.list(BEN, everyone=True)
    assert await shop.schedules.list(BEN) == []
    same = [await ask(shop) for _ in range(3)]
    made = await asyncio.gather(*(shop.schedules.create(BEN, one) for one in same), return_exceptions=True)
    assert sorted(type(one).__name__ for one in made) == ["Conflict", "Conflict", "Schedule"]


async def test_an_administrator_acts_on_the_owners_behalf_and_it_is_written_down(shop: Workshop) -> None:
    await shop.schedules.create(ANA, await ask(shop))
    assert [one.owner for one in await shop.schedules.list(ROOT, everyone=True)] == ["ana"]
    execution = await shop.schedules.run_now(ROOT, "nightly", wire.RunRequest(id=new_id()), owner="ana")
    assert execution.owner == "ana"
    await over(shop)
    seen = await shop.schedules.execution(ROOT, "nightly", 1, owner="ana")
    assert seen.page == "/services/dure/schedules/nightly/1?owner=ana"
    await shop.schedules.pause(ROOT, "nightly", owner="ana")
    with shop.store.reading() as session:
        rows = session.scalars(select(Event).where(Event.actor == "root").order_by(Event.id)).all()
        told = [(row.verb, row.on_behalf_of) for row in rows]
    assert told == [("execution.ask", "ana"), ("ticket.ask", "ana"), ("schedule.pause", "ana")]

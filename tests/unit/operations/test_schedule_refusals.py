"""What is refused, in words and before anything is written; and whose schedules somebody sees and changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from dure import wire
from dure.errors import BadRequest, Conflict, DureError, NotAllowed, NotFound, Unsupported
from dure.wire.ids import new_id
from dure_hub.backends.embedded import gaps
from dure_hub.operations.errors import BadLifetime, NoSuchProfile, OverBudget
from dure_hub.operations.jobs import SnapshotMissing
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
from dure_hub.settings import Settings
from dure_hub.store.models import Budget, Event, Execution, Lease, Schedule, Ticket
from tests.support.schedules import ANA, BEN, ROOT, ask, data, over, pass_time, run, shop, states
from tests.support.workshop import Workshop

__all__ = ["data", "shop"]


async def test_without_papermill_nothing_is_scheduled_and_it_is_said_why(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    shop.executions.unsupported = gaps.without_papermill()
    with pytest.raises(Unsupported) as caught:
        await shop.schedules.create(ANA, await ask(shop))
    assert "papermill, which is not installed" in caught.value.text("en")
    assert "papermill이 설치되어 있지 않습니다" in caught.value.text("ko")


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


async def test_todays_budget_is_met_when_it_fires_and_not_when_it_is_made(shop: Workshop, data: Settings) -> None:
    rates = "[{gpu: cpu, rate: 100, since: 2020-01-01}]"
    await asyncio.to_thread(data.folder.rates.write_text, rates)
    ana = replace(ANA, teams=frozenset({"red"}))
    with shop.store.transaction() as session:
        budget = {"kind": "team", "name": "red", "amount": 1, "set_by": "root", "set_at": datetime.now(UTC)}
        session.add(Budget(**budget))
    made = await shop.schedules.create(ana, await ask(shop))
    assert made.name == "nightly"
    with pytest.raises(OverBudget):
        await shop.schedules.run_now(ana, "nightly", wire.RunRequest(id=new_id()))
    pass_time(data, 60)
    await shop.schedules.firing.fire()
    execution = await shop.schedules.execution(ana, "nightly", 1)
    assert execution.state == "failed"
    assert "red" in str(execution.reason)

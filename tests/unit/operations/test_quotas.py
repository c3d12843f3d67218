"""Quotas: what is set and used, and the warning before one is used up."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from dure import wire
from dure.errors import NotAllowed
from dure_hub.operations import quotas as module
from dure_hub.operations.counters import Counters
from dure_hub.operations.money_errors import TooManyRows
from dure_hub.operations.people import Person
from dure_hub.operations.quotas import Quotas
from dure_hub.operations.standing import Standing, standing
from dure_hub.policies.classes import INTERACTIVE
from dure_hub.policies.quota import Quota, Use
from dure_hub.store.models import Event, Lease
from tests.support.money import START, Books

ANN = Person("ann", teams=frozenset({"red"}))
ROOT = Person("root", admin=True)


@pytest.fixture
def quotas(books: Books) -> Quotas:
    return Quotas(books.store, books.clock)


async def put(quotas: Quotas, kind: str, name: str, **limits: int) -> wire.Quota | None:
    return await quotas.put(ROOT, wire.QuotaRequest(kind=kind, name=name, **limits))


def told(books: Books) -> list[tuple[str, str, int]]:
    with books.store.reading() as session:
        rows = session.scalars(select(Event).where(Event.verb == "quota.near").order_by(Event.id)).all()
    return [(row.object, row.verdict["facts"]["limit"], row.verdict["facts"]["percent"]) for row in rows]


async def test_all_four_limits_are_shown_with_what_is_used(books: Books, quotas: Quotas) -> None:
    books.lease(235, None, team="red", gpus=125)
    counters = Counters(books.store, books.clock)
    for _ in range(3):
        await counters.call(ANN)
    assert (await counters.upload(ANN).take(3 << 19)).allowed
    await counters.flush()
    await put(quotas, "team", "red", gpus=4, gpu_hours_month=100, api_calls_day=10, upload_mb_month=100)
    own, team = await quotas.list(ANN)
    assert (own.kind, own.name, own.gpus, own.set_by) == ("user", "ann", None, None)
    for one in (own, team):
        assert (one.used_gpus, one.used_gpu_hours, one.used_api_calls, one.used_upload_mb) == (
            0.125,
            0.625,
            3,
            1.5,
        )
    assert (team.gpus, team.gpu_hours_month, team.api_calls_day, team.upload_mb_month) == (4, 100, 10, 100)


async def test_administrators_see_every_quota_that_is_set(books: Books, quotas: Quotas) -> None:
    await put(quotas, "team", "red", gpus=1)
    await put(quotas, "user", "*", gpus=1)
    assert [(one.kind, one.name) for one in await quotas.list(ROOT)] == [
        ("user", "root"),
        ("team", "red"),
        ("user", "*"),
    ]
    assert [(one.name, one.gpus) for one in await quotas.list(ANN)] == [("ann", 1), ("red", 1)]


async def test_a_quota_is_set_whole_and_taken_away_by_naming_no_limit(books: Books, quotas: Quotas) -> None:
    with pytest.raises(NotAllowed):
        await quotas.put(ANN, wire.QuotaRequest(kind="user", name="ann", gpus=9))
    await put(quotas, "user", "ann", gpus=1, api_calls_day=5)
    changed = await put(quotas, "user", "ann", gpus=2)
    assert changed is not None
    assert (changed.gpus, changed.api_calls_day, changed.set_by) == (2, None, "root")
    assert await put(quotas, "user", "ann") is None
    assert await put(quotas, "user", "ann") is None
    with books.store.reading() as session:
        events = session.scalars(select(Event).order_by(Event.id)).all()
    assert [event.verb for event in events] == ["quota.set", "quota.set", "quota.remove"]
    assert events[1].verdict["facts"]["before"]["api_calls_day"] == 5


async def test_there_are_only_so_many(quotas: Quotas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 1)
    await put(quotas, "user", "ann", gpus=1)
    await put(quotas, "user", "ann", gpus=2)
    with pytest.raises(TooManyRows):
        await put(quotas, "user", "bob", gpus=1)


async def test_eighty_percent_is_told_once_in_its_period_and_a_hundred_again(books: Books, quotas: Quotas) -> None:
    await put(quotas, "team", "red", api_calls_day=10)
    counters = Counters(books.store, books.clock)
    seen: list[list[int]] = []
    for calls in (7, 1, 1, 1):
        for _ in range(calls):
            await counters.call(ANN)
        await counters.flush()
        before = len(told(books))
        for _ in range(2):
            await quotas.watch()
        seen.append([percent for _, _, percent in told(books)[before:]])
    assert seen == [[], [80], [], [100]]
    assert told(books)[0] == ("quota:team/red", "api_calls_day", 80)
    books.clock.move(86400)
    for _ in range(8):
        await counters.call(ANN)
    await counters.flush()
    await quotas.watch()
    assert [percent for _, _, percent in told(books)] == [80, 100, 80]


async def test_who_has_that_of_everybody_is_told_of_by_name(books: Books, quotas: Quotas) -> None:
    await put(quotas, "user", "*", gpus=1, gpu_hours_month=5)
    books.lease(236, None)
    await quotas.watch()
    assert set(told(books)) == {("quota:user/ann", "gpus", 100), ("quota:user/ann", "gpu_hours_month", 80)}


async def test_a_start_is_checked_in_the_transaction_that_decides(books: Books, quotas: Quotas) -> None:
    await put(quotas, "team", "red", gpus=1)
    books.lease(239, None, team="red", gpus=500, granted_at=START)

    def ask(**more: Any) -> Any:
        given = {"owner": "ann", "team": "red", "gpus": 500, "queue_class": 2, "now": books.clock(), **more}
        with books.store.transaction() as session:
            found = standing(session, given.pop("now"), borrowing=True)
            return found.judge(given["owner"], given["team"], given["gpus"], given["queue_class"])

    assert ask().code == "within_quota"
    assert (ask(gpus=501).code, ask(gpus=501).facts["waits"]) == ("quota_gpus", True)
    assert ask(gpus=1001).facts["waits"] is False
    assert ask(gpus=501, queue_class=3).code == "beyond_quota"
    assert ask(gpus=501, team=None).code == "within_quota"


async def calls(books: Books, number: int, *people: Person) -> None:
    counters = Counters(books.store, books.clock)
    for person in people:
        for _ in range(number):
            await counters.call(person)
    await counters.flush()


@pytest.mark.parametrize("name", ["red", "*"])
async def test_a_limit_that_was_raised_is_told_of_again(books: Books, quotas: Quotas, name: str) -> None:
    async def percents() -> list[int]:
        await quotas.watch()
        return sorted(percent for _, _, percent in told(books))

    await put(quotas, "team", name, api_calls_day=10)
    await calls(books, 10, ANN)
    assert await percents() == [100]
    await put(quotas, "team", name, api_calls_day=12)
    assert await percents() == [100], "eighty is crossed at the new one too, and was told of"
    await put(quotas, "team", name, api_calls_day=100)
    assert await percents() == [100]
    await calls(books, 70, ANN)
    assert await percents() == [80, 100]
    await put(quotas, "team", name)
    await put(quotas, "team", name, api_calls_day=80)
    assert await percents() == [80, 100, 100]


async def test_the_quota_of_everybody_leaves_those_of_others_told(books: Books, quotas: Quotas) -> None:
    await put(quotas, "team", "red", api_calls_day=10)
    await calls(books, 8, ANN)
    await quotas.watch()
    await put(quotas, "team", "*", api_calls_day=1000)
    await put(quotas, "user", "red", api_calls_day=1000)
    await quotas.watch()
    assert told(books) == [("quota:team/red", "api_calls_day", 80)]


async def test_what_has_not_changed_is_not_told_of_again(books: Books, quotas: Quotas) -> None:
    held = books.lease(239, None, team="red", gpus=4000)
    await put(quotas, "team", "red", gpus=5)
    await quotas.watch()
    with books.store.transaction() as session:
        session.get_one(Lease, held).ended_at = books.clock()
    await put(quotas, "team", "red", gpus=5, api_calls_day=1000)
    books.lease(239, None, team="red", gpus=4000)
    await quotas.watch()
    assert told(books) == [("quota:team/red", "gpus", 80)]


def test_of_two_limits_in_the_way_the_one_that_lasts_longer_is_told() -> None:
    now = datetime(2026, 1, 15, tzinfo=UTC)
    seen = Standing(now, borrowing=True)
    seen.quotas = {("user", "ana"): Quota(gpus=1), ("team", "vision"): Quota(gpu_hours_month=1)}
    seen.use = {("user", "ana"): Use(gpus=1000), ("team", "vision"): Use(gpu_us=3600 * 10**6)}
    assert seen.judge("ana", "vision", 1000, INTERACTIVE).code == "quota_gpu_hours"
    seen.use["team", "vision"] = Use()
    assert seen.judge("ana", "vision", 1000, INTERACTIVE).code == "quota_gpus"

"""Calls and uploads: counted in memory, kept across restarts but for the last seconds, refused at the quota."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from dure_hub.operations.counters import Counters, Key
from dure_hub.operations.people import Person
from dure_hub.store.models import Counter, Quota
from tests.support.money import Books

ANN, BOB = Person("ann", teams=frozenset({"red"})), Person("bob", teams=frozenset({"red"}))
DAY, MONTH = "2026-01-11", "2026-01"


def counters(books: Books) -> Counters:
    return Counters(books.store, books.clock)


def quota(books: Books, kind: str, name: str, **limits: int) -> None:
    with books.store.transaction() as session:
        session.merge(Quota(kind=kind, name=name, set_by="root", set_at=books.clock(), **limits))


def written(books: Books) -> dict[Key, int]:
    with books.store.reading() as session:
        rows = session.scalars(select(Counter)).all()
    return {Key(row.kind, row.subject, row.what, row.period): row.value for row in rows}


async def test_calls_are_summed_by_day_for_the_person_and_each_of_their_teams(books: Books) -> None:
    ours = counters(books)
    for person in (ANN, ANN, BOB, Person("eve", teams=frozenset("ab"))):
        assert (await ours.call(person)).allowed
    assert (await ours.upload(ANN).take(3 << 20)).allowed
    assert written(books) == {}
    await ours.flush()
    assert written(books) == {
        Key("user", "ann", "api_calls", DAY): 2,
        Key("user", "bob", "api_calls", DAY): 1,
        Key("user", "eve", "api_calls", DAY): 1,
        Key("team", "a", "api_calls", DAY): 1,
        Key("team", "b", "api_calls", DAY): 1,
        Key("team", "red", "api_calls", DAY): 3,
        Key("user", "ann", "upload_bytes", MONTH): 3 << 20,
        Key("team", "red", "upload_bytes", MONTH): 3 << 20,
    }


async def test_the_call_after_the_last_is_refused_also_by_the_next_process(books: Books) -> None:
    quota(books, "user", "ann", api_calls_day=3)
    first = counters(books)
    assert [(await first.call(ANN)).allowed for _ in range(4)] == [True, True, True, False]
    await first.flush()
    assert not (await first.call(ANN)).allowed
    refused = await counters(books).call(ANN)
    assert (refused.code, refused.facts["limit"], refused.facts["used"]) == ("quota_api_calls", 3, 3)
    assert written(books)[Key("user", "ann", "api_calls", DAY)] == 3
    books.clock.move(86400)
    assert (await first.call(ANN)).allowed


async def test_a_team_has_one_quota_together(books: Books) -> None:
    quota(books, "team", "red", api_calls_day=2)
    ours = counters(books)
    assert [(await ours.call(person)).allowed for person in (ANN, BOB, ANN)] == [True, True, False]
    refused = await ours.call(BOB)
    assert (refused.facts["kind"], refused.facts["name"]) == ("team", "red")


async def test_who_has_no_quota_of_their_own_has_that_of_anybody(books: Books) -> None:
    quota(books, "user", "*", api_calls_day=1)
    quota(books, "user", "bob", gpus=1)
    ours = counters(books)
    assert [(await ours.call(ANN)).allowed for _ in range(2)] == [True, False]
    assert [(await ours.call(BOB)).allowed for _ in range(2)] == [True, True]


async def test_who_is_in_several_teams_evades_the_limit_of_none(books: Books) -> None:
    quota(books, "team", "b", api_calls_day=1, upload_mb_month=1)
    ours, eve = counters(books), Person("eve", teams=frozenset("ab"))
    assert [(await ours.call(eve)).allowed for _ in range(2)] == [True, False]
    upload = ours.upload(eve)
    assert [(await upload.take(1 << 20)).allowed for _ in range(2)] == [True, False]
    await ours.flush()
    assert written(books)[Key("team", "a", "api_calls", DAY)] == 1, "what was refused counts nowhere"


async def test_an_administrators_calls_are_counted_also_beyond_the_limit(books: Books) -> None:
    quota(books, "user", "root", api_calls_day=1)
    ours = counters(books)
    assert [(await ours.call(Person("root", admin=True))).allowed for _ in range(3)] == [True, True, True]
    await ours.flush()
    assert written(books) == {Key("user", "root", "api_calls", DAY): 3}


async def test_an_upload_is_counted_piece_by_piece_up_to_the_quota(books: Books) -> None:
    quota(books, "user", "ann", upload_mb_month=10)
    ours = counters(books)
    upload = ours.upload(ANN)
    assert (await upload.take(4 << 20)).allowed
    assert (await upload.take(6 << 20)).allowed
    refused = await ours.upload(ANN).take(1)
    assert (refused.code, refused.facts["used"], refused.facts["limit"]) == ("quota_upload", 10, 10)
    assert (await ours.upload(ANN).take(0)).allowed
    await ours.flush()
    assert written(books)[Key("user", "ann", "upload_bytes", MONTH)] == 10 << 20


async def test_uploads_at_the_same_time_pass_no_quota_together(books: Books) -> None:
    quota(books, "team", "red", upload_mb_month=10)
    ours = counters(books)
    uploads = [ours.upload(person) for person in (ANN, BOB) * 4]
    taken = await asyncio.gather(*(one.take(3 << 20) for one in uploads))
    assert sum(verdict.allowed for verdict in taken) == 3


async def test_what_was_not_kept_is_given_back_also_after_a_flush_and_in_the_next_month(books: Books) -> None:
    quota(books, "user", "ann", upload_mb_month=10)
    ours = counters(books)
    kept, lost = ours.upload(ANN), ours.upload(ANN)
    await kept.take(2 << 20)
    await lost.take(3 << 20)
    await ours.flush()
    assert written(books)[Key("user", "ann", "upload_bytes", MONTH)] == 5 << 20
    books.clock.move(30 * 86400)
    await lost.take(4 << 20)
    for _ in range(2):
        lost.give_back()
    await ours.flush()
    assert written(books) == {
        Key("user", "ann", "upload_bytes", MONTH): 2 << 20,
        Key("team", "red", "upload_bytes", MONTH): 2 << 20,
        Key("user", "ann", "upload_bytes", "2026-02"): 0,
        Key("team", "red", "upload_bytes", "2026-02"): 0,
    }


async def test_processes_add_up_and_learn_of_each_other_by_a_flush(books: Books) -> None:
    quota(books, "team", "red", api_calls_day=10)
    one, two = counters(books), counters(books)
    for _ in range(4):
        await one.call(ANN)
        await two.call(BOB)
    await asyncio.gather(one.flush(), two.flush())
    await one.flush()
    assert [(await one.call(ANN)).allowed for _ in range(3)] == [True, True, False]


async def test_a_new_quota_counts_from_the_next_flush_on(books: Books) -> None:
    ours = counters(books)
    await ours.call(ANN)
    quota(books, "user", "ann", api_calls_day=1)
    assert (await ours.call(ANN)).allowed
    await ours.flush()
    assert not (await ours.call(ANN)).allowed


class Failing(Counters):
    """A store that fails as often as told."""

    failures = 1

    def break_store(self) -> None:
        run = self._store.run

        async def fail(work: Any) -> Any:
            if self.failures:
                self.failures -= 1
                raise OSError("disk full")
            return await run(work)

        self._store.run = fail  # type: ignore[method-assign]


async def test_what_could_not_be_written_is_written_next_time_once(books: Books) -> None:
    ours = Failing(books.store, books.clock)
    ours.break_store()
    await ours.call(ANN)
    with pytest.raises(OSError, match="disk full"):
        await ours.flush()
    await ours.call(ANN)
    await ours.close()
    assert written(books)[Key("user", "ann", "api_calls", DAY)] == 2


async def test_a_flush_that_is_cancelled_loses_nothing_and_counts_nothing_twice(books: Books) -> None:
    ours = counters(books)
    for steps in range(20):  # before it has begun, while a thread writes, and after
        await ours.call(ANN)
        flushing = asyncio.create_task(ours.flush())
        for _ in range(steps):
            await asyncio.sleep(0)
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)
    await ours.close()
    assert written(books)[Key("user", "ann", "api_calls", DAY)] == 20


async def test_a_call_during_a_flush_sees_what_is_being_written(books: Books) -> None:
    quota(books, "user", "ann", api_calls_day=5)
    ours = counters(books)
    allowed = 0
    for _ in range(5):
        allowed += (await ours.call(ANN)).allowed
    flushing = asyncio.create_task(ours.flush())
    while not flushing.done():
        allowed += (await ours.call(ANN)).allowed
        await asyncio.sleep(0)
    assert allowed == 5

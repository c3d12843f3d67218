"""What things cost, read from rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dure.errors import BadRequest
from dure_hub.operations.ledger import Ledger, held, used_in
from dure_hub.operations.people import Person
from dure_hub.store.models import Lease
from tests.support.money import GPU, H100, START, Books

ANN, BOB = Person("ann"), Person("bob", teams=frozenset({"red"}))
ROOT = Person("root", admin=True)


async def test_a_person_sees_their_own_and_their_teams_and_administrators_all(books: Books) -> None:
    books.lease(owner="ann")
    books.lease(owner="ann", team="red")
    books.lease(owner="eve", team="blue")
    ledger = Ledger(books.store, books.clock)
    assert [(line.key, line.cost) for line in (await ledger.costs(ANN)).lines] == [("ann", 2 * H100)]
    assert [(line.key, line.cost) for line in (await ledger.costs(BOB)).lines] == [("ann", H100)]
    found = await ledger.costs(ROOT)
    assert (found.total.cost, found.everyone) == (3 * H100, True)
    assert [(line.key, line.cost) for line in (await ledger.costs(ROOT, by="team")).lines] == [
        (None, H100),
        ("blue", H100),
        ("red", H100),
    ]


async def test_costs_are_of_this_month_up_to_now_where_no_time_is_named(books: Books) -> None:
    books.lease(-1, 2)
    books.lease(9.5 * 24, None)
    found = await Ledger(books.store, books.clock).costs(ANN)
    assert (found.start, found.end) == (START, START + timedelta(days=10))
    assert found.total.cost == H100 + 12 * H100
    seoul = await Ledger(books.store, books.clock).costs(ANN, zone="Asia/Seoul")
    assert (seoul.start, seoul.total.cost) == (START - timedelta(hours=9), 2 * H100 + 12 * H100)


async def test_idle_while_held_is_apart_and_unknown_is_null(books: Books) -> None:
    first, _ = (
        books.lease(0, 2),
        books.lease(0, 1, profile="cpu", rate=None, gpus=0, slices=[{**GPU, "device": "cpu"}]),
    )
    books.used(first, 0, busy=0.25)
    found = await Ledger(books.store, books.clock).costs(ANN, by="profile")
    gpu, cpu = found.lines
    assert (gpu.cost, gpu.busy_cost, gpu.idle_cost, gpu.unmeasured_cost) == (
        16_000_000,
        2_000_000,
        6_000_000,
        H100,
    )
    assert (gpu.gpu_hours, gpu.measured_hours, gpu.busy_hours) == (2, 1, 0.25)
    assert (cpu.cost, cpu.unpriced_hours, cpu.idle_cost, cpu.busy_hours, cpu.gpu_hours) == (0, 1, None, None, 0)


async def test_a_lease_on_anothers_slices_is_charged_once(books: Books) -> None:
    parent = books.lease(0, 2)
    books.lease(0, 1, parent=parent, purpose="training")
    found = await Ledger(books.store, books.clock).costs(ANN, by="purpose")
    assert [(line.key, line.cost) for line in found.lines] == [("notebook", 2 * H100)]


async def test_days_come_in_order_and_what_does_not_fit_is_summed(books: Books) -> None:
    books.lease(0, 72)
    ledger = Ledger(books.store, books.clock)
    found = await ledger.costs(ANN, by="day", limit=2)
    assert [line.key for line in found.lines] == ["2026-01-01", "2026-01-02"]
    assert found.others is not None
    assert found.others.cost == found.lines[0].cost == 24 * H100
    assert found.total.cost == 72 * H100


@pytest.mark.parametrize(
    ("start", "end", "zone", "field"),
    [
        (START, START, "UTC", "to"),
        (START, START - timedelta(1), "UTC", "to"),
        (START - timedelta(401), START, "UTC", "from"),
        (datetime(2026, 1, 1), None, "UTC", "from"),  # noqa: DTZ001 - what is tested
        (None, datetime(9999, 12, 31, 23, tzinfo=START.tzinfo), "UTC", "to"),
        (None, None, "Nowhere/Land", "zone"),
        (None, None, "../../etc/passwd", "zone"),
        (None, None, "", "zone"),
    ],
)
async def test_a_window_that_is_none_is_refused_in_words(
    books: Books, start: datetime | None, end: datetime | None, zone: str, field: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        await Ledger(books.store, books.clock).costs(ANN, start=start, end=end, zone=zone)
    assert caught.value.facts["field"] == field
    assert set(caught.value.facts["rule"]) == {"en", "ko"}


async def test_a_project_is_inside_its_team(books: Books) -> None:
    books.lease(owner="ann", team="red", project="digits")
    books.lease(owner="ann", team="blue", project="digits", hours=2)
    books.lease(owner="ann", project="digits", hours=3)
    found = await Ledger(books.store, books.clock).costs(ANN, by="project")
    assert [(line.key, line.hours) for line in found.lines] == [
        ("digits", 3),
        ("blue/digits", 2),
        ("red/digits", 1),
    ]


async def test_only_the_use_of_the_leases_asked_for_is_read(books: Books) -> None:
    mine = books.lease(0, 2)
    for _ in range(20):
        other = books.lease(0, 3, owner="eve")
        for hour in range(3):
            books.used(other, hour, busy=1.0)
    late = books.lease(48, 1)
    books.used(mine, 0, busy=0.5)
    books.used(late, 48, busy=0.5)
    with books.store.reading() as session:
        window = (START, START + timedelta(hours=24), books.clock(), Lease.owner == "ann")
        leases, rows = held(session, *window), session.execute(used_in(*window)).all()
    assert [(one.lease, len(one.seen)) for one in leases] == [(mine, 1)]
    assert [row[0] for row in rows] == [mine]


async def test_the_use_of_a_lease_comes_in_order(books: Books) -> None:
    lease = books.lease(0, 5)
    for hour in (3, 0, 4, 1):
        books.used(lease, hour, busy=0.5)
    with books.store.reading() as session:
        (one,) = held(session, START, START + timedelta(hours=24), books.clock())
    assert [seen.hour for seen in one.seen] == [START + timedelta(hours=hour) for hour in (0, 1, 3, 4)]


async def test_an_end_alone_begins_at_the_month_of_the_last_moment_before_it(books: Books) -> None:
    books.lease(-31 * 24, 62 * 24)
    ledger = Ledger(books.store, books.clock)
    whole = await ledger.costs(ANN, end=START)
    assert (whole.start, whole.end) == (datetime(2025, 12, 1, tzinfo=UTC), START)
    assert whole.total.cost == 31 * 24 * H100
    seoul = await ledger.costs(ANN, end=START - timedelta(hours=9), zone="Asia/Seoul")
    assert (seoul.start, seoul.total.hours) == (START - timedelta(days=31, hours=9), 31 * 24 - 9)
    day = await ledger.costs(ANN, end=START + timedelta(days=1))
    assert day.start == START
    ahead = await ledger.costs(ANN, end=START + timedelta(days=70))
    assert (ahead.start, ahead.total.hours) == (START, 240), "what is to come costs nothing yet"
    books.clock.now = START
    assert (await ledger.costs(ANN)).start == START

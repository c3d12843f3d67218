"""What is used of what is held, as looks and as rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import select

from dure_hub.backends.base import Inventory, Measures, OwnUse, Reading, Usage
from dure_hub.operations.ledger import Ledger
from dure_hub.operations.people import Person
from dure_hub.operations.usage import KEPT, Sample, Uses, sample_of
from dure_hub.store.models import Counter, Lease, UsageHour
from tests.support.money import GPU, H100, START, Books
from tests.support.world import FixedInventory

MINUTE_US = 60_000_000
CPU = {"device": "cpu", "cpu_cores": 0.5, "memory_mb": 2048}


def place(busy: float | None, memory_mb: int | None = None) -> FixedInventory:
    found = FixedInventory(Inventory(cpu_cores=8, memory_mb=65536))
    found.measures = Measures({"GPU-0": Reading(memory_mb, busy)})
    return found


def rows(books: Books) -> Sequence[UsageHour]:
    with books.store.reading() as session:
        return session.scalars(select(UsageHour).order_by(UsageHour.hour)).all()


async def test_a_look_stands_for_the_time_since_the_last_one(books: Books) -> None:
    books.lease(239, None)
    inventory = place(0.25, 4000)
    uses = Uses(books.store, books.clock, inventory)
    for busy, memory in ((0.25, 4000), (0.25, 4000), (0.75, 9000)):
        inventory.measures = Measures({"GPU-0": Reading(memory, busy)})
        await uses.look()
        books.clock.move(60)
    (row,) = rows(books)
    assert (row.seen_us, row.known_us, row.busy_us) == (2 * MINUTE_US, 2 * MINUTE_US, MINUTE_US)
    assert (row.memory_max_mb, row.memory_sum_mb, row.memory_samples, row.samples) == (9000, 13000, 2, 2)


async def test_what_the_driver_does_not_say_is_seen_and_unknown(books: Books) -> None:
    books.lease(239, None)
    uses = Uses(books.store, books.clock, place(None))
    await uses.look()
    books.clock.move(60)
    await uses.look()
    (row,) = rows(books)
    assert (row.seen_us, row.known_us, row.busy_us, row.memory_max_mb) == (MINUTE_US, 0, 0, None)


async def test_time_in_which_nobody_looked_is_not_seen(books: Books) -> None:
    books.lease(239, None)
    uses = Uses(books.store, books.clock, place(0.0))
    await uses.look()
    books.clock.move(3600)  # the portal was down
    await uses.look()
    books.clock.move(-7200)  # the clock was set back
    await uses.look()
    assert rows(books) == []
    books.clock.move(60)
    await uses.look()
    assert [row.seen_us for row in rows(books)] == [MINUTE_US]


async def test_two_who_look_count_no_time_twice(books: Books) -> None:
    books.lease(239, None)
    one, two = (Uses(books.store, books.clock, place(1.0)) for _ in range(2))
    for _ in range(4):
        await one.look()
        books.clock.move(20)
        await two.look()
        books.clock.move(10)
    assert sum(row.seen_us for row in rows(books)) == 110_000_000


async def test_a_look_is_split_at_the_hour_and_begins_with_the_lease(books: Books) -> None:
    books.clock.now = START + timedelta(hours=1, seconds=-40)
    uses = Uses(books.store, books.clock, place(1.0))
    await uses.look()
    books.lease(1 - 10 / 3600, None)
    books.clock.move(60)
    await uses.look()
    assert [(row.hour, row.seen_us) for row in rows(books)] == [
        (START, 10_000_000),
        (START + timedelta(hours=1), 20_000_000),
    ]


async def test_what_was_seen_is_money_held_idle(books: Books) -> None:
    books.lease(239, None)
    books.clock.now = START + timedelta(hours=239)
    uses = Uses(books.store, books.clock, place(0.5))
    for _ in range(61):
        await uses.look()
        books.clock.move(60)
    books.clock.move(-60)
    line = (await Ledger(books.store, books.clock).costs(Person("ann"))).total
    assert (line.cost, line.busy_cost, line.idle_cost) == (H100, H100 / 2, H100 / 2)


async def test_a_lease_on_anothers_slices_is_not_measured_again(books: Books) -> None:
    parent = books.lease(239, None)
    books.lease(239, None, parent=parent)
    uses = Uses(books.store, books.clock, place(1.0))
    await uses.look()
    books.clock.move(60)
    await uses.look()
    assert [row.lease_id for row in rows(books)] == [parent]


async def test_what_is_older_than_any_window_is_forgotten(books: Books) -> None:
    lease = books.lease(239, None)
    old, kept = books.clock() - KEPT - timedelta(hours=2), books.clock() - KEPT + timedelta(hours=2)
    with books.store.transaction() as session:
        for hour in (old, kept):
            session.add(UsageHour(lease_id=lease, hour=hour, samples=1, memory_samples=0))
        for period in ("2024-01-01", "2026-01"):
            session.add(Counter(kind="user", subject="ann", what="api_calls", period=period, value=1))
    uses = Uses(books.store, books.clock, place(1.0))
    books.clock.move(-30)
    await uses.look()
    books.clock.move(60)
    await uses.look()
    assert [row.hour for row in rows(books) if row.seen_us == 0] == [kept]
    with books.store.reading() as session:
        assert set(session.scalars(select(Counter.period))) == {"", "2026-01"}
        assert session.get(Lease, lease) is not None


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ([GPU], Sample(0.5, 100)),
        ([GPU, {**GPU, "device": "GPU-1"}], Sample(0.75, 300)),
        ([GPU, {**GPU, "device": "GPU-2"}], Sample(None, None)),
        ([{**GPU, "share": 250}], Sample(None, None)),
        ([{**GPU, "mig": "1g.10gb", "start": 0, "visible": "MIG-a"}], Sample(0.125, 7)),
        ([{**GPU, "mig": "1g.10gb", "start": 0, "visible": None}], Sample(None, None)),
        ([CPU], Sample(0.5, 300)),
        ([{**CPU, "cpu_cores": 0.1}], Sample(1.0, 300)),
        ([{**CPU, "cpu_cores": 0}], Sample(None, 300)),
    ],
)
def test_what_one_look_says_of_a_lease(slices: list[dict[str, object]], expected: Sample) -> None:
    devices = {"GPU-0": Reading(100, 0.5), "GPU-1": Reading(300, 1.0), "GPU-2": Reading(None, None)}
    measures = Measures(devices, {"l": Usage(0.25, 300)}, instances={"MIG-a": Reading(7, 0.125)})
    assert sample_of(slices, "l", measures) == expected


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, Sample(None, None)),
        ({"l": OwnUse(40, 0.125)}, Sample(0.5, 40)),  # an eighth of the GPU is half of a quarter
        ({"l": OwnUse(40, 0.75)}, Sample(1.0, 40)),  # nobody else wanted the rest
        ({"l": OwnUse(40, None), "other": OwnUse(10, 0.9)}, Sample(None, 40)),
    ],
)
def test_a_share_is_as_busy_as_its_own_processes_keep_it(own: dict[str, OwnUse], expected: Sample) -> None:
    measures = Measures({"GPU-0": Reading(100, 1.0)}, {}, own={"GPU-0": own})
    assert sample_of([{**GPU, "share": 250}], "l", measures) == expected


def test_what_runs_on_a_share_of_a_gpu_keeps_it_busy_too() -> None:
    own = {"l": OwnUse(40, 0.0), "job": OwnUse(20, 0.25)}
    measures = Measures({"GPU-0": Reading(100, 1.0)}, {}, own={"GPU-0": own})
    assert sample_of([{**GPU, "share": 500}], "l", measures, ["job"]) == Sample(0.5, 60)
    assert sample_of([{**GPU, "share": 500}], "l", measures, ["job", "unseen"]) == Sample(None, None)


async def test_what_runs_on_a_servers_slice_keeps_it_busy(books: Books) -> None:
    server = books.lease(239, None, slices=[CPU], gpus=0)
    jobs = [books.lease(239, None, parent=server, slices=[CPU], gpus=0, purpose="training") for _ in range(2)]
    books.lease(238, 1, parent=server, slices=[CPU], gpus=0)
    other = books.lease(239, None, slices=[CPU], gpus=0)
    inventory = place(None)
    uses = Uses(books.store, books.clock, inventory)
    use = {server: Usage(0.0, 100), jobs[0]: Usage(0.125, 200), jobs[1]: Usage(0.25, 50), other: Usage(0.0, 10)}
    inventory.measures = Measures({}, use)
    await uses.look()
    books.clock.move(60)
    await uses.look()
    found = {row.lease_id: (row.known_us, row.busy_us, row.memory_max_mb) for row in rows(books)}
    assert found == {server: (MINUTE_US, MINUTE_US * 3 // 4, 350), other: (MINUTE_US, 0, 10)}
    inventory.measures = Measures({}, {**use, jobs[1]: Usage(None, None)})
    books.clock.move(60)
    await uses.look()
    found = {row.lease_id: (row.known_us, row.busy_us, row.memory_max_mb) for row in rows(books)}
    assert found[server] == (MINUTE_US, MINUTE_US * 3 // 4, 350), "of what is unknown nothing is added"

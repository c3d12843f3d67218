"""The line is one for everybody who looks, and read once where nothing changes."""

from __future__ import annotations

import pytest

from dure.wire.ids import new_id
from dure_hub.backends.base import Inventory
from dure_hub.operations import admission, line, ticket_rows
from dure_hub.operations.admission import TRAINING
from dure_hub.operations.people import USE, Person
from dure_hub.operations.profiles import Fleet
from dure_hub.operations.queues import Queues
from dure_hub.store.models import Lease, Quota, Ticket
from tests.support.world import World, gpus

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)
ROOT = Person("root", admin=True, scopes=frozenset({USE}))


@pytest.fixture
async def fleet(world: World) -> Fleet:
    """One GPU; ann may have one at once, and nobody else is bound."""
    world.place.inventory = Inventory(cpu_cores=8, memory_mb=32768, devices=gpus(1))
    with world.store.transaction() as session:
        session.add(Quota(kind="user", name="ann", gpus=1, set_by="root", set_at=world.clock()))
    return await world.profiles.fleet()


def ask(world: World, fleet: Fleet, owner: str, minutes: int = 0) -> Lease | Ticket:
    world.clock.move(60 * minutes)
    with world.store.transaction() as session:
        return admission.admit(
            session,
            ticket_id=new_id(),
            owner=owner,
            purpose=TRAINING,
            subject=new_id(),
            profile="gpu-full",
            lifetime_s=3600,
            now=world.clock(),
            fleet=fleet,
        )


async def test_the_same_place_is_told_everywhere(world: World, fleet: Fleet) -> None:
    assert isinstance(ask(world, fleet, "ann"), Lease)
    waiting = [ask(world, fleet, owner, 1) for owner in ("ann", "ben", "cho")]  # ann waits for her quota
    queue = await Queues(world.store, world.clock, world.profiles).list(ROOT)
    with world.store.reading() as session:
        tickets = [session.get_one(Ticket, one.id) for one in waiting]
        shown = [ticket_rows.ticket_on_wire(session, one, fleet, world.clock()) for one in tickets]
        assert tickets[0].verdict["code"] == "quota_gpus"
    places = {one.id: one.position for one in shown}
    assert sorted(places.values(), key=str) == [1, 2, 3]
    assert {one.ticket: one.position for one in queue} == places
    assert [one.position for one in queue] == [1, 2, 3], "in the order in which they are served"


async def test_what_is_seen_twice_is_read_once_until_something_is_written(world: World, fleet: Fleet) -> None:
    ask(world, fleet, "ann")
    now = world.clock()
    with world.store.transaction() as session:
        first = line.seen(session, fleet, now)
        assert line.seen(session, fleet, now) is first
        lease = session.get_one(Lease, first.held[0].lease)
        lease.until = now
        after = line.seen(session, fleet, now)
        assert after is not first
        assert after.held[0].until == now
    with world.store.reading() as session:
        assert line.seen(session, fleet, now) is not after, "each transaction has its own"

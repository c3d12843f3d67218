"""Who gets a slice: one decision, one transaction, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from dure.errors import Conflict
from dure.wire.ids import new_id
from dure_hub.backends.base import Inventory
from dure_hub.operations import admission, ticket_rows
from dure_hub.operations.admission import NOTEBOOK, TRAINING
from dure_hub.operations.errors import NeverFits, NoSuchProfile
from dure_hub.operations.profiles import Fleet, active_slices, fleet_of
from dure_hub.policies import promises
from dure_hub.store.models import Event, Lease, Ticket, Token
from tests.support.postgres import database as database
from tests.support.postgres import postgres as postgres
from tests.support.world import World, gpus


@pytest.fixture
async def world(tmp_path: Path, database: str) -> AsyncIterator[World]:
    """Room for four holders of `cpu` in cores, two in memory."""
    made = World(tmp_path, database_url=database)
    yield made
    await made.close()


def ask(world: World, session: Session, fleet: Fleet, **more: Any) -> Lease | Ticket:
    given = {"ticket_id": new_id(), "owner": "ann", "purpose": NOTEBOOK, "subject": "s", "profile": "cpu"}
    return admission.admit(session, **{"lifetime_s": 3600, "now": world.clock(), "fleet": fleet, **given, **more})


async def test_with_room_there_is_a_lease_and_without_a_ticket(world: World) -> None:
    fleet = await world.profiles.fleet()
    with world.store.transaction() as session:
        got = [ask(world, session, fleet, owner=owner) for owner in ("ann", "ann", "ben")]
    assert [type(one) for one in got] == [Lease, Lease, Ticket]
    lease, _, ticket = got
    assert isinstance(lease, Lease)
    assert isinstance(ticket, Ticket)
    assert lease.until == world.clock() + timedelta(hours=1)
    assert lease.slices == [{"device": "cpu", "cpu_cores": 0.5, "memory_mb": 2048}]
    assert ticket.verdict["code"] == "no_memory_free"
    with world.store.reading() as session:
        shown = ticket_rows.ticket_on_wire(session, ticket, fleet, world.clock())
        verbs = session.scalars(select(Event.verb).order_by(Event.id)).all()
    promised = promises.latest(lease.until, world.clock())
    assert (shown.position, shown.expected_start, shown.next_best) == (1, promised, None)
    assert sorted(verbs) == ["lease.grant", "lease.grant", "ticket.ask", "ticket.ask", "ticket.ask"]


async def test_the_same_id_is_one_request(world: World) -> None:
    fleet = await world.profiles.fleet()
    key = new_id()
    with world.store.transaction() as session:
        first = ask(world, session, fleet, ticket_id=key)
    with world.store.transaction() as session:
        again = ask(world, session, fleet, ticket_id=key)
        assert again.id == first.id
        assert len(active_slices(session)) == 1
        with pytest.raises(Conflict):
            ask(world, session, fleet, ticket_id=key, owner="ben")


async def test_what_is_not_offered_or_never_fits_leaves_no_row(world: World) -> None:
    fleet = await world.profiles.fleet()
    tiny = fleet_of(Inventory(cpu_cores=1, memory_mb=100), world.settings)
    with pytest.raises(NoSuchProfile), world.store.transaction() as session:
        ask(world, session, fleet, profile="gpu-full")
    with pytest.raises(NeverFits), world.store.transaction() as session:
        ask(world, session, tiny)
    with world.store.reading() as session:
        assert session.scalar(select(func.count()).select_from(Ticket)) == 0


async def test_a_freed_slice_goes_to_who_waits_longest_and_not_to_who_asks_now(world: World) -> None:
    fleet = await world.profiles.fleet()
    with world.store.transaction() as session:
        first = ask(world, session, fleet)
        ask(world, session, fleet)
        waits = ask(world, session, fleet, owner="ben")
        world.clock.move(1)
        admission.end_lease(session, first.id, "asked", world.clock())
        late = ask(world, session, fleet, owner="cho")
        assert isinstance(late, Ticket)
        assert late.verdict["code"] == "others_wait_longer"
        granted = admission.grant_waiting(session, fleet, world.clock())
    assert [(ticket.id, lease.owner) for ticket, lease in granted] == [(waits.id, "ben")]
    assert isinstance(waits, Ticket)
    assert waits.state == "granted"


async def test_who_asks_before_the_queue_is_served_waits_behind_who_may_start(world: World) -> None:
    fleet = await world.profiles.fleet()
    with world.store.transaction() as session:
        held = [ask(world, session, fleet), ask(world, session, fleet)]
        waits = ask(world, session, fleet, owner="ben")
        world.clock.move(1)
        for lease in held:
            admission.end_lease(session, lease.id, "asked", world.clock())
        late = ask(world, session, fleet, owner="cho")
        assert isinstance(late, Ticket)
        assert late.verdict["code"] == "others_wait_longer"
        granted = admission.grant_waiting(session, fleet, world.clock())
    assert [ticket.id for ticket, _ in granted] == [waits.id, late.id]


async def test_who_waits_for_a_gpu_does_not_hold_up_who_needs_none(world: World) -> None:
    world.place.inventory = Inventory(cpu_cores=8, memory_mb=32768, devices=gpus(1))
    fleet = await world.profiles.fleet()
    with world.store.transaction() as session:
        held = ask(world, session, fleet, profile="gpu-full", purpose=TRAINING)
        waits = ask(world, session, fleet, profile="gpu-full")
        assert isinstance(ask(world, session, fleet), Lease)
    assert isinstance(held, Lease)
    assert isinstance(waits, Ticket)
    assert admission.devices(held) == ("GPU-NVIDIA H100-0",)
    with world.store.reading() as session:
        shown = ticket_rows.ticket_on_wire(session, waits, fleet, world.clock())
    promised = promises.latest(held.until, world.clock())
    assert (shown.next_best, shown.expected_start) == ("cpu", promised)


async def test_while_its_gpu_is_away_a_ticket_keeps_its_place(world: World) -> None:
    world.place.inventory = Inventory(cpu_cores=8, memory_mb=32768, devices=gpus(1))
    fleet = await world.profiles.fleet()
    with world.store.transaction() as session:
        ask(world, session, fleet, profile="gpu-full")
        waits = ask(world, session, fleet, profile="gpu-full")
        without = fleet_of(Inventory(cpu_cores=8, memory_mb=32768), world.settings)
        assert admission.grant_waiting(session, without, world.clock()) == []
        assert isinstance(waits, Ticket)
        assert ticket_rows.ticket_on_wire(session, waits, without, world.clock()).position is None, (
            "in nobody's way"
        )
        assert (waits.state, waits.verdict["code"]) == ("waiting", "profile_away")
        world.clock.move(60)
        ask(world, session, fleet, profile="gpu-full")
        assert ticket_rows.ticket_on_wire(session, waits, fleet, world.clock()).position == 1, (
            "it goes on as the first"
        )


async def test_a_lease_ends_once_keeps_the_first_reason_and_takes_its_tokens_along(world: World) -> None:
    fleet = await world.profiles.fleet()
    with world.store.transaction() as session:
        lease = ask(world, session, fleet)
        assert isinstance(lease, Lease)
        now = world.clock()
        session.add(
            Token(
                id=new_id(),
                digest="d",
                owner="ann",
                purpose="job",
                lease_id=lease.id,
                scopes={},
                made_at=now,
                expires_at=now + timedelta(days=1),
            )
        )
        assert admission.ask_end(session, lease, "expired", now)
        assert not admission.ask_end(session, lease, "asked", now)
        assert len(active_slices(session)) == 1  # it counts until nothing of it runs
        assert admission.end_lease(session, lease.id, "lost", now) is lease
        assert admission.end_lease(session, lease.id, "lost", now) is None
        assert lease.end_reason == "expired"
        assert active_slices(session) == []
    with world.store.reading() as session:
        assert session.scalars(select(Token)).one().revoked_at == now


async def test_a_cancelled_ticket_is_never_granted(world: World) -> None:
    fleet = await world.profiles.fleet()
    with world.store.transaction() as session:
        held = [ask(world, session, fleet) for _ in range(2)]
        waits = ask(world, session, fleet)
        assert admission.cancel(session, waits.id, "cancelled", world.clock(), "ann") is waits
        assert admission.cancel(session, waits.id, "cancelled", world.clock(), "ann") is None
        admission.end_lease(session, held[0].id, "asked", world.clock())
        assert admission.grant_waiting(session, fleet, world.clock()) == []

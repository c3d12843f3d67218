"""Endpoints that end: with the server whose slice they run on, or because somebody asked."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from dure.errors import NotFound
from dure.wire.ids import new_id
from dure_hub.backends.base import Phase
from dure_hub.backends.embedded import EmbeddedInventory
from dure_hub.operations import admission
from dure_hub.operations.own_server import NoOwnServer
from dure_hub.operations.profiles import Profiles
from dure_hub.store import system_clock
from dure_hub.store.models import Endpoint, Event, Lease, Replica, Rollout
from tests.support.workshop import Workshop
from tests.unit.operations.endpoints.kit import (
    ANA,
    deploying,
    leases_left,
    shares,
    trying,
    until_phase,
    until_state,
)

# httpcore 1.0 leaves the socket of a refused Unix connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)
ON_MINE = deploying().model_copy(update={"profile": "mine"})


async def server_of_ana(shop: Workshop) -> str:
    """The lease of a server of her own, as far as leases go; it is ended by hand."""
    clock = system_clock(shop.settings.folder.root / "clock")
    fleet = await Profiles(shop.settings, shop.store, clock, EmbeddedInventory(shop.settings)).fleet()
    with shop.store.transaction() as session:
        lease = admission.admit(
            session,
            ticket_id=new_id(),
            owner="ana",
            purpose=admission.NOTEBOOK,
            subject=new_id(),
            profile="cpu",
            lifetime_s=3600,
            now=clock(),
            fleet=fleet,
        )
        assert isinstance(lease, Lease)
        return lease.id


def end_server(shop: Workshop, lease_id: str) -> bool:
    """What the reconciler does once it sees the server gone; whether its lease has ended."""
    clock = system_clock(shop.settings.folder.root / "clock")
    with shop.store.transaction() as session:
        return admission.end_lease(session, lease_id, "exited", clock()) is not None


async def until_over(shop: Workshop) -> Endpoint:
    """Wait for the end of all that the endpoint had; its row."""

    async def look() -> Endpoint | None:
        with shop.store.reading() as session:
            left = session.scalars(select(Replica.id).where(Replica.phase != "gone")).all()
            row = session.scalars(select(Endpoint).order_by(Endpoint.created_at.desc())).first()
            return row if row is not None and row.ended_at is not None and not left else None

    found = await shop.until(look, "the endpoint is over")
    assert found is not None
    return found


async def test_on_one_s_own_server_it_serves_and_holds_nothing_itself(shop: Workshop) -> None:
    with pytest.raises(NoOwnServer):
        await shop.endpoints.deploy(ANA, ON_MINE)
    server = await server_of_ana(shop)
    await shop.endpoints.deploy(ANA, ON_MINE)
    ready = await until_state(shop, "ready")
    await shop.reconciler.look()
    assert (ready.profile, shares(shop)) == ("mine", {"1": 100})
    with shop.store.reading() as session:
        lease = session.scalars(select(Lease).where(Lease.purpose == admission.SERVING)).one()
        assert (lease.parent, lease.gpus, lease.rate, lease.until) == (server, 0, None, None)
        assert lease.slices == session.get_one(Lease, server).slices
    await shop.endpoints.delete(ANA, "numbers")
    await until_over(shop)
    assert await leases_left(shop) == 1, "the server goes on"


async def test_it_ends_with_the_server_says_why_and_leaves_nothing(shop: Workshop) -> None:
    server = await server_of_ana(shop)
    await shop.endpoints.deploy(ANA, ON_MINE)
    await until_state(shop, "ready")
    await shop.endpoints.canary(ANA, "numbers", trying(4))
    await until_phase(shop, "ready")
    assert not end_server(shop, server), "what still runs keeps its slice"
    over = await until_over(shop)
    assert (over.state, over.wanted, over.reason) == ("stopped", "stop", "parent_ended")
    assert end_server(shop, server)
    assert await leases_left(shop) == 0
    assert {one.phase for one in await shop.serving.seen()} <= {Phase.EXITED}, "nothing runs"
    assert shop.dataplane.read("endpoints").routes == ()
    with pytest.raises(NotFound):
        await shop.endpoints.get(ANA, "numbers")
    with shop.store.reading() as session:
        ended = session.scalars(select(Event).where(Event.verb == "endpoint.end")).one()
        assert (ended.actor, ended.on_behalf_of, ended.object) == ("dure", "ana", "endpoint:numbers")
        assert session.scalars(select(Rollout.state)).all() == ["rolled_back"]
    await shop.endpoints.deploy(ANA, deploying())
    await until_state(shop, "ready")


async def test_between_two_leases_it_ends_as_well_when_the_server_has_gone(shop: Workshop) -> None:
    server = await server_of_ana(shop)
    await shop.endpoints.deploy(ANA, ON_MINE)
    await until_state(shop, "ready")
    clock = system_clock(shop.settings.folder.root / "clock")
    with shop.store.transaction() as session:
        own = session.scalars(select(Lease).where(Lease.parent == server)).one()
        lost = admission.end_lease(session, own.id, "lost", clock())
        assert lost is not None
        shop.endpoints.subject.ended(session, lost, None)
    assert end_server(shop, server)
    over = await until_over(shop)
    assert (over.state, over.reason) == ("stopped", "parent_ended")
    with shop.store.reading() as session:
        asked = session.scalars(select(Event).where(Event.verb == "ticket.ask")).all()
    assert len(asked) == 2, "of what was refused nothing is kept"


async def test_with_its_endpoint_a_trial_is_over(shop: Workshop) -> None:
    await shop.endpoints.deploy(ANA, deploying())
    await until_state(shop, "ready")
    await shop.endpoints.canary(ANA, "numbers", trying(4))
    await shop.endpoints.delete(ANA, "numbers")
    with shop.store.reading() as session:
        assert session.scalars(select(Rollout.state)).all() == ["rolled_back"]
    assert (await until_over(shop)).reason == "asked"

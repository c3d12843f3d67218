"""Work on the slice of one's own server."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from dure.wire.ids import new_id
from dure_hub.backends.base import Inventory
from dure_hub.operations import admission
from dure_hub.operations.admission import NOTEBOOK, TRAINING
from dure_hub.operations.own_server import NoOwnServer
from dure_hub.operations.profiles import active_slices
from dure_hub.store.models import Lease, Ticket
from tests.support.world import World, gpus


async def ask(world: World, profile: str, purpose: str, owner: str = "ann") -> Lease | Ticket:
    fleet = await world.profiles.fleet()
    with world.store.transaction() as session:
        return admission.admit(
            session,
            ticket_id=new_id(),
            owner=owner,
            purpose=purpose,
            subject=new_id(),
            profile=profile,
            lifetime_s=3600,
            now=world.clock(),
            fleet=fleet,
        )


@pytest.fixture
def one_gpu(world: World) -> World:
    world.place.inventory = Inventory(cpu_cores=8, memory_mb=32768, devices=gpus(1))
    return world


async def test_a_job_runs_on_the_gpu_of_its_starter_s_server_and_counts_once(one_gpu: World) -> None:
    server = await ask(one_gpu, "gpu-full", NOTEBOOK)
    job = await ask(one_gpu, "mine", TRAINING)
    assert isinstance(server, Lease)
    assert isinstance(job, Lease), "it never waits"
    assert admission.devices(job) == admission.devices(server)
    assert (job.parent, job.gpus, job.rate, job.profile) == (server.id, 0, None, "gpu-full")
    with one_gpu.store.reading() as session:
        assert len(active_slices(session)) == 1


async def test_it_ends_with_the_server(one_gpu: World) -> None:
    server = await ask(one_gpu, "gpu-full", NOTEBOOK)
    job = await ask(one_gpu, "mine", TRAINING)
    with one_gpu.store.transaction() as session:
        assert admission.end_lease(session, server.id, "asked", one_gpu.clock()) is None, "its GPU is in use"
        assert session.get_one(Lease, job.id).end_reason == "parent_ended"
        assert len(active_slices(session)) == 1
        admission.end_lease(session, job.id, "exited", one_gpu.clock())
        ended = admission.end_lease(session, server.id, "exited", one_gpu.clock())
        assert ended is not None
        assert ended.end_reason == "asked"
        assert active_slices(session) == []


async def test_without_a_server_of_one_s_own_it_is_refused(one_gpu: World) -> None:
    await ask(one_gpu, "gpu-full", NOTEBOOK, owner="ben")
    with pytest.raises(NoOwnServer):
        await ask(one_gpu, "mine", TRAINING)
    with one_gpu.store.reading() as session:
        assert len(session.scalars(select(Ticket)).all()) == 1


async def test_who_waits_for_their_own_server_alone_is_told_so(one_gpu: World) -> None:
    await ask(one_gpu, "gpu-full", NOTEBOOK)
    waits = await ask(one_gpu, "gpu-full", TRAINING)
    assert isinstance(waits, Ticket)
    assert waits.verdict["code"] == "own_notebook_holds"
    second = await ask(one_gpu, "gpu-full", NOTEBOOK)
    assert isinstance(second, Ticket)
    assert second.verdict["code"] == "own_notebook_holds", "a second server waits for the first"
    other = await ask(one_gpu, "gpu-full", TRAINING, owner="ben")
    assert isinstance(other, Ticket)
    assert other.verdict["code"] == "no_gpu_free"

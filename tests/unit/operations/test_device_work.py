"""What becomes of jobs and model servers whose GPU has a fault, or is cleared."""

from __future__ import annotations

from typing import Any, cast

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from dure.wire.ids import new_id
from dure_hub.backends.base import Health
from dure_hub.operations import admission
from dure_hub.operations.closures import DRAINED, FAULTY
from dure_hub.operations.jobruns import JobRuns, attach
from dure_hub.operations.notes import sentence
from dure_hub.operations.serving import EndpointRuns
from dure_hub.store.models import Attempt, Endpoint, Job, Lease, Replica, Ticket
from tests.unit.operations.test_devices import FIRST, ROOT, Sickbay, xid
from tests.unit.operations.test_devices import bay as bay

GPU = {"device": FIRST, "cpu_cores": 1.0, "memory_mb": 1024}


def lease_of(bay: Sickbay, purpose: str, subject: str, **more: Any) -> Lease:
    row: dict[str, Any] = {"owner": "ann", "profile": "gpu-full", "slices": [GPU], "gpus": 1000, "rate": 1}
    return Lease(id=new_id(), purpose=purpose, subject=subject, granted_at=bay.clock(), **{**row, **more})


def job_of(bay: Sickbay, session: Session) -> Job:
    job = Job(
        id=new_id(),
        owner="ann",
        name="digits",
        profile="gpu-full",
        state="running",
        snapshot="0" * 64,
        entry="a.py",
        experiment="default",
        created_at=bay.clock(),
    )
    session.add(job)
    return job


@pytest.fixture
def jobs(bay: Sickbay) -> JobRuns:
    nothing = cast("Any", None)
    return JobRuns(bay.settings, bay.store, bay.clock, bay.profiles, nothing, nothing, nothing, nothing)


def run_on(bay: Sickbay, session: Session, job: Job, **more: Any) -> Lease:
    """Its next attempt, on a lease of its own."""
    lease = lease_of(bay, "training", job.id, **more)
    session.add(lease)
    session.flush()
    attach(session, job, lease, bay.clock())
    session.flush()
    return lease


async def broken(bay: Sickbay) -> None:
    """The GPU has a fault from now on."""
    await bay.devices.uncordon(ROOT, FIRST)
    bay.clock.move(1)
    bay.sick.sick = Health(events=[xid(79, bay.clock())])
    await bay.devices.look()


def end(bay: Sickbay, jobs: JobRuns, lease_id: str) -> None:
    """As the reconciler does once nothing of it runs."""
    with bay.store.transaction() as session:
        ended = admission.end_lease(session, lease_id, "lost", bay.clock())
        assert ended is not None
        jobs.ended(session, ended, None)


async def test_a_job_whose_gpu_fails_waits_for_another_once(bay: Sickbay, jobs: JobRuns) -> None:
    with bay.store.transaction() as session:
        job = job_of(bay, session)
        lease = run_on(bay, session, job)
    await broken(bay)
    with bay.store.reading() as session:
        assert session.get_one(Lease, lease.id).end_reason == FAULTY, "it is asked to end"
    end(bay, jobs, lease.id)
    with bay.store.transaction() as session:
        again = session.get_one(Job, job.id)
        assert (again.state, again.ended_at) == ("queued", None)
        assert "Its GPU has a fault" in (sentence(again.reason) or "")
        assert session.scalars(select(Ticket).where(Ticket.subject == job.id, Ticket.state == "waiting")).one()
        second = run_on(bay, session, again)
    await broken(bay)
    end(bay, jobs, second.id)
    with bay.store.reading() as session:
        over = session.get_one(Job, job.id)
        assert over.state == "failed"
        assert "not run again" in (sentence(over.reason) or "")
        assert [one.state for one in session.scalars(select(Attempt).order_by(Attempt.number))] == [
            "stopped",
            "failed",
        ]


async def test_a_job_on_the_slices_of_a_server_is_not_run_again(bay: Sickbay, jobs: JobRuns) -> None:
    with bay.store.transaction() as session:
        parent = lease_of(bay, "notebook", "s")
        session.add(parent)
        session.flush()
        job = job_of(bay, session)
        lease = run_on(bay, session, job, parent=parent.id)
    await broken(bay)
    end(bay, jobs, lease.id)
    with bay.store.reading() as session:
        assert session.get_one(Job, job.id).state == "failed"
        assert session.get_one(Lease, parent.id).end_reason is None, "the server goes on"


async def test_a_job_that_was_cleared_away_waits_again_however_often(bay: Sickbay, jobs: JobRuns) -> None:
    with bay.store.transaction() as session:
        job = job_of(bay, session)
    for _ in range(2):
        with bay.store.transaction() as session:
            lease = run_on(bay, session, session.get_one(Job, job.id))
            admission.ask_end(session, lease, DRAINED, bay.clock())
        end(bay, jobs, lease.id)
        with bay.store.reading() as session:
            assert session.get_one(Job, job.id).state == "queued"


async def test_a_model_server_asks_for_another_place(bay: Sickbay) -> None:
    nothing = cast("Any", None)
    serving = EndpointRuns(bay.settings, bay.store, bay.clock, bay.profiles, nothing, nothing, nothing)
    with bay.store.transaction() as session:
        endpoint = Endpoint(
            id=new_id(), name="e", owner="ann", model="m", profile="p", state="ready", created_at=bay.clock()
        )
        session.add(endpoint)
        session.flush()
        replica = Replica(
            id=new_id(),
            endpoint_id=endpoint.id,
            version=1,
            role="champion",
            percent=100,
            phase="ready",
            created_at=bay.clock(),
        )
        lease = lease_of(bay, "serving", replica.id)
        replica.lease_id = lease.id
        session.add_all([replica, lease])
    await broken(bay)
    with bay.store.transaction() as session:
        ended = admission.end_lease(session, lease.id, "lost", bay.clock())
        assert ended is not None
        assert ended.end_reason == FAULTY
        serving.ended(session, ended, None)
    with bay.store.reading() as session:
        moved = session.get_one(Replica, replica.id)
        assert (moved.phase, moved.lease_id) == ("crashed", None)
        assert "another" in (sentence(moved.reason) or "")

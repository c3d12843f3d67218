"""Room is taken back from who is beyond their quota, with notice; what gave way waits, and goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from dure import wire
from dure.wire.ids import new_id
from dure_hub.backends.base import Inventory
from dure_hub.backends.embedded import limits
from dure_hub.operations import admission, reclaim
from dure_hub.operations.admission import NOTEBOOK, TRAINING
from dure_hub.operations.errors import QuotaTooSmall
from dure_hub.operations.people import USE, Person
from dure_hub.operations.profiles import Fleet
from dure_hub.settings import Settings
from dure_hub.store.models import Event, Lease, Quota, Share, Ticket
from tests.support.workshop import Workshop, workshop, workshop_settings
from tests.support.world import World, gpus

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)
MINUTE, HOUR = 60, 3600


@pytest.fixture
async def fleet(world: World) -> Fleet:
    """Two GPUs, and two teams with a quota of one each."""
    world.place.inventory = Inventory(cpu_cores=8, memory_mb=32768, devices=gpus(2))
    with world.store.transaction() as session:
        for team in ("red", "blue"):
            session.add(quota(world, "team", team, 1))
    return await world.profiles.fleet()


def quota(world: World, kind: str, name: str, number: int) -> Quota:
    return Quota(kind=kind, name=name, gpus=number, set_by="admin", set_at=world.clock())


def ask(
    world: World,
    fleet: Fleet,
    team: str,
    purpose: str = TRAINING,
    owner: str = "",
    profile: str = "gpu-full",
) -> Lease | Ticket:
    with world.store.transaction() as session:
        return admission.admit(
            session,
            ticket_id=new_id(),
            owner=owner or f"{team}-ann",
            team=team,
            purpose=purpose,
            subject=new_id(),
            profile=profile,
            lifetime_s=8 * HOUR,
            now=world.clock(),
            fleet=fleet,
        )


def taken_back(world: World, fleet: Fleet) -> list[str]:
    with world.store.transaction() as session:
        decided = reclaim.reclaim(session, fleet, world.clock())
        return [one.verdict.code for one in decided]


def test_a_team_that_borrowed_gives_back_what_another_has_a_right_to(world: World, fleet: Fleet) -> None:
    assert isinstance(ask(world, fleet, "red"), Lease)
    world.clock.move(MINUTE)
    borrowed = ask(world, fleet, "red", owner="red-bob")
    assert isinstance(borrowed, Lease), "nobody needs it, so training may go beyond the quota"
    world.clock.move(10 * MINUTE)
    waits = ask(world, fleet, "blue")
    assert isinstance(waits, Ticket)
    assert taken_back(world, fleet) == ["too_new_to_reclaim"]
    world.clock.move(25 * MINUTE)
    assert taken_back(world, fleet) == ["reclaims"]
    assert taken_back(world, fleet) == ["room_is_coming"], "nobody else is asked for the same room"
    with world.store.transaction() as session:
        lease = session.get_one(Lease, borrowed.id)
        assert lease.end_reason == reclaim.RECLAIMED
        assert lease.until is not None
        assert lease.until <= world.clock() + timedelta(seconds=fleet.rules.notice_s)
        assert admission.grant_waiting(session, fleet, world.clock()) == [], "it still runs"
        admission.end_lease(session, lease.id, "exited", world.clock())
        [(ticket, _)] = admission.grant_waiting(session, fleet, world.clock())
        assert ticket.id == waits.id
        verbs = session.scalars(select(Event.verb).where(Event.object == f"ticket:{ticket.id}")).all()
        assert "ticket.reclaim" in verbs


def test_whoever_is_inside_their_quota_keeps_what_they_have(world: World, fleet: Fleet) -> None:
    for team in ("red", "blue"):
        assert isinstance(ask(world, fleet, team), Lease)
    world.clock.move(5 * HOUR)
    assert isinstance(ask(world, fleet, "red", owner="red-bob"), Ticket)
    assert taken_back(world, fleet) == ["nothing_to_reclaim"]


def test_a_notebook_does_not_go_beyond_its_team_s_quota(world: World, fleet: Fleet) -> None:
    assert isinstance(ask(world, fleet, "red", NOTEBOOK), Lease)
    waits = ask(world, fleet, "red", NOTEBOOK, owner="red-bob")
    assert isinstance(waits, Ticket)
    assert waits.verdict["code"] == "quota_gpus"
    assert (waits.verdict["facts"]["limit"], waits.verdict["facts"]["used"]) == (1, 1.0)
    with world.store.transaction() as session:
        assert admission.grant_waiting(session, fleet, world.clock()) == []
        lease = session.scalars(select(Lease)).one()
        admission.end_lease(session, lease.id, "asked", world.clock())
        assert [ticket.id for ticket, _ in admission.grant_waiting(session, fleet, world.clock())] == [waits.id]


def test_what_a_quota_never_has_room_for_is_refused(world: World, fleet: Fleet) -> None:
    with world.store.transaction() as session:
        session.add(quota(world, "user", "red-ann", 0))
    with pytest.raises(QuotaTooSmall) as caught:
        ask(world, fleet, "red")
    assert caught.value.facts["limit"] == 0
    with world.store.reading() as session:
        assert session.scalars(select(Ticket)).all() == []


def test_of_two_teams_that_wait_the_one_that_had_less_goes_first(world: World, fleet: Fleet) -> None:
    with world.store.transaction() as session:
        for row in session.scalars(select(Quota)).all():
            session.delete(row)
    held = [ask(world, fleet, "red"), ask(world, fleet, "red", owner="red-bob")]
    world.clock.move(3 * HOUR)
    late = ask(world, fleet, "red", owner="red-cho")
    world.clock.move(MINUTE)
    first = ask(world, fleet, "blue")
    with world.store.transaction() as session:
        admission.end_lease(session, held[0].id, "exited", world.clock())
        [(ticket, _)] = admission.grant_waiting(session, fleet, world.clock())
        assert ticket.id == first.id, "red had two GPUs for three hours"
        assert session.get_one(Ticket, late.id).state == "waiting"
        share = session.get_one(Share, ("team", "red"))
        assert 10_000 < share.gpu_seconds < 3 * HOUR + 2 * MINUTE


def endless(world: World, fleet: Fleet, *teams: str) -> list[str]:
    """Training of each of these teams on a GPU of its own, for a day and longer; nobody has a quota."""
    with world.store.transaction() as session:
        for row in session.scalars(select(Quota)).all():
            session.delete(row)
    held = []
    for team in teams:
        lease = ask(world, fleet, team)
        assert isinstance(lease, Lease)
        held.append(lease.id)
        world.clock.move(MINUTE)
    with world.store.transaction() as session:
        for lease_id in held:
            session.get_one(Lease, lease_id).until = None
    world.clock.move(25 * HOUR)
    return held


def long_ended(world: World, fleet: Fleet) -> list[str]:
    with world.store.transaction() as session:
        return [one.id for one in reclaim.end_long_training(session, fleet, world.clock())]


def test_training_that_ran_for_a_day_makes_room_only_where_somebody_waits(world: World, fleet: Fleet) -> None:
    held = endless(world, fleet, "red", "blue")
    assert long_ended(world, fleet) == []
    ask(world, fleet, "green")
    assert long_ended(world, fleet) == held[:1], "one waits for one GPU; who ran longer makes room"
    assert long_ended(world, fleet) == [], "its room is on its way"


def test_as_much_long_training_ends_as_a_request_for_several_gpus_needs(world: World, fleet: Fleet) -> None:
    held = endless(world, fleet, "red", "blue")
    ask(world, fleet, "green", profile="gpu-full-x2")
    assert long_ended(world, fleet) == held
    assert long_ended(world, fleet) == []


def test_no_long_training_ends_for_a_request_that_it_does_not_help(world: World, fleet: Fleet) -> None:
    endless(world, fleet, "red")
    assert isinstance(ask(world, fleet, "blue", NOTEBOOK), Lease), "which goes on"
    ask(world, fleet, "green", profile="gpu-full-x2")
    assert long_ended(world, fleet) == []


def test_without_quotas_nobody_is_asked_to_end(world: World, fleet: Fleet) -> None:
    with world.store.transaction() as session:
        for row in session.scalars(select(Quota)).all():
            session.delete(row)
    for team in ("red", "blue"):
        assert isinstance(ask(world, fleet, team), Lease)
    world.clock.move(5 * HOUR)
    assert isinstance(ask(world, fleet, "green", NOTEBOOK), Ticket)
    assert taken_back(world, fleet) == ["nothing_to_reclaim"]


def test_a_team_under_the_quota_of_everybody_is_beyond_it_too(world: World, fleet: Fleet) -> None:
    with world.store.transaction() as session:
        session.add(quota(world, "team", "*", 0))
        session.get_one(Quota, ("team", "blue")).gpus = 0
    assert isinstance(ask(world, fleet, "blue"), Lease)
    assert isinstance(ask(world, fleet, "blue", owner="blue-bob"), Lease)
    world.clock.move(HOUR)
    assert isinstance(ask(world, fleet, "new"), Ticket)
    assert taken_back(world, fleet) == ["nothing_to_reclaim"]


CODE = {
    "go.py": "import json, os, pathlib, time\n"
    "job = json.loads(pathlib.Path(os.environ['DURE_JOB_FILE']).read_text())\n"
    "mark = pathlib.Path(job['outputs']) / 'checkpoints' / 'latest.pt'\n"
    "if mark.exists():\n"
    "    print('went on as', os.environ['MLFLOW_RUN_ID'], flush=True)\n"
    "    raise SystemExit\n"
    "mark.parent.mkdir(parents=True)\n"
    "mark.write_text('here')\n"
    "print('waiting', flush=True)\n"
    "while True:\n    time.sleep(0.05)\n"
}
ANA, BEN = Person("ana", scopes=frozenset({USE})), Person("ben", scopes=frozenset({USE}))


@pytest.fixture
async def shop(settings: Settings) -> AsyncIterator[Workshop]:
    async with workshop(settings) as made:
        yield made


@pytest.mark.parametrize("reason", [reclaim.RECLAIMED, reclaim.RAN_LONG, "expired"])
async def test_a_job_that_gave_way_goes_on_in_the_same_run(shop: Workshop, reason: str) -> None:
    digest = await shop.upload(CODE)
    asked = wire.JobRequest(id=new_id(), name="first", snapshot=digest, entry="go.py")
    await shop.jobs.submit(ANA, asked)

    async def waits() -> bool:
        return "waiting" in (await shop.jobs.logs(ANA, "first")).text

    await shop.until(waits, "it runs")
    before = await shop.jobs.get(ANA, "first")
    with shop.store.transaction() as session:
        admission.ask_end(session, session.scalars(select(Lease)).one(), reason, datetime.now(UTC))

    async def over() -> bool:
        return (await shop.jobs.get(ANA, "first")).state == "succeeded"

    await shop.until(over, "it goes on and ends")
    job = await shop.jobs.get(ANA, "first")
    assert [(one.number, one.state) for one in job.attempts] == [(1, "stopped"), (2, "succeeded")]
    assert job.run_id == before.run_id
    assert f"went on as {job.run_id}" in (await shop.jobs.logs(ANA, "first")).text
    with shop.store.reading() as session:
        assert [one.ended_at is not None for one in session.scalars(select(Lease))] == [True, True]


async def test_a_job_that_waits_again_can_be_stopped(tmp_path: Path, mlflow: Settings) -> None:
    half = limits.memory_mb() * 2 // 3  # of which there is one
    async with workshop(workshop_settings(tmp_path / "d", mlflow, cpu_profile_memory_mb=half)) as shop:
        digest = await shop.upload(CODE)
        await shop.jobs.submit(ANA, wire.JobRequest(id=new_id(), name="first", snapshot=digest, entry="go.py"))

        async def waits() -> bool:
            return "waiting" in (await shop.jobs.logs(ANA, "first")).text

        await shop.until(waits, "it runs")
        await shop.jobs.submit(BEN, wire.JobRequest(id=new_id(), name="second", snapshot=digest, entry="go.py"))
        with shop.store.transaction() as session:
            lease = session.scalars(select(Lease)).one()
            admission.ask_end(session, lease, reclaim.RAN_LONG, datetime.now(UTC))

        async def queued() -> bool:
            return (await shop.jobs.get(ANA, "first")).state == "queued"

        await shop.until(queued, "it waits again, behind ben's")
        await shop.jobs.stop(ANA, "first")
        assert (await shop.jobs.get(ANA, "first")).state == "stopped"
        await shop.jobs.stop(BEN, "second")

        async def nothing() -> bool:
            return not await shop.training.seen()

        await shop.until(nothing, "nothing runs")
        with shop.store.reading() as session:
            assert sorted(one.state for one in session.scalars(select(Ticket))) == [
                "cancelled",
                "granted",
                "granted",
            ]

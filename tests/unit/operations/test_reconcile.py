"""Wanted against seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from dure import wire
from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, Kind, Phase, Seen
from dure_hub.backends.embedded import EmbeddedServers
from dure_hub.operations.leading import lead
from dure_hub.operations.people import Person
from dure_hub.operations.reconcile import Decision, Ticks, Wanted, decide, forget
from dure_hub.settings import Settings
from dure_hub.store.models import Environment, Lease
from tests.support.world import World

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN = Person("ann")


def wanted(lease: str = "a", age_s: float = 1000, **more: object) -> Wanted:
    given: dict[str, object] = {"claimed": True, "until": None, "end_reason": None, **more}
    return Wanted(lease, NOW - timedelta(seconds=age_s), **given)  # type: ignore[arg-type]


def seen(lease: str = "a", phase: Phase = Phase.RUNNING) -> Seen:
    return Seen(Handle(lease, Kind.SERVER), phase)


def twice(rows: list[Wanted], look: list[Seen]) -> tuple[Decision, Decision]:
    first = decide(rows, look, NOW, 60, frozenset())
    return first, decide(rows, look, NOW, 60, first.suspects)


def test_what_runs_as_wanted_is_left_alone() -> None:
    assert twice([wanted()], [seen()]) == (Decision(), Decision())


def test_an_orphan_is_stopped_at_the_second_look() -> None:
    first, second = twice([], [seen()])
    assert (first.orphans, second.orphans) == ((), (seen(),))


@pytest.mark.parametrize(
    ("row", "look", "reason"),
    [
        (wanted(), [], "lost"),
        (wanted(claimed=False), [], "unclaimed"),
        (wanted(), [seen(phase=Phase.EXITED)], "exited"),
        (wanted(end_reason="asked"), [], "asked"),
        (wanted(until=NOW), [], "expired"),
        (wanted(until=NOW), [seen(phase=Phase.EXITED)], "exited"),
    ],
)
def test_a_lease_with_nothing_running_is_closed_at_the_second_look(
    row: Wanted, look: list[Seen], reason: str
) -> None:
    first, second = twice([row], look)
    assert first.close == ()
    assert second.close == (("a", reason, look[0] if look else None),)


@pytest.mark.parametrize("row", [wanted(age_s=59), wanted(age_s=119, claimed=False)])
def test_within_its_start_nothing_needs_to_run_yet(row: Wanted) -> None:
    assert twice([row], []) == (Decision(), Decision())


def test_one_look_between_clears_a_suspicion() -> None:
    first = decide([wanted()], [], NOW, 60, frozenset())
    between = decide([wanted()], [seen()], NOW, 60, first.suspects)
    assert decide([wanted()], [], NOW, 60, between.suspects).close == ()


def test_what_was_asked_to_end_is_stopped_at_once() -> None:
    first, _ = twice([wanted(end_reason="asked")], [seen()])
    assert first.stop == ((seen(), "asked"),)


def test_the_end_of_a_lease_stops_it() -> None:
    first, _ = twice([wanted(until=NOW)], [seen()])
    assert (first.expire, first.stop) == (("a",), ((seen(), "expired"),))


def test_what_has_exited_and_has_no_lease_is_only_swept_up() -> None:
    _, second = twice([], [seen(phase=Phase.EXITED)])
    assert (second.orphans, second.leftovers) == ((), (seen(phase=Phase.EXITED),))


async def test_one_leads_until_it_stops_renewing(world: World) -> None:
    def try_lead(holder: str) -> bool:
        with world.store.transaction() as session:
            return lead(session, holder, world.clock())

    assert try_lead("one")
    assert not try_lead("two")
    world.clock.move(9)
    assert try_lead("one")
    world.clock.move(9)
    assert not try_lead("two")
    world.clock.move(1)
    assert try_lead("two")
    world.clock.move(-3600)  # a clock that was set back does not lock everybody out
    assert try_lead("one")


async def started(world: World, name: str = "default") -> Lease:
    """An environment that runs under a claimed lease."""
    await world.environments.request(ANN, wire.EnvironmentRequest(id=new_id(), name=name, profile="cpu"))
    grant = await world.environments.claim("ann", name, None, None)
    await world.environments.save_handle(world.servers.put(grant.lease))
    await world.reconciler.look()
    with world.store.reading() as session:
        return session.get_one(Lease, grant.lease)


def environment(world: World, name: str = "default") -> Environment:
    with world.store.reading() as session:
        return session.scalars(select(Environment).where(Environment.name == name)).one()


async def settle(world: World, looks: int = 3) -> None:
    for _ in range(looks):
        await world.reconciler.look()
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], world: World | None = None) -> None:
    """Poll, with looks in between where there is a world."""
    deadline = asyncio.get_running_loop().time() + 20
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        if world is not None:
            await world.reconciler.look()
        await asyncio.sleep(0.01)


async def test_a_lost_server_gives_its_slice_to_the_next(world: World) -> None:
    first, _ = await started(world), await started(world, "two")
    await world.environments.request(ANN, wire.EnvironmentRequest(id=new_id(), name="three", profile="cpu"))
    assert environment(world, "three").phase == "waiting"
    world.clock.move(world.runs.grace_s)
    del world.servers.there[first.id]
    await world.reconciler.look()
    assert environment(world).phase == "running"
    await world.reconciler.look()
    assert (environment(world).phase, environment(world).reason) == ("failed", "lost")
    assert environment(world, "three").phase == "starting"
    await until(lambda: ("POST", "/users/ann/servers/three") in [one[:2] for one in world.jupyterhub.asked])


@pytest.mark.parametrize(
    ("code", "reason", "phase"),
    [(0, "finished", "stopped"), (-15, "stopped", "stopped"), (1, "failed", "failed"), (None, "killed", "failed")],
)
async def test_how_a_server_exited_is_kept(world: World, code: int | None, reason: str, phase: str) -> None:
    lease = await started(world)
    world.servers.put(lease.id, Phase.EXITED, exit_code=code, reason=reason)
    await until(lambda: environment(world).phase == phase, world)
    assert environment(world).reason == reason
    await until(lambda: world.servers.forgotten == [lease.id], world)


async def test_what_its_spawner_said_of_a_failed_start_stays(world: World) -> None:
    lease = await started(world)
    await world.environments.start_failed(lease.id, "The server ended with code 1.", "the end of its log")
    world.servers.put(lease.id, Phase.EXITED, exit_code=1, reason="failed")
    await until(lambda: environment(world).phase == "failed", world)
    assert environment(world).reason == "The server ended with code 1."


async def test_a_failed_look_is_no_verdict(world: World) -> None:
    lease = await started(world)
    world.clock.move(world.runs.grace_s)
    there = world.servers.there.pop(lease.id)
    await world.reconciler.look()
    world.servers.broken = True
    await world.reconciler.look()
    world.servers.broken = False
    await world.reconciler.look()  # a first look again
    world.servers.there[lease.id] = there
    await settle(world)
    assert environment(world).phase == "running"


async def test_what_cannot_be_forgotten_yet_holds_up_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def forget(handle: Handle) -> None:
        raise OSError("something of it still runs")

    monkeypatch.setattr(world.servers, "forget", forget)
    world.servers.put(new_id(), Phase.EXITED)
    lease = await started(world)
    world.servers.put(lease.id, Phase.EXITED, exit_code=0, reason="finished")
    await until(lambda: environment(world).phase == "stopped", world)


async def test_a_stop_that_the_hub_has_begun_is_not_asked_for_again_at_once(world: World) -> None:
    lease = await started(world)
    world.jupyterhub.stops_slowly = True
    await world.environments.stop(ANN, "default")
    await until(lambda: ("DELETE", "/users/ann/server") in [one[:2] for one in world.jupyterhub.asked])
    await settle(world, 20)  # the server takes its time
    assert [one[0] for one in world.jupyterhub.asked].count("DELETE") <= 2
    del world.servers.there[lease.id]
    await until(lambda: environment(world).phase == "stopped", world)


async def test_two_that_want_the_same_end_ask_the_hub_once(world: World) -> None:
    lease = await started(world)
    world.jupyterhub.stops_slowly = True
    handle = world.servers.there[lease.id].handle
    await asyncio.gather(world.runs.stop(handle, "asked"), world.runs.stop(handle, "asked"))
    assert [one[0] for one in world.jupyterhub.asked].count("DELETE") == 1
    assert world.servers.stopped == [], "the hub is at it"


async def test_an_orphan_is_stopped_by_the_backend(world: World) -> None:
    world.servers.put(new_id())
    await until(lambda: world.servers.there == {}, world)
    assert len(world.servers.stopped) == 1


async def test_an_expired_lease_is_stopped_through_the_hub_and_then_closed(world: World) -> None:
    lease = await started(world)
    world.clock.move(world.settings.default_lifetime_s)
    await until(lambda: environment(world).phase == "stopped", world)
    assert ("DELETE", "/users/ann/server") in [one[:2] for one in world.jupyterhub.asked]
    assert (environment(world).phase, environment(world).reason) == ("stopped", "expired")
    with world.store.reading() as session:
        assert session.get_one(Lease, lease.id).ended_at is not None


async def test_while_the_hub_is_away_the_backend_stops_what_has_expired(world: World) -> None:
    lease = await started(world)
    world.jupyterhub.away = True
    world.clock.move(world.settings.default_lifetime_s)
    await until(lambda: environment(world).phase == "stopped", world)
    assert world.servers.stopped == [lease.id]
    assert environment(world).reason == "expired"


async def test_a_server_the_hub_has_lost_is_stopped(world: World) -> None:
    lease = await started(world)
    del world.jupyterhub.users["ann"][""]
    await settle(world, 5)  # one answer without it
    assert environment(world).phase == "running"
    await until(lambda: environment(world).phase == "stopped", world)
    assert world.servers.stopped == [lease.id]
    assert environment(world).reason == "replaced"


async def test_what_was_claimed_by_a_hub_that_died_then_is_started_by_the_next(world: World) -> None:
    world.jupyterhub.hold = True
    asked = wire.EnvironmentRequest(id=new_id(), name="default", profile="cpu")
    await world.environments.request(ANN, asked)
    grant = await world.environments.claim("ann", "", None, None)
    world.jupyterhub.away = True  # killed before it could start anything
    await world.environments.close()
    world.jupyterhub.users.clear()
    world.jupyterhub.asked.clear()
    await settle(world, 5)
    assert environment(world).phase == "starting"
    world.jupyterhub.away = world.jupyterhub.hold = False
    await until(lambda: environment(world).phase == "running", world)
    body = {"user_options": {"lease": grant.lease, "profile": "cpu"}}
    assert [one for one in world.jupyterhub.asked if one[0] == "POST"] == [("POST", "/users/ann/server", body)]


async def test_what_the_hub_is_about_to_start_is_not_started_a_second_time(world: World) -> None:
    grant = await world.environments.claim("ann", "", None, None)  # somebody asked the hub itself
    world.jupyterhub.hold = True
    world.jupyterhub.put("ann", ready=False, pending="spawn")
    await settle(world, 10)
    assert [one for one in world.jupyterhub.asked if one[0] == "POST"] == []
    await world.environments.save_handle(world.servers.put(grant.lease))
    world.jupyterhub.put("ann", ready=True)
    await until(lambda: environment(world).phase == "running", world)


async def test_a_ticket_does_not_wait_for_ever(world: World) -> None:
    await started(world)
    await started(world, "two")
    await world.environments.request(ANN, wire.EnvironmentRequest(id=new_id(), name="three", profile="cpu"))
    with world.store.transaction() as session:
        for lease in session.scalars(select(Lease)):
            lease.until = None
    world.clock.move(world.settings.ticket_timeout_s)
    await settle(world)
    assert (environment(world, "three").phase, environment(world, "three").reason) == ("failed", "waited_too_long")


async def test_a_tick_outlives_its_own_errors_and_can_be_kicked() -> None:
    ticks, third = Ticks(), asyncio.Event()
    calls: list[int] = []

    async def work() -> None:
        calls.append(len(calls))
        if len(calls) == 3:
            third.set()
        raise RuntimeError("a bug")

    ticks.add("bug", 3600, work)
    with pytest.raises(ValueError, match="there is a tick"):
        ticks.add("bug", 1, work)
    ticks.start()
    while not third.is_set():
        ticks.kick()
        await asyncio.sleep(0)
    await ticks.stop()
    assert calls == [0, 1, 2]


async def test_what_cannot_be_forgotten_for_whatever_reason_holds_up_nobody(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def fail(_handle: Handle) -> None:
        raise RecursionError("too deep")

    runs = EmbeddedServers(Settings(data=tmp_path, instance="0123456789ab"))
    monkeypatch.setattr(runs, "forget", fail)
    await forget(runs, Handle("one", Kind.SERVER))
    assert "what is left of one cannot be removed yet" in caplog.text

"""How long a server may run: the profile's bounds within the limits of its owner and the team that pays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from dure import wire
from dure.wire.gpu import AllocationRequest
from dure.wire.ids import new_id
from dure_hub.backends.base import Inventory
from dure_hub.operations.allocations import Allocations
from dure_hub.operations.errors import BadLifetime, EndOverLimit, EndTooLate, LifetimeOverLimit
from dure_hub.operations.people import Person
from dure_hub.operations.plans import Plans
from dure_hub.operations.quotas import Quotas
from dure_hub.store.models import Event
from tests.support.world import World, gpus

HOUR = 3600
ANN = Person("ann", teams=frozenset({"red", "blue"}))
ROOT = Person("root", admin=True)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[World]:
    """A machine with two GPUs; servers of the team red run for two hours at most."""
    found = World(tmp_path, Inventory(cpu_cores=32, memory_mb=131072, devices=gpus(2)))
    await limit(found, "team", "red", 2 * HOUR)
    yield found
    await found.close()


async def limit(place: World, kind: str, name: str, seconds: int | None) -> wire.Quota | None:
    ask = wire.QuotaRequest(kind=kind, name=name, max_lifetime_s=seconds, gpus=2)
    return await Quotas(place.store, place.clock).put(ROOT, ask)


async def start(place: World, team: str, seconds: int | None = None, **more: str) -> timedelta:
    """How long the server runs that Ann gets."""
    ask = {"id": new_id(), "profile": "cpu", "team": team, "lifetime_s": seconds, **more}
    found = await place.environments.request(ANN, wire.EnvironmentRequest.model_validate(ask))
    assert found.lease is not None
    assert found.lease.until is not None
    return found.lease.until - found.lease.granted_at


async def test_a_server_with_a_gpu_runs_for_less_than_one_without(place: World) -> None:
    found = {one.name: one for one in await place.profiles.list(ANN)}
    assert (found["cpu"].default_lifetime_s, found["cpu"].max_lifetime_s) == (8 * HOUR, 24 * HOUR)
    assert (found["gpu-full"].default_lifetime_s, found["gpu-full"].max_lifetime_s) == (4 * HOUR, 12 * HOUR)
    with pytest.raises(BadLifetime, match="46800 s is not possible: from 300 to 43200 s"):
        await start(place, "blue", 13 * HOUR, profile="gpu-full")


async def test_whoever_allows_all_servers_less_allows_those_with_a_gpu_no_more(tmp_path: Path) -> None:
    short = World(
        tmp_path,
        Inventory(cpu_cores=8, memory_mb=65536, devices=gpus(1)),
        max_lifetime_s=2 * HOUR,
        default_lifetime_s=HOUR,
    )
    try:
        (gpu,) = [one for one in await short.profiles.list(ANN) if one.name == "gpu-full"]
        assert (gpu.default_lifetime_s, gpu.max_lifetime_s) == (HOUR, 2 * HOUR)
    finally:
        await short.close()


async def test_a_teams_limit_binds_its_servers_and_no_others(place: World) -> None:
    assert await start(place, "red") == timedelta(hours=2), "the usual eight hours are too long"
    assert await start(place, "blue", name="other") == timedelta(hours=8)
    with pytest.raises(LifetimeOverLimit) as caught:
        await start(place, "red", 3 * HOUR, name="third")
    error = caught.value
    assert error.text("en") == (
        "A lifetime of 10800 s is not possible: servers of the team red run for 7200 s at most."
    )
    assert "dure quotas" in error.advice("en")
    assert "최대 7200초" in error.text("ko")
    with pytest.raises(BadLifetime):
        await start(place, "blue", 25 * HOUR, name="third")


async def test_it_binds_the_end_that_may_be_asked_for(place: World) -> None:
    await start(place, "red")
    place.clock.move(HOUR)
    shown = await place.environments.get(ANN, "default")
    assert shown.extendable_until == place.clock() + timedelta(hours=2)
    with pytest.raises(EndOverLimit, match="team red run for 7200 s from now") as caught:
        await place.environments.extend(
            ANN, "default", wire.ExtendRequest(until=place.clock() + timedelta(hours=3))
        )
    assert caught.value.facts["latest"] == "2026-01-01T03:00:00Z"
    moved = await place.environments.extend(
        ANN, "default", wire.ExtendRequest(until=place.clock() + timedelta(hours=2))
    )
    assert moved.lease is not None
    assert moved.lease.until == shown.extendable_until


async def test_a_limit_that_is_taken_away_or_lowered_counts_from_then_on(place: World) -> None:
    await start(place, "red")
    await limit(place, "team", "red", None)
    with pytest.raises(EndTooLate):
        await place.environments.extend(
            ANN, "default", wire.ExtendRequest(until=place.clock() + timedelta(hours=25))
        )
    await limit(place, "team", "red", HOUR)
    shown = await place.environments.get(ANN, "default")
    assert shown.lease is not None
    assert shown.extendable_until == shown.lease.until, "nothing that was given is taken back"


async def test_the_limit_of_everybody_is_for_those_without_a_quota_of_their_own(place: World) -> None:
    await limit(place, "team", "*", HOUR)
    await limit(place, "user", "*", 3 * HOUR)
    assert await start(place, "blue") == timedelta(hours=1)
    await limit(place, "team", "blue", None)
    assert await start(place, "blue", name="other") == timedelta(hours=3), "the owner's own is left"


async def test_what_is_asked_for_again_or_straight_through_the_hub_is_bound_too(place: World) -> None:
    assert await start(place, "red") == timedelta(hours=2)
    await place.environments.stop(ANN, "default")
    await place.environments.runs.close()
    with place.store.reading() as session:
        lease = session.scalars(select(Event.object).where(Event.verb == "lease.grant")).one()
    await place.environments.ended(lease.partition(":")[2], "stopped")
    await limit(place, "team", "red", HOUR)
    again = await place.turns.again(ANN, "default", new_id())
    assert again.lease is not None
    assert again.lease.until == place.clock() + timedelta(hours=1)
    straight = await place.environments.claim("ben", "", None, "cpu", ["red"])
    assert straight.until == place.clock() + timedelta(hours=1)


async def test_plans_and_offers_tell_of_it_and_work_is_not_bound(place: World) -> None:
    plans = Plans(place.settings, place.store, place.clock, place.profiles)
    assert (await plans.get(ANN, "cpu", "notebook", team="red")).max_lifetime_s == 2 * HOUR
    with pytest.raises(LifetimeOverLimit):
        await plans.get(ANN, "cpu", "notebook", team="red", lifetime_s=3 * HOUR)
    for purpose in ("training", "schedule"):
        assert (await plans.get(ANN, "gpu-full", purpose, team="red")).max_lifetime_s == 24 * HOUR
    by_name = {one.name: one for one in await place.offers.list(ANN, team="red")}
    assert (by_name["cpu"].default_lifetime_s, by_name["cpu"].max_lifetime_s) == (2 * HOUR, 2 * HOUR)
    assert by_name["gpu-full"].lifetime_note == {
        "en": "Servers of the team red run for 2 hours at most.",
        "ko": "red 팀의 서버는 최대 2시간까지 쓸 수 있습니다.",
    }
    assert (await place.offers.list(ANN, team="blue"))[0].lifetime_note is None


async def test_a_notebooks_pod_is_a_server_and_other_pods_are_work(place: World) -> None:
    pods = Allocations(place.store, place.clock, place.profiles)

    def pod(name: str, kind: str) -> AllocationRequest:
        given = {"namespace": "jupyter", "podName": name, "workloadType": kind}
        return AllocationRequest.model_validate({**given, "team": "red", "lifetime": 20 * HOUR})

    with pytest.raises(LifetimeOverLimit):
        await pods.request(ANN, pod("nb", "notebook"))
    got = await pods.request(ANN, pod("job", "training"))
    assert got.state == "active"


async def test_who_set_it_and_what_it_was_before_is_written(place: World) -> None:
    await limit(place, "team", "red", HOUR)
    with place.store.reading() as session:
        last = session.scalars(select(Event).where(Event.verb == "quota.set").order_by(Event.id.desc())).first()
    assert last is not None
    assert (last.actor, last.object) == ("root", "quota:team/red")
    assert last.verdict["facts"]["max_lifetime_s"] == HOUR
    assert last.verdict["facts"]["before"]["max_lifetime_s"] == 2 * HOUR
    (quota,) = [one for one in await Quotas(place.store, place.clock).list(ANN) if one.name == "red"]
    assert quota.max_lifetime_s == HOUR

"""Servers of people: asked for here, claimed by the spawner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from dure import wire
from dure.errors import Conflict, DureError, NotAllowed, NotFound
from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, Kind
from dure_hub.operations.environments import Grant
from dure_hub.operations.errors import BadLifetime, MustWait, NoSuchProfile, StillEnding, TooManyServers
from dure_hub.operations.people import Person
from dure_hub.policies import promises
from dure_hub.store.models import Environment, Lease, Ticket
from tests.support.world import World

ANN, BEN, ROOT = Person("ann"), Person("ben"), Person("root", admin=True)


def ask(name: str = "default", **more: Any) -> wire.EnvironmentRequest:
    return wire.EnvironmentRequest(**{"id": new_id(), "name": name, "profile": "cpu", **more})


async def phase(world: World, name: str = "default", person: Person = ANN) -> str:
    return (await world.environments.get(person, name)).phase


async def until(
    world: World, condition: Callable[[wire.Environment], bool], name: str = "default"
) -> wire.Environment:
    """Poll one of ann's environments, with looks in between."""
    deadline = asyncio.get_running_loop().time() + 20
    while True:
        found = await world.environments.get(ANN, name)
        if condition(found):
            return found
        assert asyncio.get_running_loop().time() < deadline, found
        await world.reconciler.look()
        await asyncio.sleep(0.01)


async def fill(world: World) -> list[Grant]:
    """Ben takes all the room there is."""
    return [await world.environments.claim("ben", name, None, "cpu") for name in ("one", "two")]


async def test_with_room_the_hub_is_asked_to_start_it(world: World) -> None:
    answer = await world.environments.request(ANN, ask())
    assert answer.phase == "starting"
    assert answer.page == "/services/dure/wait/default"
    assert answer.lease is not None
    running = await until(world, lambda found: found.phase == "running")
    assert (running.url, running.page, running.ticket) == ("/user/ann/", None, None)
    method, path, body = world.jupyterhub.asked[0]
    assert (method, path) == ("POST", "/users/ann/server")
    assert body == {"user_options": {"lease": answer.lease.id, "profile": "cpu"}}


async def test_a_named_server_has_its_own_address(world: World) -> None:
    await world.environments.request(ANN, ask("lab"))
    assert (await until(world, lambda found: found.phase == "running", "lab")).url == "/user/ann/lab/"
    assert world.jupyterhub.asked[0][1] == "/users/ann/servers/lab"


async def test_a_person_has_so_many_servers_at_once_and_stopped_ones_do_not_count(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        world.environments.runs, "settings", world.settings.model_copy(update={"servers_per_person": 1})
    )
    await world.environments.request(ANN, ask("one"))
    with pytest.raises(TooManyServers) as refused:
        await world.environments.request(ANN, ask("two"))
    assert refused.value.facts == {"most": 1, "names": "one"}
    await world.environments.request(BEN, ask("two"))
    lease = (await world.environments.request(ANN, ask("one"))).lease
    assert lease is not None, "the same one is no other"
    await world.environments.ended(lease.id, "stopped")
    assert (await world.environments.request(ANN, ask("two"))).lease is not None


async def test_the_same_request_and_the_same_name_are_one_server(world: World) -> None:
    request = ask()
    first = await world.environments.request(ANN, request)
    assert (await world.environments.request(ANN, request)).lease == first.lease
    assert (await world.environments.request(ANN, ask())).lease == first.lease
    with pytest.raises(Conflict):
        await world.environments.request(BEN, request)
    with world.store.reading() as session:
        assert session.scalar(select(func.count()).select_from(Lease)) == 1


async def test_without_room_it_waits_with_position_and_latest_start(world: World) -> None:
    held = await fill(world)
    answer = await world.environments.request(ANN, ask())
    assert (answer.phase, answer.page, answer.lease) == ("waiting", "/services/dure/wait/default", None)
    assert answer.ticket is not None
    promised = promises.latest(held[0].until, world.clock())
    assert (answer.ticket.position, answer.ticket.expected_start) == (1, promised)
    assert world.jupyterhub.asked == []
    await world.environments.ended(held[0].lease, "stopped")
    await until(world, lambda found: found.phase == "running")


async def test_a_waiting_request_can_be_cancelled(world: World) -> None:
    held = await fill(world)
    await world.environments.request(ANN, ask())
    stopped = await world.environments.stop(ANN, "default")
    assert (stopped.phase, stopped.ticket) == ("stopped", None)
    await world.environments.ended(held[0].lease, "stopped")
    await world.reconciler.look()
    assert await phase(world) == "stopped"
    assert (await world.environments.request(ANN, ask())).phase == "starting"


@pytest.mark.parametrize(
    ("more", "error"),
    [({"profile": "gpu-full"}, NoSuchProfile), ({"lifetime_s": 30 * 86400}, BadLifetime)],
)
async def test_what_is_refused_leaves_no_row(world: World, more: dict[str, Any], error: type[DureError]) -> None:
    with pytest.raises(error):
        await world.environments.request(ANN, ask(**more))
    with world.store.reading() as session:
        assert session.scalars(select(Environment)).all() == []


async def test_a_lease_is_claimed_once_by_its_owner_for_its_server(world: World) -> None:
    world.jupyterhub.hold = True
    mine = (await world.environments.request(ANN, ask())).lease
    assert mine is not None
    stolen = await world.environments.claim("ben", "", mine.id, "cpu")  # somebody else's counts as none
    assert stolen.lease != mine.id
    grant = await world.environments.claim("ann", "", mine.id, None)
    assert (grant.lease, grant.profile.name, grant.until) == (mine.id, "cpu", mine.until)
    await world.environments.save_handle(Handle(mine.id, Kind.SERVER, {"pid": 7}))
    with pytest.raises(StillEnding):
        await world.environments.claim("ann", "", mine.id, None)
    assert await phase(world) == "stopping"  # what the hub starts anew, it had lost


async def test_a_claim_with_nothing_started_goes_on_after_the_hub_was_killed(world: World) -> None:
    first = await world.environments.claim("ann", "", None, "cpu")
    assert await world.environments.claim("ann", "", first.lease, None) == first


async def test_a_spent_lease_counts_as_none(world: World) -> None:
    first = await world.environments.claim("ann", "", None, "cpu")
    await world.environments.ended(first.lease, "stopped")
    assert await phase(world) == "stopped"
    second = await world.environments.claim("ann", "", first.lease, None)
    assert second.lease != first.lease
    assert await phase(world) == "starting"


async def test_a_start_straight_through_the_hub_leaves_a_ticket_when_there_is_no_room(world: World) -> None:
    held = await fill(world)
    with pytest.raises(MustWait) as caught:
        await world.environments.claim("ann", "", None, "cpu")
    assert caught.value.facts == {"profile": "cpu", "position": 1, "page": "/services/dure/wait/default"}
    assert "/services/dure/wait/default" in str(caught.value)
    with pytest.raises(MustWait):
        await world.environments.claim("ann", "", None, "cpu")
    with world.store.reading() as session:
        assert len(session.scalars(select(Ticket).where(Ticket.owner == "ann")).all()) == 1
    await world.environments.ended(held[0].lease, "stopped")
    await until(world, lambda found: found.phase == "running")


async def test_a_start_that_the_hub_refuses_keeps_its_sentence(world: World) -> None:
    world.jupyterhub.refusal = (403, "ann is not allowed to do that")
    await world.environments.request(ANN, ask())
    failed = await until(world, lambda found: found.phase == "failed")
    assert failed.reason == "ann is not allowed to do that"
    assert failed.lease is None
    world.jupyterhub.refusal = None
    await world.environments.request(ANN, ask())
    assert (await until(world, lambda found: found.phase == "running")).reason is None


async def test_whom_the_hub_does_not_know_is_told_to_log_in(world: World) -> None:
    world.jupyterhub.refusal = (404, "Not Found")
    await world.environments.request(ANN, ask())
    failed = await until(world, lambda found: found.phase == "failed")
    assert "log in once" in (failed.reason or "")


async def test_a_start_that_fails_keeps_the_reason_from_the_hub(world: World) -> None:
    world.jupyterhub.failure = "Spawn failed: no such program"
    answer = await world.environments.request(ANN, ask())
    assert answer.lease is not None
    await world.environments.claim("ann", "", answer.lease.id, None)
    failed = await until(world, lambda found: found.phase == "failed")
    assert failed.reason == "no such program", "without the hub's own words"


async def test_while_the_hub_is_away_the_start_is_tried_again(world: World) -> None:
    world.jupyterhub.away = True
    await world.environments.request(ANN, ask())
    for _ in range(3):
        await world.reconciler.look()
    assert await phase(world) == "starting"
    world.jupyterhub.away = False
    await until(world, lambda found: found.phase == "running")


async def test_a_hub_that_never_comes_back_gives_the_slice_back(world: World) -> None:
    world.jupyterhub.away = True
    await world.environments.request(ANN, ask())
    world.clock.move(121)
    failed = await until(world, lambda found: found.phase == "failed")
    assert failed.model_dump()["reason_text"]["ko"] == "제시간에 시작되지 않아 자리를 다음 사람에게 넘겼습니다."


async def test_created_is_no_promise(world: World) -> None:
    """The hub's 201 says nothing: running is what the hub calls ready."""
    world.jupyterhub.hold = True
    answer = await world.environments.request(ANN, ask())
    assert answer.lease is not None
    await world.environments.claim("ann", "", answer.lease.id, None)
    for _ in range(3):
        await world.reconciler.look()
    assert await phase(world) == "starting"
    world.jupyterhub.put("ann", "", ready=True)
    await until(world, lambda found: found.phase == "running")


async def test_stopping_goes_through_the_hub_and_ends_the_lease_when_nothing_runs(world: World) -> None:
    world.jupyterhub.hold = True
    answer = await world.environments.request(ANN, ask())
    assert answer.lease is not None
    await world.environments.claim("ann", "", answer.lease.id, None)
    await world.environments.save_handle(world.servers.put(answer.lease.id))
    stopping = await world.environments.stop(ANN, "default")
    assert stopping.phase == "stopping"
    with pytest.raises(StillEnding):
        await world.environments.request(ANN, ask())
    with pytest.raises(StillEnding):
        await world.environments.claim("ann", "", answer.lease.id, None)
    stopped = await until(world, lambda found: found.phase == "stopped")
    assert (stopped.reason, stopped.lease) == ("It was stopped as asked.", None)
    assert ("DELETE", "/users/ann/server") in [one[:2] for one in world.jupyterhub.asked]
    assert (await world.environments.stop(ANN, "default")).phase == "stopped"


async def test_people_see_and_stop_their_own_and_administrators_everybodys(world: World) -> None:
    await world.environments.request(ANN, ask())
    assert await world.environments.list(BEN) == []
    assert [one.owner for one in await world.environments.list(ROOT, everyone=True)] == ["ann"]
    with pytest.raises(NotAllowed):
        await world.environments.list(BEN, everyone=True)
    with pytest.raises(NotAllowed):
        await world.environments.stop(BEN, "default", owner="ann")
    with pytest.raises(NotFound):
        await world.environments.get(BEN, "default")
    assert (
        await world.environments.stop(ROOT, "default", owner="ann", why="a repair", at_once=True)
    ).phase == "stopping"


async def test_those_that_ended_are_left_out_where_only_the_active_are_asked_for(world: World) -> None:
    await fill(world)
    await world.environments.request(ANN, ask())
    await world.environments.request(ANN, ask("cancelled"))
    await world.environments.stop(ANN, "cancelled")

    async def names(active: bool = False) -> set[str]:
        return {one.name for one in await world.environments.list(ROOT, everyone=True, active=active)}

    assert await names() == {"one", "two", "default", "cancelled"}
    assert await names(active=True) == {"one", "two", "default"}
    assert [one.name for one in await world.environments.list(ANN, active=True)] == ["default"]


async def test_profiles_say_what_is_free(world: World) -> None:
    await world.environments.claim("ann", "", None, "cpu")
    (cpu,) = await world.profiles.list(ANN)
    assert (cpu.name, cpu.free, cpu.total, cpu.rate) == ("cpu", 1, 2, None)
    assert set(cpu.title) == set(cpu.description) == {"en", "ko"}

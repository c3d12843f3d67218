"""What follows from a login provider's word: teams at once, an end after a warning; from its silence nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from dure import wire
from dure.errors import NotFound
from dure.wire.ids import new_id
from dure_hub.operations import admission, closures, login_rows
from dure_hub.operations.leading import lead
from dure_hub.operations.login_errors import LoginEnded, NameOfAnother, TeamLeft
from dure_hub.operations.logins import Logins
from dure_hub.operations.people import USE, Person
from dure_hub.operations.tokens import Tokens
from dure_hub.operations.waking import Waking
from dure_hub.policies.devices import CORDON, DRAIN
from dure_hub.policies.teams import Teams
from dure_hub.store.models import Event, Lease, Ticket
from tests.support.world import World

ANN = Person("ann", teams=frozenset({"vision", "nlp"}))
ROOT = Person("root", admin=True)
VISION = Teams(("vision",))


@pytest.fixture
def logins(world: World) -> Logins:
    return Logins(world.settings, world.store, world.clock)


@pytest.fixture
def tokens(world: World) -> Tokens:
    return Tokens(world.store, world.clock)


async def start(world: World, team: str | None = "vision") -> str:
    """Ann's running server, which `team` pays for; its lease."""
    grant = await world.environments.claim("ann", "", None, "cpu")
    world.servers.put(grant.lease)
    world.jupyterhub.put("ann")
    with world.store.transaction() as session:
        session.get_one(Lease, grant.lease).team = team
    for _ in range(6):
        await world.reconciler.look()
    return grant.lease


def lease_of(world: World, lease: str) -> Lease:
    with world.store.reading() as session:
        return session.get_one(Lease, lease)


def verbs(world: World) -> list[str]:
    with world.store.reading() as session:
        return list(session.scalars(select(Event.verb).where(Event.object == "user:ann").order_by(Event.id)))


async def test_who_is_gone_is_warned_and_starts_nothing_more(world: World, logins: Logins, tokens: Tokens) -> None:
    lease = await start(world)
    _, token = await tokens.mint("ann", admin=False, scopes=[USE], purpose="api", lifetime_s=3600)
    await logins.confirmed("ann", "42", VISION)
    before = lease_of(world, lease).until
    await logins.gone("ann", "disabled")
    end = world.clock() + timedelta(seconds=world.settings.login_notice_s)
    assert lease_of(world, lease).until == end != before
    seen = await world.environments.get(ANN, "default")
    assert (seen.phase, seen.extendable_until) == ("running", None)
    assert seen.reason == "The login provider does not confirm its owner any more."
    assert await tokens.find(token) is None
    with pytest.raises(LoginEnded):
        await tokens.mint("ann", admin=False, scopes=[USE], purpose="api", lifetime_s=3600)
    later = wire.ExtendRequest(until=world.clock() + timedelta(hours=5))
    with pytest.raises(LoginEnded):
        await world.environments.extend(ANN, "default", later)
    with pytest.raises(LoginEnded):
        await world.environments.request(
            ANN, wire.EnvironmentRequest(id=new_id(), name="b", profile="cpu", team="nlp")
        )
    assert await logins.due() == []
    assert await logins.end("ann") is False
    world.clock.move(world.settings.login_notice_s)
    assert await logins.due() == ["ann"]
    assert await logins.end("ann") is True
    assert lease_of(world, lease).end_reason == "login_ended"
    assert await logins.due() == []
    assert (await logins.state("ann")).ended_at == world.clock()  # type: ignore[union-attr]
    assert verbs(world)[-3:] == ["login.gone", "account.sign_out", "login.end"]


async def test_who_has_nothing_running_is_out_at_once(world: World, logins: Logins) -> None:
    await logins.confirmed("ann", "42", VISION)
    await logins.gone("ann", "disabled")
    assert await logins.due() == ["ann"]


async def test_who_is_back_in_time_goes_on_as_before(world: World, logins: Logins) -> None:
    lease = await start(world)
    await logins.confirmed("ann", "42", VISION)
    before = lease_of(world, lease).until
    await logins.gone("ann", "session over")
    world.clock.move(60)
    await logins.gone("ann", "session over")  # heard again: the notice is not begun anew
    await logins.confirmed("ann", "42", VISION)
    assert lease_of(world, lease).until == before
    assert (await world.environments.get(ANN, "default")).reason is None
    assert await logins.due() == []
    later = wire.ExtendRequest(until=world.clock() + timedelta(hours=9))
    assert (await world.environments.extend(ANN, "default", later)).lease is not None


async def test_a_server_of_a_team_they_left_is_warned_and_others_are_not(world: World, logins: Logins) -> None:
    lease = await start(world, "vision")
    await logins.confirmed("ann", "42", Teams(("nlp", "vision")))
    before = lease_of(world, lease).until
    await logins.confirmed("ann", "42", Teams(("nlp",)))
    assert lease_of(world, lease).until == world.clock() + timedelta(seconds=world.settings.login_notice_s)
    with pytest.raises(TeamLeft):
        await world.environments.extend(
            ANN, "default", wire.ExtendRequest(until=world.clock() + timedelta(hours=5))
        )
    await logins.confirmed("ann", "42", VISION)
    assert lease_of(world, lease).until == before
    await logins.confirmed("ann", "42", Teams(), admin=True)
    assert lease_of(world, lease).until == before, "an administrator may have any team pay"


async def test_what_waits_for_a_team_they_left_is_cancelled(world: World, logins: Logins) -> None:
    await logins.confirmed("ann", "42", Teams(("nlp", "vision")))
    with world.store.transaction() as session:
        for team in ("vision", "nlp"):
            made = {"purpose": admission.NOTEBOOK, "profile": "cpu", "asked_at": world.clock(), "verdict": {}}
            session.add(Ticket(id=new_id(), owner="ann", team=team, subject=team, state="waiting", **made))
    await logins.confirmed("ann", "42", VISION)
    with world.store.reading() as session:
        states = dict(session.execute(select(Ticket.team, Ticket.state)).all())
    assert states == {"vision": "waiting", "nlp": "cancelled"}


async def test_a_silent_provider_ends_nobody_until_the_bound(world: World, logins: Logins) -> None:
    lease = await start(world)
    await logins.confirmed("ann", "42", VISION)
    before = lease_of(world, lease).until
    for _ in range(3):
        world.clock.move(3600)
        await logins.unreachable("ann", "ConnectError")
    state = await logins.state("ann")
    assert state is not None
    assert (state.gone_at, state.why) == (None, "ConnectError")
    assert state.failing_since == state.checked_at + timedelta(hours=1)  # type: ignore[operator]
    assert lease_of(world, lease).until == before
    assert verbs(world).count("login.unchecked") == 1
    world.clock.move(world.settings.login_unchecked_s)
    await logins.unreachable("ann", "ConnectError")
    state = await logins.state("ann")
    assert state is not None
    assert (state.gone_at, state.why) == (world.clock(), "unchecked_too_long")


async def test_a_name_stays_its_owners_until_it_is_let_go(world: World, logins: Logins) -> None:
    await logins.confirmed("ann", "42", VISION)
    await logins.confirmed("ann", None, VISION)
    with pytest.raises(NameOfAnother):
        await logins.confirmed("ann", "43", Teams())
    state = await logins.state("ann")
    assert state is not None
    assert state.teams == ("vision",), "who is refused changes nothing"
    with pytest.raises(NotFound):
        await logins.forget("ben", "root")
    await logins.forget("ann", "root")
    await logins.confirmed("ann", "43", None)
    assert await logins.subject("ann") == "43"


async def test_who_is_no_administrator_any_more_keeps_no_token_of_one(
    world: World, logins: Logins, tokens: Tokens
) -> None:
    made = {"scopes": [USE], "purpose": "api", "lifetime_s": 3600}
    _, of_admin = await tokens.mint("ann", admin=True, **made)  # type: ignore[arg-type]
    _, own = await tokens.mint("ann", admin=False, **made)  # type: ignore[arg-type]
    await logins.confirmed("ann", "42", VISION, admin=True)
    assert await tokens.find(of_admin) is not None
    await logins.confirmed("ann", "42", VISION)
    assert await tokens.find(of_admin) is None
    assert await tokens.find(own) is not None


async def test_groups_that_can_be_no_team_are_told_once(world: World, logins: Logins) -> None:
    for _ in range(2):
        await logins.confirmed("ann", "42", Teams(("vision",), (("/", "empty"),)))
    state = await logins.state("ann")
    assert state is not None
    assert (state.teams, state.left_out) == (("vision",), (("/", "empty"),))
    assert verbs(world).count("login.left_out") == 1
    assert verbs(world).count("login.teams") == 1


async def test_everybody_with_something_here_is_asked_about(world: World, logins: Logins, tokens: Tokens) -> None:
    await start(world)
    await tokens.mint("ben", admin=False, scopes=[USE], purpose="api", lifetime_s=60)
    assert await logins.active() == ["ann", "ben"]
    world.clock.move(60)
    assert await logins.active() == ["ann"]


def test_an_endpoints_replicas_are_not_refused(world: World) -> None:
    with world.store.transaction() as session:
        row = login_rows.find(session, "ann")
        row.gone_at = world.clock()
        login_rows.refuse_if_gone(session, "ann", admission.SERVING)
        with pytest.raises(LoginEnded):
            login_rows.refuse_if_gone(session, "ann", admission.TRAINING)


async def gone_and_back(logins: Logins, meanwhile: Callable[[], Awaitable[object]]) -> None:
    await logins.confirmed("ann", "42", VISION)
    await logins.gone("ann", "disabled")
    await meanwhile()
    await logins.confirmed("ann", "42", VISION)


async def test_who_is_back_is_still_stopped_when_an_administrator_said(world: World, logins: Logins) -> None:
    lease = await start(world)
    at = world.clock() + timedelta(seconds=world.settings.stop_notice_s)
    await gone_and_back(logins, lambda: world.environments.stop(ROOT, "default", owner="ann", why="a repair"))
    assert lease_of(world, lease).until == at
    assert (await world.environments.get(ANN, "default")).stop_at == at


async def test_who_is_back_has_no_more_of_a_gpu_than_its_drain_leaves(world: World, logins: Logins) -> None:
    lease = await start(world)
    by = world.clock() + timedelta(minutes=1)

    async def drain() -> None:
        with world.store.transaction() as session:
            session.get_one(Lease, lease).slices = [{"device": "GPU-0", "first": 0, "size": 1}]
            closures.close(session, "GPU-0", CORDON, DRAIN, world.clock(), "root", until=by)
            closures.end_by(session, "GPU-0", by, world.clock(), "root")

    await gone_and_back(logins, drain)
    assert lease_of(world, lease).until == by


async def test_who_is_back_keeps_an_end_that_was_put_off(world: World, logins: Logins) -> None:
    lease = await start(world)
    was = lease_of(world, lease).until
    assert was is not None

    async def put_off() -> None:
        with world.store.transaction() as session:
            session.get_one(Lease, lease).until = was + timedelta(hours=2)

    await gone_and_back(logins, put_off)
    assert lease_of(world, lease).until == was + timedelta(hours=2)


async def test_after_a_sleep_whose_login_is_over_has_the_notice_too(world: World, logins: Logins) -> None:
    """The hub looks first, and then the portal, whose look puts ends off."""
    waking, holder = Waking(world.settings), "portal"

    def beat() -> object:
        with world.store.transaction() as session:
            lead(session, holder, world.clock())
            return waking.look(session, holder, world.clock())

    lease = await start(world)
    await logins.confirmed("ann", "42", VISION)
    await logins.gone("ann", "disabled")
    world.clock.move(11)  # the one that led until now is gone
    beat()
    world.clock.move(5 * 3600)
    assert await logins.end("ann") is False, "the portal has yet to look"
    assert beat() is not None
    end = world.clock() + timedelta(seconds=world.settings.wake_notice_s)
    assert lease_of(world, lease).until == end
    state = await logins.state("ann")
    assert state is not None
    assert state.ends_at == end
    assert verbs(world)[-1] == "login.put_off"
    assert await logins.due() == []
    assert await logins.end("ann") is False
    for _ in range(world.settings.wake_notice_s // 30):
        world.clock.move(30)
        beat()
    assert await logins.end("ann") is True
    assert lease_of(world, lease).end_reason == "login_ended"


async def test_a_login_is_over_no_sooner_than_what_was_put_off_of_it(world: World, logins: Logins) -> None:
    lease = await start(world)
    await logins.confirmed("ann", "42", VISION)
    await logins.gone("ann", "disabled")
    world.clock.move(world.settings.login_notice_s)
    with world.store.transaction() as session:
        session.get_one(Lease, lease).until = world.clock() + timedelta(minutes=5)
    assert await logins.end("ann") is False
    world.clock.move(300)
    assert await logins.end("ann") is True

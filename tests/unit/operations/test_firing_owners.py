"""Whether the owner of a schedule may still have it run, asked each time it is due."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import select

from dure import wire
from dure.errors import NotReady
from dure.wire.ids import new_id
from dure_hub import accounts
from dure_hub.hubapi import HubApi
from dure_hub.operations.schedule_errors import OwnerLeftTeam, OwnerLostProfile
from dure_hub.owners import DISABLED, LEFT_TEAM, LOST_PROFILE, UNKNOWN, Owners
from dure_hub.settings import Settings
from dure_hub.store.models import Event
from tests.support.schedules import ANA, ask, data, pass_time, shop
from tests.support.workshop import Workshop
from tests.support.world import World

__all__ = ["data", "shop"]


async def test_an_owner_is_who_may_log_in_or_whom_the_hub_knows(world: World) -> None:
    owners = Owners(world.settings, world.hub)
    nobody = HubApi(world.settings, httpx.MockTransport(lambda _: httpx.Response(404)))
    assert await Owners(world.settings, nobody).why_not("ana", None) == UNKNOWN
    world.jupyterhub.users["ana"] = {}
    assert await owners.why_not("ana", None) is None
    world.jupyterhub.away = True
    with pytest.raises(NotReady):
        await owners.why_not("ana", None)
    accounts.add_user(world.settings, "ana", "ana-secret")
    assert await Owners(world.settings, nobody).why_not("ana", None) is None, "before the first login"
    accounts._change(world.settings, "ana", disabled=True)
    assert await owners.why_not("ana", None) == DISABLED
    by_oidc = world.settings.model_copy(update={"auth": "oidc"})
    assert await Owners(by_oidc, nobody).why_not("ana", None) == UNKNOWN, "who logs in otherwise has no account"
    await nobody.close()


def hub_that_knows(settings: Settings, **more: object) -> HubApi:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"name": request.url.path.rpartition("/")[2], "servers": {}, **more})

    return HubApi(settings, httpx.MockTransport(answer))


async def test_an_owner_is_in_the_team_that_pays(world: World) -> None:
    red = Owners(world.settings, hub_that_knows(world.settings, groups=["red"]))
    assert await red.why_not("ana", "red") is None
    assert await red.why_not("ana", None) is None
    assert await red.why_not("ana", "blue") == LEFT_TEAM
    assert await red.why_not("ana", "red", {"red", "blue"}) is None
    assert await red.why_not("ana", "red", {"blue"}) == LOST_PROFILE
    assert (
        await Owners(world.settings, hub_that_knows(world.settings, admin=True)).why_not("ana", None, {"blue"})
        is None
    )
    assert await Owners(world.settings, hub_that_knows(world.settings, admin=True)).why_not("ana", "blue") is None
    accounts.add_user(world.settings, "ana", "ana-secret")
    assert await red.why_not("ana", "red") is None
    assert await red.why_not("ana", None, {"blue"}) == LOST_PROFILE, "also where one logs in by password"
    assert await red.why_not("ana", "blue") == LEFT_TEAM, "also where one logs in by password"
    nobody = HubApi(world.settings, httpx.MockTransport(lambda _: httpx.Response(404)))
    assert await Owners(world.settings, nobody).why_not("ana", "red") == LEFT_TEAM
    accounts._change(world.settings, "ana", admin=True)
    assert await red.why_not("ana", "blue") is None
    accounts._change(world.settings, "ana", disabled=True)
    assert await red.why_not("ana", "red") == DISABLED


async def test_a_schedule_whose_owner_has_left_the_team_is_paused_with_the_reason(
    shop: Workshop, data: Settings
) -> None:
    ana = replace(ANA, teams=frozenset({"red"}))
    await shop.schedules.create(ana, await ask(shop))
    await shop.schedules.create(ana, await ask(shop, name="hourly", team="red", cron="0 0 1 1 *"))

    async def why_not(owner: str, team: str | None, groups: Collection[str]) -> str | None:
        return LEFT_TEAM if (owner, team) == ("ana", "red") else None

    shop.schedules.firing.why_not = why_not
    pass_time(data, 60)
    await shop.schedules.firing.fire()
    execution = await shop.schedules.execution(ANA, "nightly", 1)
    assert execution.state == "failed"
    for language in ("en", "ko"):
        assert "red" in execution.model_dump()["reason_text"][language]
    assert (await shop.schedules.get(ANA, "nightly")).paused
    with pytest.raises(OwnerLeftTeam) as caught:
        await shop.schedules.resume(ANA, "nightly")
    assert (caught.value.status, caught.value.facts) == (409, {"owner": "ana", "team": "red"})
    for language in ("en", "ko"):
        assert "{" not in caught.value.text(language) + caught.value.advice(language)
    with pytest.raises(OwnerLeftTeam):
        await shop.schedules.run_now(ANA, "hourly", wire.RunRequest(id=new_id()))
    assert (await shop.schedules.get(ANA, "hourly")).paused
    with shop.store.reading() as session:
        paused = session.scalars(select(Event).where(Event.verb == "schedule.pause")).all()
    assert [one.verdict["code"] for one in paused] == [LEFT_TEAM, LEFT_TEAM]


async def test_a_schedule_whose_profile_is_for_others_by_now_is_paused_with_the_reason(
    shop: Workshop, data: Settings
) -> None:
    (data.folder.secrets / "portal-token").write_text("the-portal's-token")
    await shop.schedules.create(ANA, await ask(shop))
    shop.schedules.firing.why_not = Owners(shop.settings, hub_that_knows(shop.settings, groups=["red"])).why_not
    file = data.folder.root / "profiles.yaml"
    file.write_text("profiles:\n  cpu:\n    groups: [blue]\n")
    pass_time(data, 60)
    await shop.schedules.firing.fire()
    execution = await shop.schedules.execution(ANA, "nightly", 1)
    assert execution.state == "failed"
    for language in ("en", "ko"):
        assert "cpu" in execution.model_dump()["reason_text"][language]
    assert (await shop.schedules.get(ANA, "nightly")).paused
    with pytest.raises(OwnerLostProfile) as caught:
        await shop.schedules.resume(ANA, "nightly")
    for language in ("en", "ko"):
        assert "{" not in caught.value.text(language) + caught.value.advice(language)

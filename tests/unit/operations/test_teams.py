"""Which team pays for what somebody in several starts, and who may say so."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from dure import wire
from dure.errors import LANGUAGES
from dure.wire.ids import new_id
from dure_hub.operations.people import NameYourTeam, NotYourTeam, Person, charged
from dure_hub.store.models import Environment, Lease, Ticket
from tests.support.world import World

BOTH = frozenset({"red", "blue"})


def test_who_is_in_one_team_or_none_need_not_name_it() -> None:
    assert charged(Person("ann"), None) is None
    assert charged(Person("ann", teams=frozenset({"red"})), None) == "red"
    assert charged(Person("ann", teams=BOTH), "blue") == "blue"
    with pytest.raises(NotYourTeam):
        charged(Person("ann", teams=BOTH), "green")


@pytest.mark.parametrize("admin", [False, True])
def test_who_is_in_several_names_one(admin: bool) -> None:
    with pytest.raises(NameYourTeam) as caught:
        charged(Person("ann", admin, teams=BOTH), None)
    assert (caught.value.code, caught.value.facts["teams"]) == ("name_your_team", "blue, red")
    for language in LANGUAGES:
        assert "blue, red" in caught.value.text(language)
        assert "{" not in caught.value.text(language) + caught.value.advice(language)


def test_what_is_started_from_a_servers_inside_is_its_teams_while_one_is_in_it() -> None:
    assert charged(Person("ann", teams=BOTH, team="red"), None) == "red"
    assert charged(Person("ann", teams=BOTH, team="red"), "blue") == "blue"
    assert charged(Person("ann", teams=frozenset({"blue"}), team="red"), None) == "blue"
    assert charged(Person("root", admin=True, team="red"), None) == "red"
    with pytest.raises(NameYourTeam):
        charged(Person("ann", teams=BOTH, team="green"), None)


async def test_a_start_straight_through_the_hub_is_its_last_teams_and_never_nobodys(world: World) -> None:
    with pytest.raises(NameYourTeam):
        await world.environments.claim("ann", "", None, "cpu", BOTH)
    with world.store.reading() as session:
        for table in (Environment, Ticket):
            assert session.scalars(select(table)).all() == []
    ann = Person("ann", teams=BOTH)
    await world.environments.request(ann, wire.EnvironmentRequest(id=new_id(), profile="cpu", team="red"))
    await world.runs.close()
    grant = await world.environments.claim("ann", "", None, None, BOTH)
    await world.environments.ended(grant.lease, "asked")
    again = await world.environments.claim("ann", "", None, None, BOTH)
    assert again.lease != grant.lease
    with world.store.reading() as session:
        assert session.get_one(Lease, again.lease).team == "red"
    await world.environments.ended(again.lease, "asked")
    with pytest.raises(NameYourTeam):
        await world.environments.claim("ann", "", None, None, {"blue", "green"})

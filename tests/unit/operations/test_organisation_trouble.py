"""What is wrong with one part of the organisation keeps back no other."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from dure import wire
from dure_hub.catalogue.marked import BadFile
from dure_hub.settings import Settings
from dure_hub.store.models import Errand, TeamLead, TeamMember
from tests.support.money import Books
from tests.support.organising import ROOT, Site


@pytest.fixture
async def site(books: Books) -> AsyncIterator[Site]:
    """On either database."""
    made = Site(books)
    yield made
    await made.api.close()


async def test_a_member_whom_the_hub_refuses_keeps_back_nobody_else(site: Site) -> None:
    await site.apply("users: {ana: {}, ben: {}}\nteams: {vision: {members: [ana]}}")
    with site.books.store.transaction() as session:
        session.add(TeamMember(team="vision", name="a/b", leaving=False))  # of before such names were refused
        session.add(TeamMember(team="vision", name="ben", leaving=False))
        session.get_one(TeamMember, ("vision", "ana")).leaving = True
    site.hub.refused = {"a/b"}
    missing = await site.organisation.carry_out()
    assert len(missing) == 1
    assert site.hub.groups == {"vision": {"ben"}}
    assert {row.name for row in site.rows(TeamMember)} == {"a/b", "ben"}
    await site.organisation.put_team(ROOT, "vision", wire.TeamRequest(members=["ben"]))
    assert site.hub.groups == {"vision": {"ben"}}
    assert {row.name for row in site.rows(TeamMember)} == {"ben"}


@pytest.mark.parametrize("name", ["a/b", " x", "x ", "/"])
async def test_a_member_that_the_hub_cannot_know_is_refused(books: Books, name: str) -> None:
    site = Site(books, auth="ldap", ldap_groups="none")
    with pytest.raises(BadFile, match="JupyterHub") as caught:
        await site.organisation.put_team(ROOT, "vision", wire.TeamRequest(members=["ana", name]))
    assert name in caught.value.text("en")
    assert site.rows(TeamMember) == []
    await site.api.close()


async def test_a_team_is_changed_whatever_is_wrong_with_another(site: Site) -> None:
    await site.apply("users: {ana: {}}\nteams: {red: {members: [ana]}, blue: {}}")
    with site.books.store.transaction() as session:
        session.add(TeamLead(team="red", name="zoe"))  # a lead who is no member
    await site.organisation.put_team(ROOT, "blue", wire.TeamRequest(members=["ana"]))
    assert site.hub.groups == {"red": {"ana"}, "blue": {"ana"}}
    await site.organisation.put_team(ROOT, "blue", None)
    assert [team.name for team in await site.organisation.teams(ROOT)] == ["red"]
    with pytest.raises(BadFile, match="lead"):
        await site.organisation.put_team(ROOT, "red", wire.TeamRequest(members=["ana"], leads=["zoe"]))


async def test_members_of_before_the_provider_had_them_are_in_nobodys_way(books: Books, monkeypatch: Any) -> None:
    monkeypatch.setattr(Settings, "groups_managed", property(lambda self: True))
    site = Site(books)
    await site.apply("teams: {red: {}, blue: {}}")
    with site.books.store.transaction() as session:
        session.add(TeamMember(team="red", name="ana", leaving=False))
    assert [team.members for team in await site.organisation.teams(ROOT)] == [[], []]
    await site.organisation.put_team(ROOT, "blue", wire.TeamRequest(leads=["ben"]))
    await site.organisation.put_team(ROOT, "red", wire.TeamRequest(leads=["ben"]))
    assert [row.name for row in site.rows(TeamMember)] == ["ana"], "kept for a portal that says so again"
    await site.organisation.put_team(ROOT, "red", None)
    assert [team.name for team in await site.organisation.teams(ROOT)] == ["blue"]
    await site.api.close()


@pytest.mark.parametrize("busy", ["bring", "_done", "groups"])
async def test_a_database_that_somebody_holds_delays_only_what_it_must(
    site: Site, monkeypatch: Any, busy: str
) -> None:
    """SQLite's own words for a lock that another process holds for longer than one waits."""

    def held(*_: Any, **__: Any) -> None:
        raise OperationalError("UPDATE secrets", {}, sqlite3.OperationalError("database is locked"))

    bring = site.people.bring
    with monkeypatch.context() as patch:
        if busy == "bring":
            patch.setattr(
                site.people, "bring", lambda name, *more: held() if name == "ana" else bring(name, *more)
            )
        else:
            place = "organisation._done" if busy == "_done" else "groups._known"
            patch.setattr(f"dure_hub.operations.{place}", held)
        done = await site.apply("users: {ana: {}, ben: {}}\nteams: {vision: {members: [ben]}}")
        assert done.applied
        said = {one["en"].partition(";")[0].rstrip(".") for one in done.waiting}
        store = busy != "bring"  # which has words of its own for it
        words = "the store does not answer" if store else "The portal's database could not be written"
        assert said == {f"{words} right now"}
        assert all("secrets" not in text for one in done.waiting for text in one.values())
        assert "ben" in site.people.accounts
        assert (site.hub.groups == {"vision": {"ben"}}) is (busy != "groups")
    assert await site.organisation.carry_out() == []
    assert site.rows(Errand) == []
    assert sorted(site.people.accounts) == ["ana", "ben", "root"]
    assert site.hub.groups == {"vision": {"ben"}}

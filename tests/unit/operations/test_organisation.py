"""The organisation in a real store: applied whole or not at all, carried out after a kill, the same on export."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from dure import wire
from dure.errors import LANGUAGES, NotAllowed
from dure_hub.backends.base import Inventory
from dure_hub.catalogue.marked import BadFile
from dure_hub.catalogue.rates import BadRates
from dure_hub.hubapi import HubApi
from dure_hub.operations.errors import NoSuchProfile, ProfileNotForYou
from dure_hub.operations.groups import TeamGroups
from dure_hub.operations.organisation import Organisation
from dure_hub.operations.organisation_errors import OrganisationChanged, TextOrValues
from dure_hub.operations.people import Person
from dure_hub.operations.profiles import Profiles
from dure_hub.settings import Settings
from dure_hub.store.models import Errand, Event, Lease, Quota, TeamLead, TeamMember
from tests.support.money import Books
from tests.support.world import FixedInventory, gpus

ROOT, ANA = Person("root", admin=True), Person("ana", teams=frozenset({"vision"}))
EXAMPLE = Path(__file__).parents[3] / "docs" / "organisation.md"


@dataclass
class GroupHub:
    """The hub's groups, in the shapes of its API."""

    groups: dict[str, set[str]] = field(default_factory=dict)
    users: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    """Names that it takes for nobody's."""
    away: bool = False
    dies_after: int | None = None
    """So many writes are answered, and then it is away: as where the portal is killed in between."""

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        if request.method != "GET" and self.dies_after is not None:
            self.dies_after -= 1
            self.away = self.away or self.dies_after < 0
        if self.away:
            raise httpx.ConnectError("refused", request=request)
        _, kind, *rest = request.url.path.removeprefix("/hub/api").split("/")
        if kind == "users" and unquote("/".join(rest)) in self.refused:
            return httpx.Response(400, json={"message": "Invalid username"})
        if kind == "users":
            self.users.add(rest[0])
            return httpx.Response(201, json={})
        if not rest:
            return httpx.Response(200, json=[{"name": n, "users": sorted(u)} for n, u in self.groups.items()])
        return self._group(request, rest[0], rest[1:] == ["users"])

    def _group(self, request: httpx.Request, name: str, of_users: bool) -> httpx.Response:
        if not of_users and request.method == "POST":
            if name in self.groups:
                return httpx.Response(409, json={"message": "exists"})
            self.groups[name] = set()
            return httpx.Response(201, json={})
        if name not in self.groups:
            return httpx.Response(404, json={"message": "No such group"})
        if not of_users:
            del self.groups[name]
            return httpx.Response(204)
        people = set(httpx.Response(200, content=request.content).json()["users"])
        if people - self.users:
            return httpx.Response(400, json={"message": f"No such user: {min(people - self.users)}"})
        self.groups[name] = self.groups[name] | people if request.method == "POST" else self.groups[name] - people
        return httpx.Response(200, json={})


@dataclass
class MemoryPeople:
    """Accounts by name."""

    accounts: dict[str, dict[str, bool]]
    brought: list[str] = field(default_factory=list)

    def listed(self) -> dict[str, dict[str, bool]]:
        """All."""
        return self.accounts

    def bring(self, name: str, administrator: bool, disabled: bool) -> None:
        """As decided."""
        self.accounts[name] = {"administrator": administrator, "disabled": disabled}
        self.brought.append(name)


class Site:
    """The operation on a store with a hub beside it."""

    def __init__(self, books: Books, **more: Any) -> None:
        self.books, self.folder = books, books.settings.folder
        self.settings = books.settings.model_copy(update=more)
        place = FixedInventory(Inventory(cpu_cores=8, memory_mb=32768, devices=tuple(gpus(2))))
        self.profiles = Profiles(self.settings, books.store, books.clock, place)
        self.hub = GroupHub()
        (self.folder.secrets / "portal-token").write_text("secret")
        self.api = HubApi(self.settings, httpx.MockTransport(self.hub.answer))
        self.people = MemoryPeople({"root": {"administrator": True, "disabled": False}})
        self.organisation = self.started()

    def started(self) -> Organisation:
        """A portal's own, as after a restart."""
        groups = TeamGroups(self.settings, self.books.store, self.books.clock, self.api)
        made = Organisation(self.settings, self.books.store, self.books.clock, self.profiles, groups)
        made.people = self.people
        return made

    async def apply(self, text: str, **more: Any) -> wire.OrganisationDiff:
        """As an administrator does."""
        return await self.organisation.put(ROOT, wire.OrganisationRequest(text=text, **more))

    def events(self, verb: str) -> list[str]:
        """Whose events of this kind there are, in order."""
        with self.books.store.reading() as session:
            query = select(Event.object).where(Event.verb == verb).order_by(Event.id)
            return list(session.scalars(query))

    def rows(self, kind: Any) -> list[Any]:
        """Every row of a kind."""
        with self.books.store.reading() as session:
            return list(session.scalars(select(kind)))


@pytest.fixture
async def site(books: Books) -> AsyncIterator[Site]:
    """On either database."""
    made = Site(books)
    yield made
    await made.api.close()


def example() -> str:
    """The complete example of the documentation."""
    found = re.search(r"```yaml\n(users:.*?)```", EXAMPLE.read_text(), flags=re.DOTALL)
    assert found is not None
    return found.group(1)


async def test_the_example_is_applied_once_and_its_export_changes_nothing(site: Site) -> None:
    looked = await site.apply(example(), dry_run=True)
    assert not looked.applied
    assert looked.changes
    assert site.rows(Quota) == site.rows(Errand) == site.rows(Event) == []
    done = await site.apply(example(), base=(await site.organisation.get(ROOT)).revision)
    assert (done.changes, done.revision, done.waiting) == (looked.changes, looked.revision, [])
    assert site.hub.groups == {"vision": {"ana", "ben"}}
    assert {row.name: row.gpus for row in site.rows(Quota)} == {"*": 1, "ana": 2, "vision": 4}
    assert sorted(site.people.accounts) == ["ana", "ben", "root"]
    assert [note["en"].split()[0] for note in done.notes] == ["ana", "ben"]
    assert (await site.apply(example())).changes == []
    exported = await site.organisation.get(ROOT)
    assert (await site.apply(exported.text)).changes == []
    values = wire.OrganisationRequest(organisation=exported.organisation)
    assert (await site.organisation.put(ROOT, values)).changes == []
    assert site.events("organisation.apply") == ["organisation"]
    assert site.events("team.set") == ["team:vision"]


async def test_who_is_no_administrator_sees_and_changes_nothing(site: Site) -> None:
    for ask in (
        site.organisation.get(ANA),
        site.organisation.put(ANA, wire.OrganisationRequest(text="teams: {}")),
        site.organisation.put_team(ANA, "vision", wire.TeamRequest()),
    ):
        with pytest.raises(NotAllowed):
            await ask


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("quotas:\n  users: {ana: {gpus: 1}}\nteams:\n  red: {leads: [ana]}\n", 4),
        ("quotas:\n  users: {ana: {gpus: 1}}\nusers:\n  root: {administrator: false}\n", 3),
        ("quotas:\n  users: {ana: {gpus: 1}}\nrates:\n  - {gpu: abacus, rate: 1}\n", 4),
        ("quotas:\n  users: {ana: {gpus: 1}}\nrates:\n- {gpu: h100-sxm-80, rate: 1, since: 2026-01-01}\n", 4),
        ("quotas: {users: {ana: {}}}\nprofiles:\n cpu:\n  max_lifetime_s: 600\n  default_lifetime_s: 900", 5),
        ("quotas:\n  users:\n    ana: {gpus: one}\n", 3),
    ],
)
async def test_a_bad_line_is_named_and_nothing_is_changed(site: Site, text: str, line: int) -> None:
    with pytest.raises(BadFile) as caught:
        await site.apply(text)
    assert caught.value.facts["line"] == line
    assert {language: str(line) in caught.value.text(language) for language in LANGUAGES} == {
        "en": True,
        "ko": True,
    }
    assert site.rows(Quota) == site.rows(Errand) == site.rows(Event) == []
    assert not site.folder.rates.exists()


async def test_a_fault_in_the_middle_of_applying_leaves_nothing_half(site: Site, monkeypatch: Any) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the machine is on fire")

    monkeypatch.setattr("dure_hub.operations.organisation_rows.set_budget", broken)
    with pytest.raises(RuntimeError):
        await site.apply(example())
    assert site.rows(Quota) == site.rows(TeamMember) == site.rows(Errand) == []
    assert site.hub.groups == {}


async def test_a_stale_base_is_refused_and_two_at_once_are_one_after_the_other(site: Site) -> None:
    base = (await site.organisation.get(ROOT)).revision
    await site.apply("quotas: {users: {ana: {gpus: 1}}}", base=base)
    with pytest.raises(OrganisationChanged):
        await site.apply("quotas: {users: {ana: {gpus: 2}}}", base=base)
    assert (await site.apply("quotas: {users: {ana: {gpus: 1}}}", base=base)).changes == []
    whole = [f"quotas: {{users: {{ana: {{gpus: {n}}}, ben: {{gpus: {n}}}}}}}" for n in range(3, 9)]
    await asyncio.gather(*(site.apply(text) for text in whole))
    assert len({row.gpus for row in site.rows(Quota)}) == 1
    with pytest.raises(TextOrValues):
        await site.organisation.put(ROOT, wire.OrganisationRequest())


@pytest.mark.parametrize("writes", range(5))
async def test_what_a_kill_cut_off_is_carried_out_by_the_next_portal(site: Site, writes: int) -> None:
    site.hub.groups, site.hub.users = {"old": {"zoe"}}, {"zoe"}
    await site.organisation.look()
    site.hub.dies_after = writes
    done = await site.apply("users: {ana: {}, ben: {}}\nteams: {vision: {members: [ana, ben]}}")
    assert done.waiting
    assert "JupyterHub" in done.waiting[-1]["en"]
    assert [one.name for one in (await site.organisation.teams(ROOT))] == ["vision"]
    site.hub.away, site.hub.dies_after = False, None
    await site.started().look()
    assert site.hub.groups == {"vision": {"ana", "ben"}}
    assert {row.name for row in site.rows(TeamMember)} == {"ana", "ben"}
    assert (await site.apply("teams: {vision: {members: [ana, ben]}}")).changes == []


async def test_groups_of_the_hub_are_taken_over_and_a_team_of_ours_is_put_right(site: Site) -> None:
    site.hub.groups, site.hub.users = {"red": {"zoe"}, "blue": set()}, {"zoe"}
    await site.organisation.look()
    assert {team.name: team.members for team in await site.organisation.teams(ROOT)} == {
        "red": ["zoe"],
        "blue": [],
    }
    assert sorted(site.events("team.take_over")) == ["team:blue", "team:red", "team:red"]
    assert (await site.apply((await site.organisation.get(ROOT)).text)).changes == []
    site.hub.groups["red"] = {"yan"}  # somebody was taken out and somebody put in by hand
    await site.organisation.look()
    assert site.hub.groups == {"red": {"zoe", "yan"}, "blue": set()}
    del site.hub.groups["red"]  # a hub's database from before
    await site.organisation.look()
    assert site.hub.groups["red"] == {"zoe", "yan"}
    await site.apply("teams: {red: {members: [zoe]}}")
    assert site.hub.groups == {"red": {"zoe"}}
    await site.organisation.put_team(ROOT, "red", None)
    assert site.hub.groups == {}
    assert await site.organisation.teams(ROOT) == []


async def test_where_the_login_has_the_groups_the_hub_is_left_alone(books: Books, monkeypatch: Any) -> None:
    monkeypatch.setattr(Settings, "groups_managed", property(lambda self: True))
    site = Site(books)
    site.hub.groups = {"vision": {"ana"}}
    with pytest.raises(BadFile, match="login provider"):
        await site.apply("teams:\n  vision: {members: [ana]}\n")
    await site.apply("teams:\n  vision: {leads: [ana], projects: [maps]}\n")
    assert site.hub.groups == {"vision": {"ana"}}
    exported = (await site.organisation.get(ROOT)).text
    assert "members" not in exported
    assert (await site.apply(exported)).changes == []
    await site.api.close()


async def test_a_new_rate_counts_for_what_is_granted_from_then_on(site: Site) -> None:
    running = site.books.lease(at_h=1, hours=None)
    await site.apply("rates:\n  - {gpu: h100-sxm-80, rate: 99}\n  - {gpu: cpu, rate: 1, since: 2026-02-01}\n")
    assert "rate: 99" in site.folder.rates.read_text()
    with site.books.store.reading() as session:
        assert session.get_one(Lease, running).rate == 8_000_000
    assert (await site.apply((await site.organisation.get(ROOT)).text)).changes == []
    again = await site.apply("rates: []")  # what has begun stays, what is to come goes
    assert [(one.name, one.before) for one in again.changes] == [("cpu", {"2026-02-01": 1_000_000})]


async def test_a_profile_for_a_team_is_offered_to_it_alone(site: Site) -> None:
    await site.apply(
        "profiles:\n  gpu-full: {groups: [vision], price: 3.5}\n  cpu: {offered: false}\n"
        "  small: {like: cpu, cpu_cores: 0.25, max_lifetime_s: 600}\n"
    )
    fleet = await site.profiles.fleet()
    assert list(fleet.profiles) == ["gpu-full", "gpu-full-x2", "small"]
    assert fleet.picked("gpu-full", ANA).rate == 3_500_000
    small = fleet.picked("small", ANA)
    assert (small.cpu_cores, small.max_lifetime_s, small.default_lifetime_s) == (0.25, 600, 600)
    assert "0.25 cores" in small.description["en"]
    stranger = Person("ben", teams=frozenset({"red"}))
    assert [one.name for one in await site.profiles.list(stranger)] == ["gpu-full-x2", "small"]
    with pytest.raises(ProfileNotForYou, match="vision"):
        fleet.picked("gpu-full", stranger)
    with pytest.raises(NoSuchProfile) as unknown:
        fleet.picked("cpu", stranger)
    assert unknown.value.facts["offered"] == "gpu-full-x2, small"


async def test_how_gpus_are_given_acts_without_a_restart(site: Site) -> None:
    assert "gpu-shared" not in (await site.profiles.fleet()).profiles
    await site.apply("devices: {gpu_sharing: time-slice, gpu_replicas: 3, share_across_teams: true}")
    fleet = await site.profiles.fleet()
    assert (fleet.profiles["gpu-shared"].share, fleet.rules.share_across_teams) == (333, True)


async def test_an_edit_by_hand_acts_and_a_broken_one_leaves_the_last_good(site: Site) -> None:
    site.folder.profiles.write_text("profiles:\n  cpu: {cpu_cores: 2}\n")
    assert (await site.profiles.fleet()).profiles["cpu"].cpu_cores == 2
    site.folder.profiles.write_text("profiles:\n  cpu: {cpu_cores: lots}\n")
    site.books.clock.move(11)
    assert (await site.profiles.fleet()).profiles["cpu"].cpu_cores == 2
    fresh = Site(site.books)  # a portal that was started since
    assert (await fresh.profiles.fleet()).profiles["cpu"].cpu_cores == 2
    await fresh.api.close()
    with pytest.raises(BadFile, match="line 2"):  # nobody's edit is written over
        await site.apply("profiles: {}")
    site.folder.profiles.unlink()
    site.books.clock.move(11)
    assert (await site.profiles.fleet()).profiles["cpu"].cpu_cores == 2
    site.folder.rates.write_text("- {gpu: cpu}\n")
    with pytest.raises(BadRates, match="line 1"):
        await site.apply("rates:\n  - {gpu: cpu, rate: 1}\n")


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

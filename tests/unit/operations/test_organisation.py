"""The organisation in a real store: applied whole or not at all, carried out after a kill, the same on export."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dure import wire
from dure.errors import LANGUAGES, NotAllowed
from dure_hub.catalogue.marked import BadFile
from dure_hub.catalogue.rates import BadRates
from dure_hub.operations.errors import NoSuchProfile, ProfileNotForYou
from dure_hub.operations.organisation_errors import OrganisationChanged, TextOrValues
from dure_hub.operations.people import Person
from dure_hub.settings import Settings
from dure_hub.store.models import Errand, Event, Lease, Quota, TeamMember
from tests.support.money import Books
from tests.support.organising import ROOT, Site

ANA = Person("ana", teams=frozenset({"vision"}))
EXAMPLE = Path(__file__).parents[3] / "docs" / "organisation.md"


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
    assert sorted(site.people.accounts) == ["admin", "ana", "ben", "root"]
    assert [note["en"].split()[0] for note in done.notes] == ["admin", "ana", "ben"]
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

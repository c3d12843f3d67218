"""The organisation in a whole portal: one file makes teams, limits, rates, profiles, and a kill undoes nothing."""

from __future__ import annotations

import json
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from dure.wire.ids import new_id
from tests.e2e.portal import Portal, free_port, until
from tests.support.short_portal import ShortPortal

pytestmark = pytest.mark.timeout(600)
STUB = Path(__file__).parents[1] / "support" / "stub_server.py"
ORGANISATION = """\
users:
  ana: {}
  ben: {}
  zoe: {}
teams:
  vision: {members: [ana, ben], leads: [ana], projects: [maps]}
  audio: {members: [zoe]}
quotas:
  users:
    "*": {gpus: 1}
budgets:
  teams: {vision: 1000}
rates:
  - {gpu: rtx-4090, rate: 2, since: 2026-01-01}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShortPortal]:
    """A portal with two simulated GPUs and its first administrator; people's servers are small."""
    made = ShortPortal(
        tmp_path_factory.mktemp("organisation") / "data",
        free_port(),
        {
            "DURE_LANGUAGE": "en",
            "DURE_SIMULATED_FLEET": "workstation",
            "DURE_LOOK_INTERVAL_S": "0.3",
            "DURE_BEFORE_STOP_S": "0",
            "DURE_WARM_STARTS": "false",
            "DURE_SERVER_COMMAND": json.dumps([sys.executable, "-I", "-S", str(STUB)]),
        },
    )
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def admin(site: ShortPortal) -> Portal:
    """The `dure` command as the administrator has it."""
    environment = {"DURE_LANGUAGE": "en", "DURE_URL": site.url, "DURE_TOKEN": site.token("admin")}
    return replace(Portal(site.data, site.port), environment=environment)


@pytest.fixture(scope="module")
def applied(site: ShortPortal, admin: Portal) -> str:
    """What the first `dure apply` says."""
    file = site.data.with_name("org.yaml")
    file.write_text(ORGANISATION)
    looked = admin.dure("apply", "-f", str(file), "--dry-run")
    assert "Nothing was changed yet" in looked
    assert hub_groups(site) == {}
    done = admin.dure("apply", "-f", str(file))
    for name in ("ana", "ben", "zoe"):
        site.dure("user", "reset", name, "--password-stdin", feed=f"{name}-secret-{site.port}\n")
    return done


@pytest.fixture(scope="module")
def people(site: ShortPortal, admin: Portal, applied: str) -> Iterator[dict[str, httpx.Client]]:
    """The API as each of them."""
    made = {name: site.client(name) for name in ("ana", "ben", "zoe")}
    made["root"] = httpx.Client(
        base_url=f"{site.url}/api/v1",
        headers={"Authorization": f"Bearer {admin.environment['DURE_TOKEN']}"},
        timeout=60,
    )
    yield made
    for client in made.values():
        client.close()


def changed(people: dict[str, httpx.Client], text: str) -> list[dict[str, Any]]:
    """What applying this text changes."""
    answer = people["root"].put("/organisation", json={"text": text})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["changes"]
    return found


def hub_groups(site: ShortPortal) -> dict[str, set[str]]:
    """What the hub itself says."""
    token = (site.data / "secrets" / "portal-token").read_text().strip()
    url = f"http://127.0.0.1:{site.settings['hub_port']}/hub/api/groups"
    answer = httpx.get(url, headers={"Authorization": f"token {token}"}, timeout=30)
    return {one["name"]: set(one["users"]) for one in answer.raise_for_status().json()}


def start(client: httpx.Client, profile: str = "cpu", **more: Any) -> dict[str, Any]:
    """A server that runs."""
    made = client.post("/environments", json={"id": new_id(), "profile": profile, **more})
    assert made.status_code == 202, made.text
    found = until(lambda: running(client), "the server to run")
    assert found is not None
    return found


def running(client: httpx.Client) -> dict[str, Any] | None:
    found: dict[str, Any] = client.get("/environments/default").json()
    return found if found.get("phase") == "running" else None


def ended(client: httpx.Client) -> dict[str, Any] | None:
    found: dict[str, Any] = client.get("/environments/default").json()
    return found if found["phase"] == "stopped" else None


def offered(client: httpx.Client) -> set[str]:
    return {one["name"] for one in client.get("/profiles").json()}


def test_the_first_start_wrote_profiles_that_are_ready_to_be_edited(site: ShortPortal) -> None:
    text = (site.data / "profiles.yaml").read_text()
    for word in ("  gpu-full:", "  cpu:", "    # price: 2", "    # max_lifetime_s: 43200", "    groups: []"):
        assert word in text, text


def test_one_file_makes_groups_and_limits_and_applying_it_again_changes_nothing(
    site: ShortPortal, admin: Portal, applied: str, people: dict[str, httpx.Client]
) -> None:
    assert "+ team vision: members ana ben, leads ana, projects maps" in applied
    assert "dure user reset ana" in applied
    assert hub_groups(site) == {"vision": {"ana", "ben"}, "audio": {"zoe"}}
    exported = site.data.with_name("export.yaml")
    admin.dure("export", "-o", str(exported))
    assert "Nothing to change" in admin.dure("apply", "-f", str(exported), "--check")
    assert changed(people, ORGANISATION) == []
    refused = people["ana"].post("/environments", json={"id": new_id(), "profile": "gpu-full-x2"})
    assert refused.json()["error"]["code"] == "quota_too_small", refused.text
    assert people["ana"].get("/me").json()["leads"] == ["vision"]


def test_a_bad_file_names_its_line_and_changes_nothing(
    site: ShortPortal, admin: Portal, people: dict[str, httpx.Client]
) -> None:
    bad = site.data.with_name("bad.yaml")
    bad.write_text("quotas:\n  users:\n    ana: {gpus: 8}\nteams:\n  vision:\n    members: [ana, nobody]\n")
    said = admin.dure("apply", "-f", str(bad), check=False)
    assert "line 6: teams.vision.members[2] = nobody" in said
    (own, *_) = people["ana"].get("/quotas").json()
    assert (own["gpus"], hub_groups(site)["vision"]) == (1, {"ana", "ben"})


def test_a_lead_ends_a_members_server_and_no_other_teams(people: dict[str, httpx.Client]) -> None:
    ana, ben, zoe = people["ana"], people["ben"], people["zoe"]
    start(ben)
    start(zoe)
    seen = ana.get("/environments", params={"team": "vision"}).json()
    assert [(one["owner"], one["phase"]) for one in seen] == [("ben", "running")]
    stop = {"owner": "ben", "reason": "the room is needed", "now": "true"}
    assert ana.delete("/environments/default", params=stop).status_code == 204
    stopped = until(lambda: ended(ben), "ben's server to end")
    assert stopped is not None
    assert stopped["reason"] == "A lead of its team stopped it (ana: the room is needed)."
    assert ana.delete("/environments/default", params={"owner": "zoe"}).status_code == 403
    assert running(zoe)
    assert ana.put("/quotas", json={"kind": "team", "name": "vision", "gpus": 9}).status_code == 403


def test_a_new_rate_prices_nothing_anew(people: dict[str, httpx.Client]) -> None:
    ben = people["ben"]
    assert start(ben, "gpu-full")["lease"]["rate"] == 2_000_000
    assert [one["name"] for one in changed(people, "rates: [{gpu: rtx-4090, rate: 7}]")] == ["rtx-4090"]
    assert ben.get("/environments/default").json()["lease"]["rate"] == 2_000_000
    ben.delete("/environments/default")
    until(lambda: ended(ben), "its end")
    assert start(ben, "gpu-full")["lease"]["rate"] == 7_000_000
    ben.delete("/environments/default")
    until(lambda: ended(ben), "its end")


def test_an_edit_of_the_profiles_acts_without_a_restart_and_a_broken_one_does_not(
    site: ShortPortal, people: dict[str, httpx.Client]
) -> None:
    file, ben, zoe = site.data / "profiles.yaml", people["ben"], people["zoe"]
    text = file.read_text()
    assert text.index("  gpu-full:") < text.index("  gpu-full-x2:")
    assert "gpu-full" in offered(zoe)
    file.write_text(text.replace("groups: []", "groups: [vision]", 1))
    until(lambda: "gpu-full" not in offered(zoe), "gpu-full to be away for zoe", timeout=30)
    assert "gpu-full" in offered(ben)
    refused = zoe.post("/environments", json={"id": new_id(), "name": "other", "profile": "gpu-full"})
    assert refused.json()["error"]["code"] == "profile_not_for_you"
    file.write_text(text.replace("  cpu:", "  cpu:\n    cpu_cores: none\n  more:", 1))
    line = text[: text.index("  cpu:")].count("\n") + 2
    assert f"line {line}" in site.dure("doctor", check=False)
    assert f"line {line}" in site.dure("status", check=False)
    log = site.data / "log" / "portal.log"
    until(lambda: offered(zoe) and f"line {line}" in log.read_text(), "the log to name the line", timeout=30)
    assert "gpu-full" not in offered(zoe)
    file.write_text(text)
    until(lambda: "gpu-full" in offered(zoe), "gpu-full to be back", timeout=30)


def test_what_is_applied_while_the_hub_is_silent_survives_a_kill_of_the_portal(
    site: ShortPortal, people: dict[str, httpx.Client]
) -> None:
    text = "teams:\n  vision: {members: [ana, ben, zoe], leads: [ana]}\n  night: {members: [zoe]}\n"
    hub, portal = site.service("hub"), site.service("portal")
    assert people["root"].get("/me").status_code == 200  # whom the hub has just vouched for is known without it
    hub.send_signal(signal.SIGSTOP)  # it does not answer, and is not restarted
    try:
        with pytest.raises(httpx.TimeoutException):
            people["root"].put("/organisation", json={"text": text}, timeout=10)
        portal.kill()
    finally:
        hub.send_signal(signal.SIGCONT)
    wanted = {"vision": {"ana", "ben", "zoe"}, "night": {"zoe"}}
    until(lambda: hub_groups(site) == wanted, lambda: f"{wanted}; it is {hub_groups(site)}", timeout=90)
    until(lambda: people["root"].get("/me").status_code == 200, "the new portal")
    assert changed(people, text) == []


def test_what_is_applied_while_the_hub_is_killed_is_in_the_hub_once_it_is_back(
    site: ShortPortal, people: dict[str, httpx.Client]
) -> None:
    text = (
        "teams:\n  vision: {members: [ana, ben], leads: [ana]}\n  night: {members: [zoe]}\n"
        "  dawn: {members: [ben, zoe]}\n"
    )
    wanted = {"vision": {"ana", "ben"}, "night": {"zoe"}, "dawn": {"ben", "zoe"}}
    hub, portal = site.service("hub"), site.service("portal")
    assert hub_groups(site) != wanted
    assert people["root"].get("/me").status_code == 200
    hub.send_signal(signal.SIGSTOP)  # so that what is asked of it is on its way when it is killed
    try:
        with pytest.raises(httpx.TimeoutException):
            people["root"].put("/organisation", json={"text": text}, timeout=10)
        assert members(site, "dawn") == {"ben", "zoe"}, "it is in the store"
    finally:
        hub.kill()
    until(lambda: known_groups(site) == wanted, lambda: f"{wanted}; it is {known_groups(site)}", timeout=90)
    assert site.pid("hub") != hub.pid
    assert site.service("portal") == portal, "it is the same portal that brings what it could not"
    assert changed(people, text) == []
    leading = people["ana"].get("/environments", params={"team": "vision"})
    assert leading.status_code == 200


def members(site: ShortPortal, team: str) -> set[str]:
    """Who is in a team, by the portal's own database."""
    with closing(sqlite3.connect(site.data / "db" / "dure.sqlite", timeout=30)) as database:
        rows = database.execute("SELECT name FROM team_members WHERE team = ? AND NOT leaving", (team,))
        return {name for (name,) in rows}


def known_groups(site: ShortPortal) -> dict[str, set[str]] | None:
    """The hub's groups; None while it does not answer."""
    try:
        return hub_groups(site)
    except httpx.HTTPError:
        return None


def test_who_is_disabled_by_the_file_is_out_and_their_server_ends(
    site: ShortPortal, people: dict[str, httpx.Client]
) -> None:
    zoe, root = people["zoe"], people["root"]
    if running(zoe) is None:
        start(zoe, team="night")
    (change,) = changed(people, "users:\n  zoe: {disabled: true}\n")
    assert (change["name"], change["field"], change["after"]) == ("zoe", "disabled", True)
    until(lambda: zoe.get("/me").status_code == 401, "zoe's token to end", timeout=30)
    server = {"owner": "zoe"}
    until(
        lambda: root.get("/environments/default", params=server).json()["phase"] == "stopped",
        "zoe's server to end",
    )
    assert "zoe (disabled)" in site.dure("user", "list")

"""From the data folder of the previous release to a restored portal: everything that people had is there.

The tests of this module are one story, in order: upgraded by `up`, used, backed up while up, wiped, restored.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from dure.wire.ids import new_id
from dure_hub import accounts
from dure_hub.settings import load_settings
from dure_hub.store.migrations import HEAD
from tests.e2e.portal import make_portal, until
from tests.support import lived_in
from tests.support.lived_in import NOTES, WIDE

pytestmark = pytest.mark.timeout(600)
PREVIOUS = Path(__file__).parents[1] / "data" / "dure-0.1.0-0006.tar.xz"
WAITING = [("dan", "third"), ("eve", "fourth"), ("dan", "fifth"), ("eve", "sixth")]
"""Of people who have used nothing yet: by any rule they come in this order."""
KEPT = {
    "tickets": "id, owner, subject, profile, asked_at FROM tickets WHERE state = 'waiting' ORDER BY asked_at, id",
    "leases": "id, owner, subject, profile, slices, granted_at, until, ended_at FROM leases ORDER BY id",
    "schedules": "id, owner, name, cron, timezone, next_at FROM schedules ORDER BY id",
    "endpoints": "id, owner, name FROM endpoints ORDER BY id",
    "environments": "id, owner, name, lease_id FROM environments ORDER BY id",
}
"""What is in a backup to the letter."""
LARGE = 64 * 2**20
DAY, WHILE_AWAY = 86400.0, 900.0


class Story:
    """The portal, and what must be there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.expected = lived_in.unpack(PREVIOUS, folder)
        self.portal = make_portal(folder, **lived_in.environment(folder / "clock"))
        self.file = folder / "backup.tar.gz"
        self.backed_up_at = 0.0
        self.line: list[str] = []
        self.kept: dict[str, list[Any]] = {}

    def client(self, name: str) -> httpx.Client:
        """With the token that was made before everything else."""
        headers = {"Authorization": f"Bearer {self.expected['tokens'][name]}"}
        return httpx.Client(base_url=f"{self.portal.url}/api/v1", headers=headers, timeout=60)

    def get(self, name: str, path: str) -> Any:
        """What the API tells this person."""
        with self.client(name) as client:
            return client.get(path).raise_for_status().json()

    def phase(self, owner: str, name: str) -> str:
        """Of one server."""
        return str(self.get(owner, f"/environments/{name}")["phase"])

    def rows(self, query: str) -> list[Any]:
        """From the portal's own database."""
        with closing(sqlite3.connect(self.portal.data / "db" / "dure.sqlite", timeout=30)) as connection:
            return connection.execute(query).fetchall()

    def keeps(self) -> dict[str, list[Any]]:
        """The rows of what people have."""
        return {name: self.rows(f"SELECT {query}") for name, query in KEPT.items()}

    def move_clock(self, seconds: float) -> None:
        """Later by so much."""
        clock = self.folder / "clock"
        clock.write_text(str(float(clock.read_text()) + seconds))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Not up yet; down at the end, whatever has happened."""
    made = Story(tmp_path_factory.mktemp("b"))
    try:
        yield made
    finally:
        if (made.portal.data / "run" / "settings.json").exists():
            made.portal.down()


def everything_is_there(story: Story) -> None:
    """What the people of the previous release had: accounts, tokens, homes, schedule, model, endpoint."""
    settings = load_settings(story.portal.data)
    for name, password in story.expected["passwords"].items():
        assert accounts.check_password(settings, name, password) is not None, name
        assert story.get(name, "/me")["name"] == name
    for name in ("ana", "ben"):
        home = story.portal.data / "users" / name
        assert (home / "work" / "notes.txt").read_text() == NOTES + name
        assert json.loads((home / "work" / "노트.ipynb").read_text())["nbformat"] == 4
        assert (home / "work" / "empty").is_dir()
        assert stat.S_IMODE((home / "run.sh").stat().st_mode) == 0o700
        assert [str((home / link).readlink()) for link in ("latest", "datasets")] == [
            "work/notes.txt",
            "/usr/share",
        ]
    (nightly,) = story.get("ana", "/schedules")
    assert (nightly["name"], nightly["cron"]) == ("nightly", lived_in.CRON)
    (version,) = story.get("ana", "/models/digits/versions")
    assert (version["version"], version["run_id"]) == (1, story.expected["model"]["run_id"])
    assert story.get("ana", "/training/jobs/digits-1")["state"] == "succeeded"
    assert lived_in.ask(story.portal, story.expected["tokens"]["ana"]) == story.expected["answer"]


def test_up_upgrades_the_folder_of_the_previous_release_and_everything_is_there(story: Story) -> None:
    assert story.rows("SELECT version_num FROM alembic_version") == [("0006",)]
    said = story.portal.up()
    assert "a copy goes to" in said
    assert story.rows("SELECT version_num FROM alembic_version") == [(HEAD,)]
    (before,) = (story.portal.data / "backup").iterdir()
    with closing(sqlite3.connect(before / "dure.sqlite")) as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchall() == [("0006",)]
    everything_is_there(story)
    for owner, name in (
        ("ben", "first-in-line"),
        ("ana", "second-in-line"),
    ):  # those before them ended with `down`
        until(lambda who=(owner, name): story.phase(*who) == "running", f"{name} to run")  # type: ignore[misc]


def test_a_backup_that_is_killed_leaves_the_portal_as_it_is_and_no_file(story: Story) -> None:
    large, partial = story.portal.data / "users" / "ana" / "large", Path(f"{story.file}.partial")
    large.write_bytes(random.Random(0).randbytes(LARGE))
    environment = {**os.environ, "DURE_DATA": str(story.portal.data)}
    words = [sys.executable, "-m", "dure.cli", "backup", str(story.file)]
    backup = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    until(
        lambda: backup.poll() is not None or (partial.exists() and partial.stat().st_size > LARGE // 4),
        "the middle of it",
        every=0.005,
    )
    backup.kill()
    said, _ = backup.communicate()
    assert backup.returncode == -signal.SIGKILL, said
    large.unlink()
    assert partial.exists()
    assert not story.file.exists()
    everything_is_there(story)


def test_it_is_backed_up_while_it_is_up(story: Story) -> None:
    for name in ("dan", "eve"):
        story.portal.add_user(name)
        story.expected["passwords"][name] = story.portal.passwords[name]
        story.expected["tokens"][name] = story.portal.token(name)
    for owner, name in WAITING:
        with story.client(owner) as client:
            body = {"id": new_id(), "name": name, "profile": WIDE, "lifetime_s": 3600}
            client.post("/environments", json=body).raise_for_status()
    with story.client("admin") as admin:
        story.line = lived_in.line(admin)
    assert len(story.line) == len(WAITING)
    story.kept = story.keeps()
    assert all(story.kept.values()), "else it shows nothing"
    said = story.portal.dure("backup", str(story.file))
    story.backed_up_at = time.time() + float((story.folder / "clock").read_text())
    assert "6 people, 4 waiting, 3 leases, 1 schedules, 1 endpoints, 1 models" in said
    assert "secrets" in said
    assert stat.S_IMODE(story.file.stat().st_mode) == 0o600
    assert sorted(path.name for path in story.folder.iterdir() if "backup" in path.name) == ["backup.tar.gz"]


def test_wiped_and_restored_it_is_the_same_portal(story: Story) -> None:
    portal = story.portal
    portal.down()
    shutil.rmtree(portal.data)
    said = portal.dure("restore", str(story.file))
    assert "6 people, 4 waiting, 3 leases" in said
    assert "end that first" in said
    waiting = story.rows("SELECT id FROM tickets WHERE state = 'waiting'")
    assert {ticket for (ticket,) in waiting} == set(story.line)
    assert story.keeps() == story.kept
    story.move_clock(WHILE_AWAY)
    portal.up()
    everything_is_there(story)


def test_the_first_in_line_start_and_the_others_keep_their_order(story: Story) -> None:
    for owner, name in WAITING[:2]:
        until(lambda who=(owner, name): story.phase(*who) == "running", f"{name} to run")  # type: ignore[misc]
    with story.client("admin") as admin:
        assert lived_in.line(admin) == story.line[2:]
    assert [story.phase(owner, name) for owner, name in WAITING[2:]] == ["waiting", "waiting"]


def test_leases_of_what_does_not_run_here_end_when_it_was_last_seen(story: Story) -> None:
    query = (
        "SELECT l.ended_at, l.uncertain_s, l.granted_at FROM leases l JOIN environments e ON e.lease_id = l.id "
        "WHERE e.name IN ('first-in-line', 'second-in-line')"
    )
    found = story.rows(query)
    assert len(found) == 2
    for ended_at, uncertain_s, granted_at in found:
        assert granted_at <= ended_at
        assert datetime.fromisoformat(f"{ended_at}+00:00").timestamp() <= story.backed_up_at, (
            "absence is not charged"
        )
        assert uncertain_s >= WHILE_AWAY


def test_what_a_schedule_missed_while_the_portal_was_away_runs_once(story: Story) -> None:
    portal = story.portal
    portal.down()
    before = story.rows("SELECT count(*) FROM executions")
    story.move_clock(3 * DAY)
    portal.up()
    query = "SELECT state FROM executions"
    until(lambda: [state for (state,) in story.rows(query)] == ["succeeded"], "the nightly notebook", timeout=180)
    assert before == [(0,)]
    (nightly,) = story.get("ana", "/schedules")
    now = time.time() + float((story.folder / "clock").read_text())
    assert datetime.fromisoformat(nightly["next_at"]).timestamp() > now


def test_a_restore_refuses_while_the_portal_is_up(story: Story) -> None:
    said = story.portal.dure("restore", str(story.file), "--replace", check=False)
    assert "is already up at" in said
    everything_is_there(story)


KILLED = """
import os, runpy, signal, sys
from dure_hub.supervisor import restoring

record = restoring.record

def record_and_die(*words):
    record(*words)
    os.kill(os.getpid(), signal.SIGKILL)

restoring.record = record_and_die
sys.argv = ["dure", "restore", sys.argv[1], "--replace"]
runpy.run_module("dure.cli", run_name="__main__")
"""


def test_a_restore_that_is_killed_before_its_renames_is_carried_on_by_up(story: Story) -> None:
    portal = story.portal
    portal.down()
    instance = (portal.data / "instance").read_text()
    environment = {**os.environ, "DURE_DATA": str(portal.data)}
    words = [sys.executable, "-c", KILLED, str(story.file)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    assert (portal.data / "instance").read_text() == instance, "it is the old one still"
    assert "it was carried on" in portal.up()
    assert (portal.data / "instance").read_text() != instance
    everything_is_there(story)

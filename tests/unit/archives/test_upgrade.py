"""`dure upgrade` on the data folder of the previous release: all databases come along, or none changes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dure_hub.settings import RESERVE, DataFolder, resolve_settings
from dure_hub.store.migrations import HEAD
from dure_hub.supervisor import lock, prepare, revisions
from dure_hub.supervisor.errors import AlreadyUp, DatabaseNewer, NotDown, UpgradeFailed
from dure_hub.supervisor.revisions import DATABASES, HUB, MLFLOW, MLFLOW_AUTH, OURS, Database
from dure_hub.supervisor.standstill import standing_still
from dure_hub.supervisor.upgrade import plan, upgrade
from tests.unit.archives.conftest import quiet, state


def dure(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command as people type it."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("DURE_")}
    return subprocess.run(
        [sys.executable, "-m", "dure.cli", *words],
        env={**known, "DURE_DATA": str(data), "DURE_LANGUAGE": "en"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def tables(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_the_rows_of_the_previous_release_are_there_afterwards(
    old: Path, said: tuple[list[str], Callable[..., Any]]
) -> None:
    keys, say = said
    folder = DataFolder(old)
    queries = {
        "dure": "SELECT owner, name, phase FROM environments UNION SELECT name, cron, owner FROM schedules "
        "UNION SELECT name, model, state FROM endpoints UNION SELECT owner, state, id FROM tickets",
        "hub": "SELECT name, admin FROM dure_accounts",
        "mlflow": "SELECT name, version FROM model_versions",
    }
    before = {name: tables(folder.db / f"{name}.sqlite", query) for name, query in queries.items()}
    assert all(before.values())
    backup = upgrade(resolve_settings(data=old), say)
    assert {name: tables(folder.db / f"{name}.sqlite", query) for name, query in queries.items()} == before
    assert keys == ["migrating", "migrating_one"]
    assert not any(one.older for one in plan(resolve_settings(data=old)))
    assert backup is not None
    assert backup.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for place in (backup, folder.db) for path in place.iterdir())
    assert upgrade(resolve_settings(data=old), quiet) is None
    assert revisions.written_by(folder)["revisions"]["dure"] == HEAD


def test_the_reserve_of_the_disk_comes_along_nowhere(old: Path) -> None:
    for name in RESERVE:
        (DataFolder(old).db / name).write_bytes(bytes(2**20))
    (DataFolder(old).db / "beside").write_text("kept")
    copied: list[str] = []

    def say(key: str, **_: Any) -> None:
        copied.extend(path.name for path in DataFolder(old).upgrading.glob("*"))

    backup = upgrade(resolve_settings(data=old), say)
    assert backup is not None
    assert "beside" in copied
    for names in (copied, *([path.name for path in place.iterdir()] for place in (DataFolder(old).db, backup))):
        assert not set(RESERVE) & set(names)
        assert "beside" in names


OLDER_MLFLOW = """
import sys
from alembic import command
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base
engine = utils.create_sqlalchemy_engine_with_retry(sys.argv[1])
Base.metadata.create_all(engine)
command.upgrade(utils._get_alembic_config(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.timeout(400)
def test_the_hub_s_and_mlflow_s_come_along_by_their_own_migrations(
    old: Path, said: tuple[list[str], Callable[..., Any]]
) -> None:
    keys, say = said
    hub, mlflow = (one.path(DataFolder(old).db) for one in (HUB, MLFLOW))
    ((before_hub,), (before_mlflow,)) = (
        revisions.script_revisions(one)[revisions.standing(one, None).wanted] for one in (HUB, MLFLOW)
    )
    change(
        hub,
        "ALTER TABLE spawners DROP COLUMN display_name",  # what the last of the hub's migrations makes
        f"UPDATE alembic_version SET version_num = '{before_hub}'",  # noqa: S608
    )
    mlflow.unlink()
    subprocess.run([sys.executable, "-c", OLDER_MLFLOW, f"sqlite:///{mlflow}", before_mlflow], check=True)
    accounts = tables(hub, "SELECT * FROM dure_accounts")
    backup = upgrade(resolve_settings(data=old), say)
    assert keys == ["migrating"] + ["migrating_one"] * 3
    assert not any(one.older for one in plan(resolve_settings(data=old)))
    assert ("display_name",) in tables(hub, "SELECT name FROM pragma_table_info('spawners')")
    assert tables(hub, "SELECT * FROM dure_accounts") == accounts
    assert backup is not None
    assert tables(backup / "mlflow.sqlite", "SELECT version_num FROM alembic_version") == [(before_mlflow,)]
    assert sorted(path.name for path in backup.iterdir()) == sorted(f"{one.name}.sqlite" for one in DATABASES)


FAILS: dict[str, tuple[Database, str]] = {
    "ours": (OURS, "ALTER TABLE quotas ADD COLUMN max_lifetime_s INTEGER"),
    "the hub's": (HUB, ""),
    "MLflow's": (MLFLOW, ""),
    "MLflow's login": (MLFLOW_AUTH, ""),
}
"""Ours finds a column that it is to make; the others are told that all but their first migration are to come."""


@pytest.mark.parametrize("what", FAILS)
def test_a_migration_that_fails_changes_nothing(old: Path, what: str) -> None:
    database, statement = FAILS[what]
    folder = DataFolder(old)
    if not statement:
        first = next(one for one, before in revisions.script_revisions(database).items() if not before)
        statement = f"UPDATE {database.table} SET version_num = '{first}'"  # noqa: S608 - names of ours
    change(database.path(folder.db), statement)
    before = state(old)
    with pytest.raises(UpgradeFailed, match="They are as they were before") as caught:
        upgrade(resolve_settings(data=old), quiet)
    assert "이전 그대로" in caught.value.text("ko")
    assert state(old) == before
    done = dure(old, "upgrade")
    assert done.returncode == 1
    assert "could not be upgraded" in done.stderr
    assert {name: what for name, what in state(old).items() if name.startswith("db/")} == {
        name: what for name, what in before.items() if name.startswith("db/")
    }


@pytest.mark.parametrize("database", DATABASES, ids=lambda one: one.name)
def test_an_older_program_refuses_a_newer_folder_with_the_versions_named(old: Path, database: Database) -> None:
    change(database.path(DataFolder(old).db), f"UPDATE {database.table} SET version_num = '9999'")  # noqa: S608
    (old / revisions.WRITTEN_BY).write_text(json.dumps({"program": "9.9.9"}))
    settings = resolve_settings(data=old, disk_minimum_mb=0)
    before = state(old)
    for refuse in (plan, prepare.check, lambda settings: upgrade(settings, quiet)):
        with pytest.raises(DatabaseNewer) as caught:
            refuse(settings)
        for language in ("en", "ko"):
            said = caught.value.text(language)
            assert all(word in said for word in ("9.9.9", "0.1.0", "9999", database.title)), said
    assert state(old) == before


def test_up_and_upgrade_say_so_in_a_sentence_and_change_nothing(old: Path) -> None:
    folder = DataFolder(old)
    change(folder.db / "dure.sqlite", "UPDATE alembic_version SET version_num = '9999'")
    before = state(folder.db)
    for words in (("up",), ("upgrade",), ("upgrade", "--check")):
        done = dure(old, *words)
        assert done.returncode == 1, done.stdout
        assert "was written by a newer version of Dure (an unknown version; this one is 0.1.0)" in done.stderr
        assert f"revision 9999, and this version knows those up to {HEAD}" in done.stderr
        assert "Nothing was changed" in done.stderr
    assert state(folder.db) == before


def test_check_says_what_would_be_done_and_does_nothing(old: Path) -> None:
    before = state(old)
    done = dure(old, "upgrade", "--check")
    assert done.returncode == 0, done.stderr
    assert f"Dure: 0006 -> {HEAD}" in done.stdout
    assert "MLflow:" in done.stdout
    assert "would migrate" in done.stdout
    assert state(old) == before
    assert "Upgraded. The databases as they were are in" in dure(old, "upgrade").stdout
    assert "There is nothing to upgrade." in dure(old, "upgrade").stdout


def test_nothing_is_upgraded_while_the_portal_is_up(old: Path) -> None:
    settings = resolve_settings(data=old)
    with lock.held(settings):
        done = dure(old, "upgrade")
        assert done.returncode == 1
        assert "is already up" in done.stderr
        with pytest.raises(AlreadyUp), standing_still(settings, work=False):
            pass


def test_nor_while_a_killed_supervisor_s_hub_writes(old: Path) -> None:
    settings = resolve_settings(data=old)
    marks = {"DURE_PORTAL": (old / "instance").read_text(), "DURE_SERVICE": "hub"}
    process = subprocess.Popen(["sleep", "600"], env=marks)
    try:
        with pytest.raises(NotDown, match=str(process.pid)), standing_still(settings, work=False):
            pass
    finally:
        process.kill()
        process.wait()


def test_up_finds_the_databases_that_a_kill_between_two_renames_has_left_beside(old: Path) -> None:
    folder = DataFolder(old)
    before = state(folder.db)
    folder.db.rename(folder.upgrading)
    prepare.make_folder(resolve_settings(data=old))
    assert state(folder.db) == before
    assert not folder.upgrading.exists()


def test_an_upgrade_before_the_first_up_says_what_to_do(tmp_path: Path) -> None:
    done = dure(tmp_path / "none", "upgrade")
    assert done.returncode == 1
    assert "No portal has been started" in done.stderr
    assert not (tmp_path / "none").exists()


def test_what_the_packages_know_is_what_alembic_says() -> None:
    for database in DATABASES:
        head = revisions.standing(database, None).wanted
        graph = revisions.script_revisions(database)
        assert head in graph
        assert set().union(*graph.values()) <= set(graph)
    assert revisions.standing(OURS, None).wanted == HEAD

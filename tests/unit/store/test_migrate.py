"""Migrations on both databases: they agree with the models, back up first, and refuse what is newer."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select, text

from dure_hub.settings import Settings
from dure_hub.store import Store, database_url
from dure_hub.store import migrate as module
from dure_hub.store.migrate import migrate
from dure_hub.store.migrations import HEAD
from dure_hub.store.models import Base, Environment
from dure_hub.store.session import WrongRevision
from tests.support.postgres import Postgres, programs


@pytest.fixture
def settings(tmp_path: Path, new_database: str) -> Settings:
    found = Settings(data=tmp_path, database_url=new_database)
    found.folder.create()
    return found


@pytest.fixture
def on_postgres(tmp_path: Path, postgres: Postgres) -> Settings:
    """An older database on a server with `pg_dump` beside it."""
    found = Settings(data=tmp_path, database_url=postgres.empty())
    found.folder.create()
    store = Store(database_url(found))
    upgrade(store, "0001")
    store.close()
    return found


def upgrade(store: Store, revision: str) -> None:
    """By Alembic, and without a copy."""
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    with store.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_migrations_make_what_the_models_say(settings: Settings) -> None:
    assert migrate(settings) is None
    store = Store(database_url(settings))
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    store.close()


def test_the_head_that_processes_check_is_the_newest_file() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_a_second_time_there_is_nothing_to_do(settings: Settings) -> None:
    migrate(settings)
    assert migrate(settings) is None
    assert list(settings.folder.backup.iterdir()) == []


def test_an_older_database_is_upgraded_with_what_is_in_it(settings: Settings) -> None:
    store = Store(database_url(settings))
    upgrade(store, "0001")
    with store.transaction() as session:
        session.execute(
            text(
                "INSERT INTO environments (id, owner, name, profile, phase, asked_at) "
                "VALUES ('e1', 'ana', 'default', 'cpu', 'running', '2026-01-01 00:00:00'), "
                "('e2', 'ben', 'default', 'cpu', 'stopped', '2026-01-01 00:00:00')"
            )
        )

    migrate(settings)

    store.check_revision()
    with store.reading() as session:
        row, over = session.scalars(select(Environment).order_by(Environment.id)).all()
        assert (row.id, row.active_at, row.image, row.receipt, row.held_until) == ("e1", None, None, None, None)
        assert row.dismissed_at is None
        assert over.dismissed_at is not None, "what has ended before the upgrade is not told of again"
    store.close()


def test_sqlite_is_copied_before_it_is_upgraded(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    settings.folder.create()
    store = Store(database_url(settings))
    upgrade(store, "0001")
    store.close()

    backup = migrate(settings)

    assert backup is not None
    assert backup.stat().st_mode & 0o777 == 0o600
    copy = sqlite3.connect(backup)
    assert copy.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
    copy.close()


def test_postgresql_is_dumped_before_it_is_upgraded_where_pg_dump_is(
    on_postgres: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = programs()
    assert folder is not None
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    backup = migrate(on_postgres)
    assert backup is not None
    assert backup.stat().st_mode & 0o777 == 0o600
    listed = subprocess.run(
        [str(folder / "pg_restore"), "--list", str(backup)], capture_output=True, text=True, check=True
    )
    assert "TABLE DATA public alembic_version" in listed.stdout
    assert "TABLE public schedules" not in listed.stdout  # 0002 came later


def _not_there(_folder: Path) -> str:
    return "/nowhere"


def _too_old(folder: Path) -> str:
    program = folder / "pg_dump"
    program.write_text("#!/bin/sh\necho 'aborting because of server version mismatch' >&2\nexit 1\n")
    program.chmod(0o700)
    return str(folder)


@pytest.mark.parametrize(
    ("path", "why"), [(_not_there, "there is no pg_dump"), (_too_old, "server version mismatch")]
)
def test_where_it_cannot_be_dumped_the_log_says_that_the_copy_is_the_administrators(
    on_postgres: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    path: Callable[[Path], str],
    why: str,
) -> None:
    monkeypatch.setenv("PATH", path(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert migrate(on_postgres) is None
    assert "from revision 0001" in caplog.text
    assert why in caplog.text
    assert list(on_postgres.folder.backup.iterdir()) == []
    store = Store(database_url(on_postgres))
    store.check_revision()
    store.close()


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(settings: Settings) -> None:
    store = Store(database_url(settings))
    upgrade(store, "0001")
    with store.transaction() as session:
        session.execute(text("CREATE TABLE budgets (id INTEGER)"))  # the third revision makes one, after others
    with pytest.raises(Exception, match="budgets"):
        migrate(settings)
    assert store.revision() == "0001"
    with store.engine.connect() as connection:
        assert not inspect(connection).has_table("schedules")
    store.close()


def test_a_newer_database_is_refused_and_left_alone(settings: Settings) -> None:
    migrate(settings)
    store = Store(database_url(settings))
    store.check_revision()
    with store.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(WrongRevision) as caught:
        migrate(settings)
    assert "9999" in caught.value.text("ko")
    with pytest.raises(WrongRevision):
        store.check_revision()
    store.close()


def test_a_process_refuses_an_empty_database(settings: Settings) -> None:
    store = Store(database_url(settings))
    with pytest.raises(WrongRevision):
        store.check_revision()
    store.close()

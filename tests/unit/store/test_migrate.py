"""Migrations: they agree with the models, back up first, and refuse what is newer."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select, text

from dure_hub.settings import Settings
from dure_hub.store import Store, database_url
from dure_hub.store import migrate as module
from dure_hub.store.migrate import migrate
from dure_hub.store.migrations import HEAD
from dure_hub.store.models import Base, Environment
from dure_hub.store.session import WrongRevision


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings(data=tmp_path)
    found.folder.create()
    return found


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


def test_an_older_database_is_copied_before_it_is_upgraded(settings: Settings) -> None:
    store = Store(database_url(settings))
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    with store.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    with store.transaction() as session:
        session.execute(
            text(
                "INSERT INTO environments (id, owner, name, profile, phase, asked_at) "
                "VALUES ('e1', 'ana', 'default', 'cpu', 'running', '2026-01-01 00:00:00')"
            )
        )

    backup = migrate(settings)

    assert backup is not None
    assert backup.stat().st_mode & 0o777 == 0o600
    copy = sqlite3.connect(backup)
    assert copy.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
    copy.close()
    store.check_revision()
    with store.reading() as session:
        (row,) = session.scalars(select(Environment)).all()
        assert (row.id, row.active_at) == ("e1", None)
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

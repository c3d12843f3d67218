"""Events can be written and read, and nothing else: the database itself refuses the rest, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from dure_hub.settings import Settings
from dure_hub.store import Store, database_url
from dure_hub.store import migrate as module
from dure_hub.store.events import record
from dure_hub.store.migrate import migrate
from dure_hub.store.models import Event

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REFUSED = [
    "UPDATE events SET actor = 'ben'",
    "UPDATE events SET verdict = '{}' WHERE actor = 'nobody at all'",
    "DELETE FROM events",
    "DELETE FROM events WHERE actor = 'ana'",
    "TRUNCATE events",
    "INSERT OR REPLACE INTO events (id, seq, actor, verb, object, verdict, at) "
    "SELECT id, seq, 'ben', verb, object, verdict, at FROM events",
]
_OF = {"TRUNCATE events": "postgresql", REFUSED[-1]: "sqlite"}


@pytest.fixture
def store(tmp_path: Path, new_database: str) -> Iterator[Store]:
    settings = Settings(data=tmp_path, database_url=new_database)
    settings.folder.create()
    migrate(settings)
    made = Store(database_url(settings))
    yield made
    made.close()


def actors(store: Store) -> list[tuple[int, str]]:
    with store.reading() as session:
        return [(row.seq, row.actor) for row in session.scalars(select(Event).order_by(Event.seq))]


@pytest.mark.parametrize("statement", REFUSED)
def test_no_statement_changes_or_removes_an_event(store: Store, statement: str) -> None:
    if _OF.get(statement, store.engine.dialect.name) != store.engine.dialect.name:
        return  # words that the other database does not have
    with store.transaction() as session:
        record(session, NOW, "ana", "test", "thing")
        record(session, NOW, "ana", "test", "thing")
    if "nobody" in statement and store.engine.dialect.name == "sqlite":
        return  # SQLite's triggers look at each row, and here there is none
    with pytest.raises(DBAPIError, match="events are append-only"), store.transaction() as session:
        session.execute(text(statement))
    assert actors(store) == [(1, "ana"), (2, "ana")]


def test_numbers_follow_the_commits_of_many_writers(store: Store) -> None:
    def write(who: int) -> None:
        for _ in range(10):
            with store.transaction() as session:
                record(session, NOW, f"p{who}", "first", "thing")
                record(session, NOW, f"p{who}", "second", "thing")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    with store.reading() as session:
        rows = session.execute(select(Event.seq, Event.actor, Event.verb).order_by(Event.seq)).all()
    assert [row.seq for row in rows] == list(range(1, 81))
    for one, two in zip(rows[::2], rows[1::2], strict=True):
        assert (one.actor, one.verb, two.verb) == (two.actor, "first", "second")


def test_what_was_undone_in_a_savepoint_leaves_the_rest_numbered(store: Store) -> None:
    with store.transaction() as session:
        record(session, NOW, "ana", "test", "thing")
        part = session.begin_nested()
        record(session, NOW, "lost", "test", "thing")
        part.rollback()
        record(session, NOW, "ben", "test", "thing")
    with store.transaction() as session:
        record(session, NOW, "root", "test", "thing")
    assert [actor for _, actor in actors(store)] == ["ana", "ben", "root"]


def test_older_events_are_numbered_by_their_ids(tmp_path: Path, new_database: str) -> None:
    settings = Settings(data=tmp_path, database_url=new_database)
    settings.folder.create()
    store = Store(database_url(settings))
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    with store.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0011")
        for key in ("c", "a", "b"):
            connection.execute(
                text(
                    "INSERT INTO events (id, actor, verb, object, verdict, at) "
                    "VALUES (:key, :key, 'v', 'o', '{}', '2026-01-01 00:00:00')"
                ),
                {"key": key},
            )
    migrate(settings)
    with store.transaction() as session:
        record(session, NOW, "new", "test", "thing")
    assert actors(store) == [(1, "a"), (2, "b"), (3, "c"), (4, "new")]
    with store.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0011")
        connection.execute(text("DELETE FROM events"))
    store.close()

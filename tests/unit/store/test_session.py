"""Transactions on SQLite."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select, text

from dure.errors import NotReady
from dure_hub.settings import Settings
from dure_hub.store import Store, database_url, system_clock
from dure_hub.store.events import record
from dure_hub.store.migrate import migrate
from dure_hub.store.models import Event

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    settings = Settings(data=tmp_path)
    settings.folder.create()
    migrate(settings)
    return Store(database_url(settings))


def test_the_pragmas_that_durability_rests_on(store: Store) -> None:
    with store.transaction() as session:
        values = {
            name: session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


def test_what_fails_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.transaction() as session:
            record(session, NOW, "ann", "test", "thing")
            session.flush()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    with store.reading() as session:
        assert session.scalars(select(Event)).all() == []


def test_a_failure_with_rows_still_to_fetch_locks_nobody_out(store: Store) -> None:
    with store.transaction() as session:
        for number in range(3):
            record(session, NOW, "ann", "test", str(number))
    kept: list[object] = []
    try:
        with store.reading() as session:
            rows = iter(session.execute(text("SELECT id FROM events")))
            kept.append((rows, next(rows)))
            raise ValueError("no")
    except ValueError as error:
        kept.append((error, error.__traceback__))  # as a logged error is kept
    for number in range(3):
        with store.transaction() as session:
            record(session, NOW, "ann", "test", f"again {number}")


def test_times_come_back_in_utc(store: Store) -> None:
    with store.transaction() as session:
        record(session, lambda: NOW, "ann", "test", "thing")
    with store.reading() as session:
        assert session.scalars(select(Event)).one().at == NOW


def test_a_second_writer_waits_from_its_beginning_on(store: Store) -> None:
    """BEGIN IMMEDIATE: what a transaction has read cannot change before it writes."""
    order: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with store.transaction() as session:
            begun.set()
            assert go_on.wait(10)
            record(session, NOW, "ann", "test", "one")
            order.append("first")

    def second() -> None:
        with store.transaction() as session:
            order.append(f"second sees {len(session.scalars(select(Event)).all())}")

    one, two = threading.Thread(target=first), threading.Thread(target=second)
    one.start()
    assert begun.wait(10)
    two.start()
    with store.reading() as session:  # readers are not held up
        assert session.scalars(select(Event)).all() == []
    go_on.set()
    one.join(10)
    two.join(10)
    assert order == ["first", "second sees 1"]


def test_a_store_that_stays_locked_says_so(store: Store) -> None:
    def attempt() -> None:
        with Store(f"{store.engine.url}", patience_s=0).transaction() as session:
            session.execute(text("SELECT 1"))

    with store.transaction(), pytest.raises(NotReady):
        attempt()


async def test_work_runs_on_a_thread_of_its_own(store: Store) -> None:
    main = threading.get_ident()
    assert await store.run(lambda session: threading.get_ident()) != main
    assert await store.read(lambda session: session.execute(text("SELECT 7")).scalar()) == 7


def test_the_clock_file_moves_time_at_each_call(tmp_path: Path) -> None:
    offset = tmp_path / "clock"
    clock = system_clock(offset)
    assert abs((clock() - datetime.now(UTC)).total_seconds()) < 60
    offset.write_text("7200\n")
    assert 7100 < (clock() - datetime.now(UTC)).total_seconds() < 7300

"""Transactions on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from dure.errors import NotReady
from dure_hub.settings import Settings
from dure_hub.store import Store, database_url, system_clock
from dure_hub.store.events import record
from dure_hub.store.migrate import migrate
from dure_hub.store.models import Event
from tests.support.postgres import Postgres

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def opened(folder: Path, database: str) -> Store:
    settings = Settings(data=folder, database_url=database)
    settings.folder.create()
    migrate(settings)
    return Store(database_url(settings))


@pytest.fixture
def store(tmp_path: Path, database: str) -> Iterator[Store]:
    made = opened(tmp_path, database)
    yield made
    made.close()


@pytest.fixture
def on_postgres(tmp_path: Path, postgres: Postgres) -> Iterator[Store]:
    made = opened(tmp_path, postgres.migrated())
    yield made
    made.close()


def test_the_pragmas_that_durability_rests_on(tmp_path: Path) -> None:
    store = opened(tmp_path, "")
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
        record(session, NOW.astimezone(timezone(timedelta(hours=-5))), "ann", "test", "thing")
    with store.reading() as session:
        times = session.scalars(select(Event.at)).all()
    assert times == [NOW, NOW]
    assert [time.tzinfo for time in times] == [UTC, UTC]


def test_what_is_kept_as_json_comes_back_as_it_was(store: Store) -> None:
    kept = {"한국어": ["자", None, 1.5, True], "": {"none": None}, "large": 2**62, "quote": "'\"\\%s :x"}
    with store.transaction() as session:
        record(session, NOW, "ann", "test", "thing", kept)
        record(session, NOW, "ann", "test", "thing")
    with store.reading() as session:
        assert sorted(session.scalars(select(Event.verdict)).all(), key=len) == [{}, kept]


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
        with impatient.transaction() as session:
            session.execute(text("SELECT 1"))

    impatient = Store(store.engine.url, patience_s=0)
    with store.transaction(), pytest.raises(NotReady):
        attempt()
    attempt()
    impatient.close()


def test_a_reader_keeps_one_view_and_cannot_write(store: Store) -> None:
    with store.reading() as reader:
        assert reader.scalars(select(Event)).all() == []
        with store.transaction() as session:
            record(session, NOW, "ann", "test", "thing")
        assert reader.scalars(select(Event)).all() == []
    with store.reading() as reader:
        assert len(reader.scalars(select(Event)).all()) == 1


def test_postgresql_refuses_what_a_reader_writes(on_postgres: Store) -> None:
    with pytest.raises(DBAPIError, match="read-only"), on_postgres.reading() as session:
        record(session, NOW, "ann", "test", "thing")
    with on_postgres.transaction() as session:  # the connection is as good as before
        record(session, NOW, "ann", "test", "thing")


def test_connections_that_died_with_the_server_are_replaced_before_their_use(
    on_postgres: Store, postgres: Postgres
) -> None:
    with on_postgres.transaction() as session:
        record(session, NOW, "ann", "test", "one")
    end_sessions(on_postgres, postgres)
    with on_postgres.transaction() as session:
        record(session, NOW, "ann", "test", "two")
    with on_postgres.reading() as session:
        assert len(session.scalars(select(Event)).all()) == 2


def test_a_connection_that_breaks_in_a_transaction_leaves_nothing_and_says_to_try_again(
    on_postgres: Store, postgres: Postgres
) -> None:
    def broken() -> None:
        with on_postgres.transaction() as session:
            record(session, NOW, "ann", "test", "one")
            session.flush()
            end_sessions(on_postgres, postgres)

    with pytest.raises(NotReady):
        broken()
    with on_postgres.transaction() as session:
        assert session.scalars(select(Event)).all() == []


def end_sessions(store: Store, postgres: Postgres) -> None:
    """As a restart of the server does, to every connection of this database."""
    query = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s"
    with postgres.connect() as connection:
        ended = connection.execute(query, (store.engine.url.database,)).fetchall()
    assert ended
    assert all(row == (True,) for row in ended)


def test_a_server_that_is_not_there_is_told_of_without_its_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("only between us\n")
    settings = Settings(
        data=tmp_path,
        database_url=f"postgresql+psycopg://dure@/dure?host={tmp_path}",
        database_password_file=tmp_path / "password",
    )
    store = Store(database_url(settings))
    assert store.engine.url.password == "only between us"
    with pytest.raises(NotReady) as caught:
        store.revision()
    assert "only between us" not in f"{caught.value!r} {caught.value.__cause__!r} {store.engine!r}"


def test_nobody_waits_for_ever_for_who_fell_silent(on_postgres: Store) -> None:
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    with on_postgres.transaction() as session:
        found = {name: session.execute(text(f"SHOW {name}")).scalar() for name in names}
    assert found == dict(zip(names, ("30s", "90s", "1min"), strict=True))


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

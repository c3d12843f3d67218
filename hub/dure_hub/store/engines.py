"""What the two databases need to be told, and how each says that it cannot just now.

SQLite: WAL, foreign keys, synchronous FULL. PostgreSQL: nobody waits for ever for a lock, an answer, or a client
that fell silent in the middle of a transaction; a connection that died with the server is noticed before its use.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from dure_hub.settings import Settings

READ = "dure_read"
"""The execution option of transactions that only read."""
_STATEMENT_S, _SILENCE_S, _CONNECT_S = 60, 60, 10
_POOL = {
    "pool_size": 5,
    "max_overflow": 27,
}  # a connection for each of the at most 32 threads of asyncio's executor


def address(settings: Settings) -> URL:
    """Where our own database is, with the password from its file; by default SQLite in the data folder."""
    if not settings.database_url:
        return make_url(f"sqlite:///{settings.folder.db / 'dure.sqlite'}")
    url = make_url(settings.database_url)
    file = settings.database_password_file
    return url if file is None else url.set(password=Path(file).read_text().strip())


def make_engine(url: str | URL, patience_s: float) -> Engine:
    """An engine for this address. `patience_s`: how long anybody may wait for a lock or a connection."""
    if make_url(url).get_backend_name() == "sqlite":
        engine = create_engine(url)
        _prepare_sqlite(engine, patience_s)
        return engine
    connect = {"connect_timeout": _CONNECT_S, "application_name": "dure"}
    engine = create_engine(url, pool_pre_ping=True, pool_timeout=patience_s, connect_args=connect, **_POOL)
    _prepare_postgres(engine, patience_s)
    return engine


def options(engine: Engine, read: bool) -> dict[str, Any]:
    """The execution options of one transaction.

    On PostgreSQL a writer sees what was committed before each of its statements: it takes the lock with its first,
    and must read what those before it in the line have written. A reader has one view for all of its statements.
    """
    if engine.dialect.name == "sqlite":
        return {READ: True} if read else {}
    if read:
        return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    return {"isolation_level": "READ COMMITTED"}


def is_away(error: BaseException) -> bool:
    """Whether the database cannot just now: locked, not reachable, no connection free, too slow.

    Nothing of the transaction stays; only where the connection broke at its very end, nobody knows.
    """
    if isinstance(error, NoConnectionFree):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, OperationalError) and hasattr(error.orig, "sqlstate"):
        return True  # of PostgreSQL, these are what the server or the way to it is to blame for
    return isinstance(error, OperationalError | sqlite3.OperationalError) and "locked" in str(error)


def _prepare_sqlite(engine: Engine, patience_s: float) -> None:
    @event.listens_for(engine, "connect")
    def opened(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late and is not IMMEDIATE
        for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - this listener is SQLite's
        if connection.get_execution_options().get(READ):
            driver.execute("BEGIN")
            return
        deadline = time.monotonic() + patience_s
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                # a busy other process may win every time within the busy timeout: stand in line again
                if "locked" not in str(error) or time.monotonic() >= deadline:
                    raise


def _prepare_postgres(engine: Engine, patience_s: float) -> None:
    limits = {
        "lock_timeout": max(round(patience_s * 1000), 1),  # 0 would be for ever
        "statement_timeout": round((patience_s + _STATEMENT_S) * 1000),
        "idle_in_transaction_session_timeout": _SILENCE_S * 1000,
    }

    @event.listens_for(engine, "connect")
    def opened(connection: Any, _record: object) -> None:
        connection.autocommit = True  # else a rollback would undo them
        for name, milliseconds in limits.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, str(milliseconds)))
        connection.autocommit = False

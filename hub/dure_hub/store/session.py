"""The one way into our database: short synchronous transactions, entered from async code by a thread.

SQLite: WAL, foreign keys, synchronous FULL, and BEGIN IMMEDIATE, so that whoever decides something has read
what nobody else can change meanwhile. PostgreSQL: the same decisions take `lock_admission`. No transaction
spans an await or the start of a process.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from dure.errors import DureError, NotReady, Text
from dure_hub.settings import Settings
from dure_hub.store.migrations import HEAD

T = TypeVar("T")
_READ = "dure_read"
_ADMISSION_LOCK = 0x64757265  # any fixed number of ours; advisory locks of PostgreSQL have numbers for names


def database_url(settings: Settings) -> str:
    """Our own database in the data folder."""
    return f"sqlite:///{settings.folder.db / 'dure.sqlite'}"


class WrongRevision(DureError):
    """The database is not of the revision this program knows."""

    code, status = "wrong_revision", 503
    message: ClassVar[Text] = {
        "en": "The portal's database has revision {found}, and this version of Dure works with {wanted}.",
        "ko": "포털 데이터베이스의 리비전은 {found}이고, 이 버전의 Dure는 {wanted}에서 동작합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Run `dure up` of the newest version that was used on this data folder; it backs up and upgrades.",
        "ko": "이 데이터 폴더에 사용한 가장 최신 버전의 `dure up`을 실행하세요. 백업한 뒤 업그레이드합니다.",
    }


class Store:
    """A database by its SQLAlchemy URL. Safe to share between threads; each process opens its own."""

    def __init__(self, url: str, patience_s: float = 30) -> None:
        """`patience_s`: how long a transaction may wait for SQLite's lock before it raises `NotReady`."""
        self.engine = create_engine(url)
        self._patience_s = patience_s
        # SQLite's waiting for its lock is not fair: among many, one may lose for all of its five seconds. Within a
        # process writers therefore stand in line here, and only processes compete for the file.
        self._writing = threading.Lock()
        if self.engine.dialect.name == "sqlite":
            _prepare_sqlite(self.engine, patience_s)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A transaction that may write; committed at the end, undone by any exception.

        Rows stay readable afterwards. A database that stays locked raises `NotReady`. Not to be nested.
        """
        one_by_one = self.engine.dialect.name == "sqlite"
        if one_by_one and not self._writing.acquire(timeout=self._patience_s):
            raise NotReady(part="the store")
        try:
            with self._session({}) as session:
                yield session
        finally:
            if one_by_one:
                self._writing.release()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A consistent view that waits for no writer and must not write."""
        with self._session({_READ: True}) as session:
            yield session

    async def run(self, work: Callable[[Session], T]) -> T:
        """Run `work` in a transaction on a thread of its own, and answer with what it returns."""

        def inside() -> T:
            with self.transaction() as session:
                return work(session)

        return await asyncio.to_thread(inside)

    async def read(self, work: Callable[[Session], T]) -> T:
        """The same for work that only reads."""

        def inside() -> T:
            with self.reading() as session:
                return work(session)

        return await asyncio.to_thread(inside)

    def revision(self) -> str | None:
        """The revision the database has now; None before its first migration."""
        with self.engine.connect().execution_options(**{_READ: True}) as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()

    def check_revision(self) -> None:
        """Refuse to work with another revision: only `up` migrates."""
        found = self.revision()
        if found != HEAD:
            raise WrongRevision(found=found or "none", wanted=HEAD)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def _session(self, options: dict[str, Any]) -> Iterator[Session]:
        with Session(self.engine, expire_on_commit=False) as session:
            try:
                session.connection(execution_options=options)
                yield session
                session.commit()
            except BaseException as error:
                # A cursor that a traceback keeps alive holds its snapshot beyond the rollback, and the next BEGIN
                # IMMEDIATE on this connection would find it outdated ("locked"). Closing it undoes all of it.
                session.invalidate()
                if isinstance(error, OperationalError | sqlite3.OperationalError) and "locked" in str(error):
                    raise NotReady(part="the store") from error
                raise


def lock_admission(session: Session) -> None:
    """From here to the end of the transaction, nobody else decides who gets a slice.

    On SQLite the transaction itself is that lock, since it began IMMEDIATE.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADMISSION_LOCK})


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
        if connection.get_execution_options().get(_READ):
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

"""The one way into our database: short synchronous transactions, entered from async code by a thread.

Whoever decides something must have read what nobody else can change meanwhile. Therefore those who may write stand
in line, one transaction after the other, in all processes: on SQLite by BEGIN IMMEDIATE, on PostgreSQL by one
advisory lock. So the order in which they write is the order in which they commit. Readers wait for nobody. No
transaction spans an await or the start of a process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, TypeVar

from sqlalchemy import inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from dure.errors import DureError, NotReady, Text
from dure_hub.settings import Settings
from dure_hub.store import engines
from dure_hub.store.migrations import HEAD

T = TypeVar("T")
_ADMISSION_LOCK = 0x64757265  # any fixed number of ours; advisory locks of PostgreSQL have numbers for names


def database_url(settings: Settings) -> str:
    """The address of our own database. It may hold a password: for `Store` alone, never to be shown."""
    return engines.address(settings).render_as_string(hide_password=False)


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

    def __init__(self, url: str | URL, patience_s: float = 30) -> None:
        """`patience_s`: how long a transaction may wait for its turn before it raises `NotReady`."""
        self.engine = engines.make_engine(url, patience_s)
        self._patience_s = patience_s
        self._sqlite = self.engine.dialect.name == "sqlite"
        # SQLite's waiting for its lock is not fair: among many, one may lose for all of its five seconds. Within a
        # process writers therefore stand in line here, and only processes compete for the file.
        self._writing = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A transaction that may write; committed at the end, undone by any exception.

        Rows stay readable afterwards. A database that stays locked or is away raises `NotReady`: then nothing was
        written, but where the connection broke while it committed, nobody knows. So ids are made by who asks, and
        asking again is the same request. Not to be nested.
        """
        if self._sqlite and not self._writing.acquire(timeout=self._patience_s):
            raise NotReady(part="the store")
        try:
            with self._session(read=False) as session:
                lock_admission(session)
                yield session
        finally:
            if self._sqlite:
                self._writing.release()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A consistent view that waits for no writer and must not write."""
        with self._session(read=True) as session:
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
        with self.reading() as session:
            if not inspect(session.connection()).has_table("alembic_version"):
                return None
            return session.execute(text("SELECT version_num FROM alembic_version")).scalar()

    def check_revision(self) -> None:
        """Refuse to work with another revision: only `up` migrates."""
        found = self.revision()
        if found != HEAD:
            raise WrongRevision(found=found or "none", wanted=HEAD)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def _session(self, read: bool) -> Iterator[Session]:
        with Session(self.engine, expire_on_commit=False) as session:
            try:
                session.connection(execution_options=engines.options(self.engine, read))
                yield session
                session.commit()
            except BaseException as error:
                if self._sqlite:
                    # A cursor that a traceback keeps alive holds its snapshot beyond the rollback, and the next
                    # BEGIN IMMEDIATE on this connection would find it outdated ("locked"). Closing it undoes all.
                    session.invalidate()
                if engines.is_away(error):
                    raise NotReady(part="the store") from error
                raise


def lock_admission(session: Session) -> None:
    """From here to the end of the transaction, nobody else decides anything. `transaction()` begins with it.

    On SQLite the transaction itself is that lock, since it began IMMEDIATE.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADMISSION_LOCK})

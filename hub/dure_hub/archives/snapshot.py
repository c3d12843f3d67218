"""Copies of all databases as they were at one moment, while everybody goes on writing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from dure_hub.archives import DUMP
from dure_hub.archives.errors import BackupFailed
from dure_hub.settings import Settings
from dure_hub.store import Store, engines
from dure_hub.supervisor.revisions import DATABASES, OURS, revision_of

_TRY_S, _PATIENCE_S = 2.0, 60.0
COUNTS = {
    "waiting": ("dure", "SELECT count(*) FROM tickets WHERE state = 'waiting'"),
    "leases": ("dure", "SELECT count(*) FROM leases WHERE ended_at IS NULL"),
    "schedules": ("dure", "SELECT count(*) FROM schedules WHERE deleted_at IS NULL"),
    "endpoints": ("dure", "SELECT count(*) FROM endpoints WHERE ended_at IS NULL"),
    "models": ("mlflow", "SELECT count(*) FROM registered_models"),
}


def copy_databases(settings: Settings, target: Path) -> tuple[dict[str, str | None], dict[str, int]]:
    """Copy them into the folder `target`; the revisions and counts of what was copied.

    Writers are held for some milliseconds, until a snapshot of each is open; those of a database with a rollback
    journal (MLflow's) wait with their commits while it is copied. Raises `BackupFailed` where a copy turns out
    damaged, and SQLite's own error where a writer does not pause within a minute.
    """
    files = [one for one in DATABASES if one is not OURS or not settings.database_url]
    paths = {one.name: one.path(settings.folder.db) for one in files if one.path(settings.folder.db).exists()}
    revisions: dict[str, str | None] = {}
    counts: dict[str, int] = {}
    with ExitStack() as stack:
        postgres = stack.enter_context(_Postgres.opened(settings)) if settings.database_url else None
        for name, reader in _snapshots(stack, paths, postgres).items():
            _copy(reader, target / f"{name}.sqlite")
        if postgres is not None:
            postgres.dump(settings, target / DUMP)
            revisions[OURS.name] = postgres.revision()
            counts |= postgres.counts()
    for one in files:
        revisions[one.name] = revision_of(target / f"{one.name}.sqlite", one.table)
    return revisions, counts | _counts(target)


def _snapshots(
    stack: ExitStack, paths: Mapping[str, Path], postgres: _Postgres | None
) -> dict[str, sqlite3.Connection]:
    """A connection to each with a snapshot open in it; all snapshots are of one moment."""
    readers = {name: stack.enter_context(closing(_open(path))) for name, path in paths.items()}
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with _held(list(paths.values()), postgres):
                for reader in readers.values():
                    reader.execute("BEGIN")
                    reader.execute(
                        "SELECT count(*) FROM sqlite_master"
                    ).fetchone()  # a snapshot begins with a read
                if postgres is not None:
                    postgres.begin()
            return readers
        except sqlite3.OperationalError as why:
            for reader in readers.values():
                if reader.in_transaction:
                    reader.rollback()
            if "locked" not in str(why) or time.monotonic() > deadline:
                raise


@contextmanager
def _held(paths: Sequence[Path], postgres: _Postgres | None) -> Iterator[None]:
    """Nobody writes meanwhile. Who cannot have all of them at once lets go of all, so that nobody waits for us."""
    with ExitStack() as stack:
        if postgres is not None:
            stack.enter_context(postgres.held())
        for path in paths:
            holder = stack.enter_context(closing(_open(path, _TRY_S)))
            holder.execute("BEGIN IMMEDIATE")
            stack.callback(holder.rollback)
        yield


def _open(path: Path, patience_s: float = 30) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=patience_s, isolation_level=None)


def _copy(reader: sqlite3.Connection, target: Path) -> None:
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(target)) as copy:
        reader.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
        (said,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise BackupFailed(file=target.name, reason=f"the database {target.stem} is damaged: {said}")


def _counts(folder: Path) -> dict[str, int]:
    found = {"people": len(_people(folder / "hub.sqlite"))}
    for what, (name, query) in COUNTS.items():
        if rows := _rows(folder / f"{name}.sqlite", query.split()[3], query):
            found[what] = int(rows[0][0])
    return found


def _people(hub: Path) -> set[str]:
    """Who has an account, or has logged in another way."""
    return {str(row[0]) for table in ("users", "dure_accounts") for row in _rows(hub, table, _NAMES.format(table))}


_NAMES = "SELECT name FROM {}"


def _rows(path: Path, table: str, query: str) -> list[tuple[Any, ...]]:
    """None where the file or the table is not there."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        there = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
        return connection.execute(query).fetchall() if there.fetchone() else []


class _Postgres:
    """Our own database where it is PostgreSQL: one transaction whose snapshot `pg_dump` reads, too."""

    def __init__(self, settings: Settings, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        self._settings, self._connection, self._snapshot = settings, connection, ""

    @classmethod
    @contextmanager
    def opened(cls, settings: Settings) -> Iterator[_Postgres]:
        """Connected; closed at the end."""
        url = engines.address(settings).set(drivername="postgresql")
        with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            yield cls(settings, connection)

    @contextmanager
    def held(self) -> Iterator[None]:
        """None of our writers is in a transaction meanwhile."""
        store = Store(engines.address(self._settings))
        try:
            with store.transaction():
                yield
        finally:
            store.close()

    def begin(self) -> None:
        """Open the snapshot."""
        self._connection.rollback()
        row = self._connection.execute("SELECT pg_export_snapshot()").fetchone()
        self._snapshot = str(row[0]) if row else ""

    def dump(self, settings: Settings, target: Path) -> None:
        """Write what `pg_restore` reads. Raises `BackupFailed` where `pg_dump` is missing or does not fit."""
        program = shutil.which("pg_dump")
        if program is None:
            raise BackupFailed(file=target.name, reason="there is no pg_dump on this machine")
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        place, environment = place_and_environment(settings)
        options = ["--no-password", "--format=custom", "--compress=0", f"--snapshot={self._snapshot}"]
        try:
            run([program, *options, f"--file={target}", f"--dbname={place}"], environment)
        except RuntimeError as why:
            raise BackupFailed(file=target.name, reason=str(why)) from why

    def revision(self) -> str | None:
        """Of the snapshot."""
        row = self._connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None

    def counts(self) -> dict[str, int]:
        """Of the snapshot."""
        found = {}
        for what, (name, query) in COUNTS.items():
            row = self._connection.execute(query).fetchone() if name == OURS.name else None
            if row is not None:
                found[what] = int(str(row[0]))
        return found


def place_and_environment(settings: Settings) -> tuple[str, dict[str, str]]:
    """For PostgreSQL's programs: where the database is, and the password in the environment, where others' eyes
    do not reach as they reach arguments."""
    url = engines.address(settings)
    place = url.set(drivername="postgresql", password=None).render_as_string()
    secret = {} if url.password is None else {"PGPASSWORD": str(url.password)}
    return place, {**os.environ, **secret}


def run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run one of PostgreSQL's programs; `RuntimeError` with its own words where it fails."""
    done = subprocess.run(
        command, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        name = Path(command[0]).name
        reason = " ".join(done.stderr.split()) or f"it ended with {done.returncode}"
        raise RuntimeError(f"{name}: {reason}")

"""Bring the database to this program's revision. Only `up` and its kin call it, while nobody has it open."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import URL

from dure_hub.settings import DataFolder, Settings
from dure_hub.store import engines
from dure_hub.store.migrations import HEAD
from dure_hub.store.session import Store, WrongRevision, database_url

log = logging.getLogger(__name__)
_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(settings: Settings) -> Path | None:
    """Upgrade to the newest revision, after a backup copy, whose path is the answer; None if none was made.

    A new database needs none. Of PostgreSQL one is made where `pg_dump` is there and fits the server; else the
    backup is its administrator's, which the log says. An upgrade that fails leaves the database as it was.
    Raises `WrongRevision` for a database written by a newer version, and leaves it untouched.
    """
    store = Store(database_url(settings))
    try:
        found = store.revision()
        if found == HEAD:
            return None
        config = Config()
        config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if found is not None and found not in known:
            raise WrongRevision(found=found, wanted=HEAD)
        backup = _back_up(settings, found) if found is not None else None
        _upgrade(store, config)
        return backup
    finally:
        store.close()


def migrate_file(path: Path) -> None:
    """The same for an SQLite file that is a copy itself: none is made of it. One that fails may be thrown away."""
    store = Store(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    try:
        _upgrade(store, config)
    finally:
        store.close()


def _upgrade(store: Store, config: Config) -> None:
    with store.engine.begin() as connection:
        if connection.dialect.name == "postgresql":  # a table may be large: as long as it takes
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _back_up(settings: Settings, found: str) -> Path | None:
    url = engines.address(settings)
    if url.get_backend_name() == "sqlite":
        return _copy(settings.folder)
    target = settings.folder.backup / f"dure-{_stamp()}.dump"
    why = _dump(url, target)
    if why is None:
        return target
    log.warning("upgrading the database from revision %s to %s without a copy of ours: %s", found, HEAD, why)
    return None


def _copy(folder: DataFolder) -> Path:
    """A consistent copy by SQLite itself, which includes what is still in the write-ahead log."""
    target = folder.backup / f"dure-{_stamp()}.sqlite"
    source, copy = sqlite3.connect(folder.db / "dure.sqlite"), sqlite3.connect(target)
    try:
        source.backup(copy)
    finally:
        source.close()
        copy.close()
    target.chmod(0o600)
    return target


def _dump(url: URL, target: Path) -> str | None:
    """Write what `pg_restore` reads; why not, where it could not."""
    program = shutil.which("pg_dump")
    if program is None:
        return "there is no pg_dump"
    place = url.set(drivername="postgresql", password=None).render_as_string()
    secret = {} if url.password is None else {"PGPASSWORD": url.password}  # an argument could be read by everybody
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    done = subprocess.run(
        [program, "--no-password", "--format=custom", f"--file={target}", f"--dbname={place}"],
        env={**os.environ, **secret},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return None
    target.unlink()
    return " ".join(done.stderr.split()) or f"pg_dump ended with {done.returncode}"


def _stamp() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"

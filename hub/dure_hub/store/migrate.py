"""Bring the database to this program's revision. Only `up` calls it, before any process opens the store."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from dure_hub.settings import DataFolder, Settings
from dure_hub.store.migrations import HEAD
from dure_hub.store.session import Store, WrongRevision, database_url

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(settings: Settings) -> Path | None:
    """Upgrade to the newest revision, after a backup copy, whose path is the answer; None if nothing was to do.

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
        backup = _back_up(settings.folder) if found is not None else None
        with store.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return backup
    finally:
        store.close()


def _back_up(folder: DataFolder) -> Path:
    """A consistent copy by SQLite itself, which includes what is still in the write-ahead log."""
    target = folder.backup / f"dure-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.sqlite"
    source, copy = sqlite3.connect(folder.db / "dure.sqlite"), sqlite3.connect(target)
    try:
        source.backup(copy)
    finally:
        source.close()
        copy.close()
    target.chmod(0o600)
    return target

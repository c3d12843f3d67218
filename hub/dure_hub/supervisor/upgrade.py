"""Brings all databases of a portal that is down to this program's revisions, or leaves every one as it was.

The SQLite databases are copied, the copies are migrated, and their folder takes the place of `db/` at once; the
old one goes into `backup/`. So a migration that fails, a full disk and a kill leave the old databases where they
are. Ours in PostgreSQL is migrated in one transaction there, after a `pg_dump`, right before the swap.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from dure.errors import DureError
from dure_hub.settings import RESERVE, Settings
from dure_hub.store import migrate as store
from dure_hub.supervisor import revisions, swap
from dure_hub.supervisor.errors import UpgradeFailed
from dure_hub.supervisor.revisions import DATABASES, HUB, MLFLOW, OURS, Database, Standing

Say = Callable[..., None]
_LEFT = ("-wal", "-shm", "-journal")


def plan(settings: Settings) -> list[Standing]:
    """Where each database stands. Raises `DatabaseNewer` where one is newer than this program; changes nothing."""
    found = revisions.look(settings)
    revisions.check(settings, found)
    return found


def upgrade(settings: Settings, say: Say) -> Path | None:
    """Bring everything up to date; where the copies of the old databases are, None if nothing was to be done.

    The caller holds run/lock. Ours is made where there is none yet. Raises `UpgradeFailed`, and then nothing has
    changed, or `DatabaseNewer`.
    """
    standings = plan(settings)
    files = [one.database for one in standings if one.older and _is_file(settings, one.database)]
    try:
        if not files:
            backup = store.migrate(settings)
        else:
            say("migrating", backup=str(settings.folder.backup))
            backup = _swap(settings, files, say)
        revisions.note(settings)
    except DureError:
        raise
    except Exception as why:
        raise UpgradeFailed(folder=str(settings.folder.root), reason=_first_line(why)) from why
    return backup


def _swap(settings: Settings, files: Sequence[Database], say: Say) -> Path:
    folder = settings.folder
    swap.clear(folder.backup.glob("db.before-upgrade-*"))
    old = swap.aside(folder.backup / "db", "before-upgrade")
    with swap.making(folder.upgrading) as stage:
        _copy(folder.db, stage)
        for database in files:
            say("migrating_one", database=database.title)
            _migrate(database, database.path(stage))
        if settings.database_url:
            store.migrate(settings)
        os.sync()
        swap.put(stage, folder.db, old)
    for name in RESERVE:
        (old / name).unlink(missing_ok=True)
    return old


def _is_file(settings: Settings, database: Database) -> bool:
    return database is not OURS or not settings.database_url


def _copy(source: Path, target: Path) -> None:
    """All of it but the reserve, which is set aside anew: databases as SQLite copies them, write-ahead log
    included, anything else as it is."""
    known = {database.path(source) for database in DATABASES}
    for path in source.iterdir():
        if path in known:
            copy_database(path, target / path.name)
        elif path.is_file() and path.name not in RESERVE and not path.name.endswith(_LEFT):
            shutil.copy2(path, target / path.name)


def copy_database(source: Path, target: Path) -> None:
    """A consistent copy of an SQLite file, of mode 600 from its first byte on."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(source, timeout=30)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def _migrate(database: Database, path: Path) -> None:
    """Bring one file up to date, by its owner's own migrations."""
    if database is OURS:
        store.migrate_file(path)
    elif database is HUB:
        _run_alembic_of_the_hub(path)
    else:
        _migrate_mlflow(database, path)


def _run_alembic_of_the_hub(path: Path) -> None:
    """As `jupyterhub upgrade-db` does, which finds `alembic` by PATH and copies the file once more."""
    from jupyterhub.dbutil import write_alembic_ini

    ini = path.with_name("hub-alembic.ini")
    write_alembic_ini(str(ini), f"sqlite:///{path}")
    command = [sys.executable, "-m", "alembic", "-c", str(ini), "upgrade", "head"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    ini.unlink()
    if done.returncode != 0:
        raise RuntimeError(_last_line(done.stderr) or f"alembic ended with {done.returncode}")


def _migrate_mlflow(database: Database, path: Path) -> None:
    """In a process of its own: MLflow sets up logging and telemetry for whoever imports it."""
    code = _MLFLOW if database is MLFLOW else _MLFLOW_AUTH
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    done = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{path}"],
        env={**os.environ, **quiet},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(_last_line(done.stderr) or f"MLflow's migration ended with {done.returncode}")


_MLFLOW = """
import sys
from mlflow.store.db.utils import _upgrade_db, create_sqlalchemy_engine_with_retry
_upgrade_db(create_sqlalchemy_engine_with_retry(sys.argv[1]))
"""
_MLFLOW_AUTH = """
import sys
from mlflow.server.auth.db.utils import migrate_if_needed
from sqlalchemy import create_engine
migrate_if_needed(create_engine(sys.argv[1]), "head")
"""


def _first_line(why: BaseException) -> str:
    lines = str(why).strip().splitlines()
    return lines[0] if lines else repr(why)


def _last_line(text: str) -> str:
    """What a traceback ends with, without what SQLAlchemy adds to it."""
    lines = [line for line in text.strip().splitlines() if line and not line.startswith(("[SQL", "(Background"))]
    return lines[-1] if lines else ""

"""Restores our own database where it is PostgreSQL, in one transaction of that server."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import psycopg
from psycopg import sql

from dure_hub.archives.errors import DatabaseInUse, RestoreFailed
from dure_hub.archives.snapshot import place_and_environment, run
from dure_hub.settings import Settings
from dure_hub.store import engines
from dure_hub.supervisor import restoring

_COUNT = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"


def restore(settings: Settings, dump: Path, replace: bool, mark: str) -> list[str]:
    """Fill the database that the settings name from `dump`, all of it or nothing; `mark` is in it then.

    Tables that are there are in the way (`DatabaseInUse`), or, with `replace`, go into a schema of another name,
    which is the answer. Raises `RestoreFailed` where PostgreSQL's programs are missing or fail.
    """
    url = engines.address(settings).set(drivername="postgresql")
    try:
        with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
            row = connection.execute(_COUNT).fetchone()
    except psycopg.Error as why:
        raise RestoreFailed(file=dump.name, reason=" ".join(str(why).split())) from why
    if row is None or not row[0]:
        _load(settings, dump, mark)
        return []
    if not replace:
        raise DatabaseInUse
    old = f"before_restore_{time.strftime('%Y%m%dt%H%M%S', time.gmtime())}"
    _load(settings, dump, mark, f"ALTER SCHEMA public RENAME TO {old};\nCREATE SCHEMA public;\n")
    return [f"schema {old}"]


def put_back(settings: Settings, asides: list[str]) -> None:
    """Undo a restore: its tables go, and those that it had moved into a schema of another name come back."""
    url = engines.address(settings).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        old = asides[0].removeprefix("schema ") if asides else None
        connection.execute(
            sql.SQL("ALTER SCHEMA {} RENAME TO public").format(sql.Identifier(old))
            if old
            else sql.SQL("CREATE SCHEMA public")
        )


def _load(settings: Settings, dump: Path, mark: str, first: str = "") -> None:
    """`pg_restore` writes a script, and `psql` runs it in one transaction: a failure of either changes nothing."""
    programs = {name: shutil.which(name) for name in ("pg_restore", "psql")}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        raise RestoreFailed(file=dump.name, reason=f"{', '.join(missing)} is not on this machine")
    script = dump.with_suffix(".sql")
    place, environment = place_and_environment(settings)
    os.close(os.open(script, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    try:
        body = dump.with_suffix(".body")
        body.touch(mode=0o600)
        run(
            [str(programs["pg_restore"]), "--no-owner", "--no-privileges", f"--file={body}", str(dump)],
            environment,
        )
        with script.open("wb") as out, body.open("rb") as rest:
            out.write(f"SELECT pg_advisory_xact_lock({restoring.LOCK});\n{first}".encode())
            shutil.copyfileobj(rest, out)
            out.write(f"\nCOMMENT ON TABLE public.alembic_version IS '{mark}';\n".encode())
        options = ["--no-psqlrc", "--quiet", "--no-password", "--single-transaction", "--set=ON_ERROR_STOP=1"]
        run([str(programs["psql"]), *options, f"--file={script}", f"--dbname={place}"], environment)
    except RuntimeError as why:
        raise RestoreFailed(file=dump.name, reason=str(why)) from why

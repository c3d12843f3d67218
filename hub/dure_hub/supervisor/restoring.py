"""The renames of a restore, recorded before the first of them: after a kill all of them are done, or none.

What is recorded was unpacked, compared and is on the disk, so whoever comes next carries it on. Only where our
database lies on a server that has not taken the restore (one transaction there), nothing was renamed, nor will be.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from dure.errors import DureError
from dure_hub.settings import Settings
from dure_hub.store import engines
from dure_hub.supervisor import swap
from dure_hub.supervisor.restore_errors import RestoreIncomplete, RestoreInterrupted, RestoreUnknown

_PATIENCE_S = 30
LOCK = 0x64757265_72657374
"""Advisory lock of PostgreSQL's. A restore's transaction holds it, also one whose `psql` nobody waits for."""
_MARK = text("SELECT obj_description(to_regclass('public.alembic_version'), 'pg_class')")


class Move(BaseModel):
    """`made` becomes `place`, and what was there becomes `old`; see `swap.put`. A rename keeps the `inode`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    made: Path
    place: Path
    old: Path
    inode: int

    def is_there(self) -> bool:
        """Whether what was unpacked is under one of its names: the disk that they are on may be away."""
        return any(
            path.exists() and path.stat().st_ino == self.inode for path in (self.made, self.old, self.place)
        )


class Plan(BaseModel):
    """What a restore is about to do. `mark` is in the database from the transaction on that restores it there.

    It holds no password: that is in the file which `database_password_file` names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    moves: tuple[Move, ...]
    mark: str = ""
    database_url: str = ""
    database_password_file: Path | None = None


def unpacking(root: Path) -> Path:
    """Where a restore unpacks what becomes the data folder `root`: its subfolder `data`."""
    return root.with_name(f".{root.name}.restoring")


def record(root: Path, plan: Plan) -> None:
    """Write it down for good: from now on it is carried on, whatever happens."""
    file = _file(root)
    new = file.with_suffix(".new")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as out:
            out.write(plan.model_dump_json())
            out.flush()
            os.fsync(out.fileno())
        new.replace(file)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    swap.sync(root.parent)


def forget(root: Path) -> None:
    """It is done, or all of it was put back."""
    _file(root).unlink(missing_ok=True)
    swap.sync(root.parent)


def finish(root: Path) -> bool:
    """Carry on what a killed restore has recorded; whether the folder `root` is what it restored.

    Raises `SomebodyElseWorks` while that restore goes on, `RestoreUnknown` where nobody can say what it came to,
    and `RestoreIncomplete` where a part of it is away.
    """
    if not _file(root).exists():
        return False
    with ExitStack() as held:
        held.enter_context(swap.alone(unpacking(root)))
        try:
            plan = Plan.model_validate_json(_file(root).read_bytes())
        except FileNotFoundError:  # it has ended meanwhile
            return False
        taken = not plan.mark or _database_says(root, plan) == plan.mark
        away = [move for move in plan.moves if not move.is_there()]
        if away and taken:
            raise RestoreIncomplete(place=str(away[0].place), record=str(_file(root)))
        for move in plan.moves:
            if not move.made.is_relative_to(unpacking(root)) and move not in away:
                held.enter_context(swap.alone(move.made))
        for move in plan.moves:
            if taken:
                swap.finish(move.made, move.place, move.old)
            elif move not in away:
                swap.clear([move.made])
        forget(root)
        swap.put_away(unpacking(root))
    return taken


def refuse(root: Path) -> None:
    """Raise `RestoreInterrupted` where a killed restore waits to be carried on: what is there may be a mixture."""
    if _file(root).exists():
        raise RestoreInterrupted(folder=str(root))


def _database_says(root: Path, plan: Plan) -> str | None:
    place = {"database_url": plan.database_url, "database_password_file": plan.database_password_file}
    settings = Settings.model_validate({"data": root, **place})
    try:
        engine = engines.make_engine(engines.address(settings), _PATIENCE_S)
    except (OSError, DureError) as why:
        raise RestoreUnknown(address=plan.database_url, reason=str(why), record=str(_file(root))) from why
    try:
        with engine.connect() as connection:
            # A `psql` that lost its restore may be at work still; what it commits is seen after it.
            connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
            connection.rollback()
            return connection.execute(_MARK).scalar()
    except DBAPIError as why:
        shown, reason = engine.url.render_as_string(), " ".join(str(why.orig).split())
        raise RestoreUnknown(address=shown, reason=reason, record=str(_file(root))) from why
    finally:
        engine.dispose()


def _file(root: Path) -> Path:
    return root.with_name(f".{root.name}.restoring.json")

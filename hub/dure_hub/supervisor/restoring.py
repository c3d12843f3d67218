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

from dure_hub.settings import Settings
from dure_hub.store import engines
from dure_hub.supervisor import swap
from dure_hub.supervisor.errors import DatabaseAway

_PATIENCE_S = 30
_MARK = text("SELECT obj_description(to_regclass('public.alembic_version'), 'pg_class')")


class Move(BaseModel):
    """`made` becomes `place`, and what was there becomes `old`; see `swap.put`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    made: Path
    place: Path
    old: Path


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

    Raises `SomebodyElseWorks` while that restore goes on, and `DatabaseAway` where nobody can say what it came to.
    """
    if not _file(root).exists():
        return False
    with ExitStack() as held:
        held.enter_context(swap.alone(unpacking(root)))
        try:
            plan = Plan.model_validate_json(_file(root).read_bytes())
        except FileNotFoundError:  # it has ended meanwhile
            return False
        others = (move.made for move in plan.moves if not move.made.is_relative_to(unpacking(root)))
        for made in others:
            held.enter_context(swap.alone(made))
        taken = not plan.mark or _database_says(root, plan) == plan.mark
        for move in plan.moves:
            if taken:
                swap.finish(move.made, move.place, move.old)
            else:
                swap.clear([move.made])
        forget(root)
        swap.put_away(unpacking(root))
    return taken


def _database_says(root: Path, plan: Plan) -> str | None:
    place = {"database_url": plan.database_url, "database_password_file": plan.database_password_file}
    engine = engines.make_engine(engines.address(Settings.model_validate({"data": root, **place})), _PATIENCE_S)
    try:
        with engine.connect() as connection:
            return connection.execute(_MARK).scalar()
    except DBAPIError as why:
        shown = engine.url.render_as_string()
        raise DatabaseAway(address=shown, reason=" ".join(str(why.orig).split())) from why
    finally:
        engine.dispose()


def _file(root: Path) -> Path:
    return root.with_name(f".{root.name}.restoring.json")

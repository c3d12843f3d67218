"""Which revision each database has, and which ones this program knows. Looks; opens nothing for writing.

What MLflow and JupyterHub know is read from the text of their migrations: to import MLflow's takes seconds, and
`up` looks at each start.
"""

from __future__ import annotations

import ast
import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dure_hub.settings import DataFolder, Settings
from dure_hub.store import Store, database_url
from dure_hub.supervisor.errors import DatabaseNewer

WRITTEN_BY = "written-by"
"""A file of the data folder: which program last brought its databases up to date, and to which revisions."""


@dataclass(frozen=True)
class Database:
    """One of the databases of a data folder. `title` is what people read; `table` holds its revision."""

    name: str
    title: str
    package: str
    scripts: str
    table: str = "alembic_version"

    def path(self, db: Path) -> Path:
        """Its file in a folder of databases."""
        return db / f"{self.name}.sqlite"


OURS = Database("dure", "Dure", "dure_hub", "store/migrations/versions")
HUB = Database("hub", "JupyterHub", "jupyterhub", "alembic/versions")
MLFLOW = Database("mlflow", "MLflow", "mlflow", "store/db_migrations/versions")
MLFLOW_AUTH = Database(
    "mlflow-auth", "MLflow login", "mlflow", "server/auth/db/migrations/versions", "alembic_version_auth"
)
DATABASES = (OURS, HUB, MLFLOW, MLFLOW_AUTH)


@dataclass(frozen=True)
class Standing:
    """Where one database stands. `found` is None where it has not been made yet."""

    database: Database
    found: str | None
    wanted: str
    known: bool

    @property
    def older(self) -> bool:
        """Whether a migration is to be run."""
        return self.found is not None and self.known and self.found != self.wanted


def look(settings: Settings) -> list[Standing]:
    """All databases of this portal, ours first. Raises `NotReady` where a PostgreSQL does not answer."""
    return [standing(one, _found(settings, one)) for one in DATABASES]


def check(settings: Settings, standings: Sequence[Standing]) -> None:
    """Raise `DatabaseNewer` where one was brought to a revision that this program does not know."""
    for one in standings:
        if not one.known:
            refuse(one, written_by(settings.folder).get("program"), str(settings.folder.root))


def refuse(one: Standing, program: str | None, place: str) -> None:
    """Raise `DatabaseNewer` for what a newer program has written."""
    raise DatabaseNewer(
        place=place,
        database=one.database.title,
        found=one.found,
        known=one.wanted,
        by=program or {"en": "an unknown version", "ko": "알 수 없는 버전"},
        program=program_version(),
    )


def standing(database: Database, found: str | None) -> Standing:
    """What this revision means to this program."""
    graph = script_revisions(database)
    (head,) = set(graph) - {parent for parents in graph.values() for parent in parents}
    return Standing(database, found, head, found is None or found in graph)


@cache
def script_revisions(database: Database) -> Mapping[str, tuple[str, ...]]:
    """Every revision that the installed package has a migration for, with those that come right before it."""
    spec = find_spec(database.package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(database.package)
    found = {}
    for script in (Path(spec.submodule_search_locations[0]) / database.scripts).glob("*.py"):
        values = _constants(ast.parse(script.read_text()))
        if "revision" in values:
            before = values.get("down_revision") or ()
            found[str(values["revision"])] = (before,) if isinstance(before, str) else tuple(before)
    return found


def revision_of(path: Path, table: str) -> str | None:
    """The revision that an SQLite file has; None where there is no file, or nothing of Alembic in it."""
    if not path.exists():
        return None
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        there = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
        if there.fetchone() is None:
            return None
        row = connection.execute(f"SELECT version_num FROM {table}").fetchone()  # noqa: S608 - a name of ours
    return None if row is None else str(row[0])


def program_version() -> str:
    """The version of this program."""
    try:
        return version("dure")
    except PackageNotFoundError:
        return "unknown"


def written_by(folder: DataFolder) -> dict[str, Any]:
    """What `note` has left: `program` and `revisions`; empty where an older program has left nothing."""
    try:
        found = json.loads((folder.root / WRITTEN_BY).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def note(settings: Settings) -> None:
    """Write down that this program has used the folder, for an older one to name it."""
    about = {
        "program": program_version(),
        "revisions": {one.name: standing(one, None).wanted for one in DATABASES},
    }
    if written_by(settings.folder) == about:
        return
    path = settings.folder.root / WRITTEN_BY
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(about, indent=2))
    temporary.chmod(0o600)
    temporary.replace(path)


def _found(settings: Settings, database: Database) -> str | None:
    if database is not OURS or not settings.database_url:
        return revision_of(database.path(settings.folder.db), database.table)
    store = Store(database_url(settings))
    try:
        return store.revision()
    finally:
        store.close()


def _constants(tree: ast.Module) -> dict[str, Any]:
    """What a module assigns to names as plain values, with or without an annotation."""
    found: dict[str, Any] = {}
    for node in tree.body:
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        for target in targets:
            value = node.value  # type: ignore[attr-defined]
            if isinstance(target, ast.Name) and value is not None:
                try:
                    found[target.id] = ast.literal_eval(value)
                except ValueError:
                    continue
    return found

"""A data folder of the previous release, already upgraded, with nothing of it running."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dure_hub.settings import Settings, load_settings, resolve_settings
from dure_hub.supervisor.upgrade import upgrade
from tests.support.lived_in import unpack
from tests.support.postgres import postgres as postgres

PREVIOUS = Path(__file__).parents[2] / "data" / "dure-0.1.0-0006.tar.xz"


def quiet(key: str, **facts: object) -> None:
    """Say nothing."""


def state(root: Path) -> dict[str, str]:
    """Every file, folder and link below `root`, with what is in it; databases by their rows."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.suffix == ".sqlite":
            found[name] = dump(path)
        elif path.is_file() and not name.endswith(("-wal", "-shm", "lock")):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.is_dir():
            found[name] = "folder"
    return found


def dump(path: Path) -> str:
    """All rows of a database, as a digest."""
    with closing(sqlite3.connect(path)) as connection:
        return hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()


@pytest.fixture(scope="session")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; to be copied."""
    folder = tmp_path_factory.mktemp("upgraded")
    unpack(PREVIOUS, folder)
    settings = resolve_settings(data=folder / "data")
    settings.folder.create()
    upgrade(settings, quiet)
    return folder / "data"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The data folder as the previous release left it."""
    unpack(PREVIOUS, tmp_path)
    return tmp_path / "data"


@pytest.fixture
def data(upgraded: Path, tmp_path: Path) -> Path:
    """A data folder of this release."""
    return Path(shutil.copytree(upgraded, tmp_path / "data", symlinks=True))


@pytest.fixture
def settings(data: Path) -> Settings:
    """Those that its portal ran with, which `backup` reads."""
    return load_settings(data).model_copy(update={"data": data})


@pytest.fixture
def said() -> tuple[list[str], Callable[..., Any]]:
    """What was said, and what says it."""
    keys: list[str] = []
    return keys, lambda key, **facts: keys.append(key)

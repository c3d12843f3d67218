"""Code and data of a job as one zip, addressed by its SHA-256.

The same files give the same bytes: names sorted, times and owners left out. So a snapshot that the portal has
already is not sent again.
"""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dure.errors import Conflict
from dure.sdk_errors import MissingFile, SnapshotTooLarge

IGNORED = frozenset(
    {
        ".dure",
        ".git",
        ".hg",
        ".venv",
        "venv",
        "__pycache__",
        ".ipynb_checkpoints",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        "node_modules",
        ".DS_Store",
    }
)
LIMIT_MB = 512
EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Snapshot:
    """A zip that lies in a temporary folder until its `with` block ends."""

    file: Path
    digest: str


def collect(folder: Path, wanted: Iterable[str | Path]) -> dict[str, Path]:
    """Files to send by their name in the zip. Folders are taken whole but for caches and environments,
    a person's own Python (`~/.dure`) among them.

    Names count from `folder`, as they were given: a link goes as a file of the link's name. What lies outside of
    it is taken under its own last name.
    """
    found: dict[str, Path] = {}
    for entry in wanted:
        path = placed(folder, entry)
        if not path.exists():
            raise MissingFile(path=str(entry), folder=str(folder))
        top = folder if path.is_relative_to(folder) and path != folder else path.parent
        for file in _files(path):
            name = file.relative_to(path if path == folder else top).as_posix()
            if found.setdefault(name, file) != file:
                raise Conflict(kind="file", name=name, rule=f"both {found[name]} and {file} would have this name")
    return found


def placed(folder: Path, entry: str | Path) -> Path:
    """Where this entry is, under the name it was given: in `folder` where it can be said so, else anywhere."""
    path = Path(os.path.normpath(folder / Path(entry).expanduser()))
    if path.is_relative_to(folder):
        return path
    # By another way into the folder (it is a link itself, or /tmp is): only the last name is the person's own.
    return path.parent.resolve() / path.name


def local_imports(entry: Path) -> set[Path]:
    """The modules beside this file that it imports, and those that they import."""
    found: set[Path] = set()
    waiting = [entry]
    while waiting:
        for name in _imported(waiting.pop()):
            for candidate in (entry.parent / f"{name}.py", entry.parent / name):
                package = candidate.suffix == "" and (candidate / "__init__.py").is_file()
                if candidate not in found and candidate != entry and (package or candidate.is_file()):
                    if candidate.suffix == ".py" or package:
                        found.add(candidate)
                    waiting += [candidate] if candidate.suffix == ".py" else sorted(candidate.rglob("*.py"))
    return found


@contextmanager
def pack(files: Mapping[str, Path], texts: Mapping[str, str] | None = None) -> Iterator[Snapshot]:
    """Zip these files, and texts under their names. The zip is gone after the block."""
    _check_size(files)
    with tempfile.TemporaryDirectory(prefix="dure-") as folder:
        target = Path(folder) / "snapshot.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted({*files, *(texts or {})}):
                content = texts[name].encode() if texts and name in texts else files[name].read_bytes()
                archive.writestr(_entry(name, files.get(name)), content, zipfile.ZIP_DEFLATED)
        with target.open("rb") as packed:
            digest = hashlib.file_digest(packed, "sha256").hexdigest()
        yield Snapshot(target, digest)


def git_commit(folder: Path) -> str | None:
    """The commit of a clean work tree; None where there is none, or where it has changes of its own."""
    commit = _git(folder, "rev-parse", "HEAD")
    return commit if commit and _git(folder, "status", "--porcelain") == "" else None


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for folder, names, files in os.walk(path):
        names[:] = sorted(name for name in names if name not in IGNORED)
        for name in sorted(files):
            file = Path(folder) / name
            if name not in IGNORED and file.suffix != ".pyc" and file.is_file():
                yield file


def _imported(file: Path) -> set[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:
        return set()  # the job's own traceback will say it best
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def _entry(name: str, file: Path | None) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    runnable = file is not None and os.access(file, os.X_OK)
    info.external_attr = (0o100755 if runnable else 0o100644) << 16
    info.create_system = 3
    return info


def _check_size(files: Mapping[str, Path]) -> None:
    sizes: Sequence[tuple[int, str]] = sorted(((file.stat().st_size, name) for name, file in files.items()))
    total = sum(size for size, _ in sizes)
    if total > LIMIT_MB << 20:
        raise SnapshotTooLarge(size_mb=total >> 20, limit_mb=LIMIT_MB, largest=sizes[-1][1])

"""Backup, restore, upgrade: killed at several points, and on a full disk. What was there before is there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dure_hub.archives.backup import backup
from dure_hub.archives.errors import BackupFailed, NoRoom, RestoreFailed
from dure_hub.archives.restore import restore
from dure_hub.settings import DataFolder, Settings, load_settings, resolve_settings
from dure_hub.supervisor import swap
from dure_hub.supervisor.errors import UpgradeFailed
from dure_hub.supervisor.upgrade import upgrade
from tests.unit.archives.conftest import quiet, state

LARGE = 48 * 2**20
PATIENCE_S = 120
Condition = Callable[[], bool]


@pytest.fixture
def large(data: Path) -> Path:
    """A file that takes a while, of a kind that does not shrink; where it lies in the data folder."""
    (data / "users" / "ana" / "large").write_bytes(random.Random(0).randbytes(LARGE))
    return Path("users/ana/large")


def killed(words: list[str], data: Path, reached: Condition) -> None:
    """Run `dure` on this folder and kill it with SIGKILL once it has got there; it must not have ended before."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DURE_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "dure.cli", *words],
        env={**environment, "DURE_DATA": str(data)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    deadline = time.monotonic() + PATIENCE_S
    try:
        while not reached():
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            assert time.monotonic() < deadline, "it never got there"
        os.killpg(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


@pytest.mark.parametrize("point", ["the databases", "the beginning", "the middle"])
def test_a_killed_backup_is_no_file_and_the_next_one_is_whole(
    settings: Settings, large: Path, tmp_path: Path, point: str
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "yesterday").write_text("an earlier one")
    file, partial = place / "b", place / "b.partial"
    before = state(settings.folder.root)
    reached: dict[str, Condition] = {
        "the databases": lambda: size(place / ".b.databases" / "hub.sqlite") >= 0,
        "the beginning": lambda: size(partial) > 0,
        "the middle": lambda: size(partial) > LARGE // 2,
    }
    killed(["backup", str(file)], settings.folder.root, reached[point])
    assert not file.exists()
    assert (place / "yesterday").read_text() == "an earlier one"
    assert state(settings.folder.root) == before
    backup(settings, file, True, quiet)
    assert sorted(path.name for path in place.iterdir()) == ["b", "yesterday"]
    restore(file, tmp_path / "restored", False, quiet)
    assert size(tmp_path / "restored" / large) == LARGE


@pytest.mark.parametrize("point", ["the beginning", "the middle"])
@pytest.mark.parametrize("replace", [False, True])
def test_a_killed_restore_leaves_what_was_there_and_the_next_one_is_whole(
    settings: Settings, large: Path, tmp_path: Path, point: str, replace: bool
) -> None:
    backup(settings, tmp_path / "b", True, quiet)
    target = tmp_path / "target"
    if replace:
        settings.folder.root.rename(target)
        (target / "users" / "ana" / "since.txt").write_text("after the backup")
    before = state(target) if replace else {}
    stage = tmp_path / ".target.restoring"
    reached: dict[str, Condition] = {
        "the beginning": lambda: size(stage / swap.MARK) >= 0,
        "the middle": lambda: size(stage / "data" / large) > LARGE // 2,
    }
    words = ["restore", str(tmp_path / "b")] + ["--replace"] * replace
    killed(words, target, reached[point])
    assert target.exists() == replace
    assert (state(target) if replace else {}) == before
    asides = restore(tmp_path / "b", target, replace, quiet).asides
    assert [state(Path(aside)) for aside in asides] == [before] * replace
    assert size(target / large) == LARGE
    assert not stage.exists()


@pytest.mark.parametrize("point", ["the beginning", "the copies", "the migration"])
def test_a_killed_upgrade_changes_nothing_and_the_next_one_goes_through(old: Path, point: str) -> None:
    folder = DataFolder(old)
    before = state(folder.db)
    stage = folder.upgrading
    reached: dict[str, Condition] = {
        "the beginning": lambda: size(stage / swap.MARK) >= 0,
        "the copies": lambda: size(stage / "dure.sqlite") >= 0,
        "the migration": lambda: size(stage / "dure.sqlite-wal") >= 0,
    }
    killed(["upgrade"], old, reached[point])
    assert state(folder.db) == before
    backup_of = upgrade(resolve_settings(data=old), quiet)
    assert backup_of is not None
    assert state(backup_of) == before
    assert not stage.exists()
    assert [path.name for path in folder.backup.iterdir()] == [backup_of.name]


SWAP = """
import os, signal, sys
from pathlib import Path
from dure_hub.supervisor import swap

exchange, rename = swap._exchange, Path.rename
made, place, old = (Path(sys.argv[1]) / name for name in ("made", "place", "old"))

def die(*words):
    os.kill(os.getpid(), signal.SIGKILL)

def swap_and_die(one, other):
    exchange(one, other)
    die()

def unable(one, other):
    raise OSError(22, "Invalid argument")

def die_after_the_first(path, target):
    rename(path, target)
    if path == place:
        die()

def die_after_the_second(path, target):
    rename(path, target)
    if path == made and target == place:
        die()
"""


def put_and_die(folder: Path, how: str) -> None:
    """In a process of its own, put `made` into `place`, and be killed on the way."""
    command = [sys.executable, "-c", f"{SWAP}\n{how}\nswap.put(made, place, old)", str(folder)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


def made_and_there(folder: Path) -> tuple[Path, Path, Path]:
    made, place, old = folder / "made", folder / "place", folder / "old"
    for path, text in ((made, "new"), (place, "old")):
        path.mkdir()
        (path / "text").write_text(text)
    (made / swap.MARK).touch()
    return made, place, old


def test_killed_before_the_swap_the_old_is_in_place(tmp_path: Path) -> None:
    _, place, old = made_and_there(tmp_path)
    put_and_die(tmp_path, "swap._exchange = die")
    assert (place / "text").read_text() == "old"
    swap.clear([old])
    assert not old.exists(), "it never was the old one"


def test_killed_after_the_swap_the_new_is_in_place_and_the_old_is_kept(tmp_path: Path) -> None:
    _, place, old = made_and_there(tmp_path)
    put_and_die(tmp_path, "swap._exchange = swap_and_die")
    assert [(path / "text").read_text() for path in (place, old)] == ["new", "old"]
    swap.clear([old])
    assert (old / "text").read_text() == "old"
    again = tmp_path / "again"
    again.mkdir()
    (again / swap.MARK).touch()
    swap.put(again, place, tmp_path / "older")
    swap.clear([tmp_path / "older"])
    assert (tmp_path / "older" / "text").read_text() == "new", "what was in place once is never cleared away"


@pytest.mark.parametrize("step", ["first", "second"])
def test_where_folders_cannot_be_swapped_a_kill_between_the_renames_is_recovered_from(
    tmp_path: Path, step: str
) -> None:
    made, place, old = made_and_there(tmp_path)
    put_and_die(tmp_path, f"swap._exchange = unable; Path.rename = die_after_the_{step}")
    assert place.exists() == (step == "second")
    assert swap.recover(made, place) == (step == "first")
    assert [(path / "text").read_text() for path in (place, old)] == ["new", "old"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB, which is gone afterwards."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode != 0:
        pytest.skip("this root may not mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(place: Path, leave: int) -> None:
    """Leave so many bytes free there."""
    found = os.statvfs(place)
    (place / "filler").write_bytes(bytes(max(found.f_bavail * found.f_frsize - leave, 0)))


@pytest.fixture
def no_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the disk became full after it was looked at."""
    monkeypatch.setattr("dure_hub.archives.backup.shutil.disk_usage", lambda place: type("", (), {"free": 2**60}))


def test_a_full_disk_is_foreseen(settings: Settings, small_disk: Path, tmp_path: Path) -> None:
    fill(small_disk, 2**20)
    with pytest.raises(NoRoom):
        backup(settings, small_disk / "b", True, quiet)
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


@pytest.mark.parametrize("leave", [100_000, 2**20, 6 * 2**20])
@pytest.mark.usefixtures("no_forecast")
def test_a_disk_that_gets_full_under_a_backup(
    settings: Settings, large: Path, small_disk: Path, leave: int
) -> None:
    (small_disk / "yesterday").write_text("an earlier one")
    fill(small_disk, leave)
    with pytest.raises(BackupFailed, match=r"No space left|disk is full|disk I/O"):
        backup(settings, small_disk / "b", True, quiet)
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler", "yesterday"]
    assert (small_disk / "yesterday").read_text() == "an earlier one"


@pytest.mark.parametrize("leave", [100_000, 6 * 2**20])
@pytest.mark.usefixtures("no_forecast")
def test_a_disk_that_gets_full_under_a_restore(
    settings: Settings, small_disk: Path, tmp_path: Path, leave: int
) -> None:
    backup(settings, tmp_path / "small", True, quiet)
    restore(tmp_path / "small", small_disk / "data", False, quiet)
    (settings.folder.users / "ana" / "large").write_bytes(random.Random(0).randbytes(LARGE))
    backup(settings, tmp_path / "b", True, quiet)
    before = state(small_disk / "data")
    fill(small_disk, leave)
    for target, replace in ((small_disk / "data", True), (small_disk / "new", False)):
        with pytest.raises(RestoreFailed, match="No space left"):
            restore(tmp_path / "b", target, replace, quiet)
    assert state(small_disk / "data") == before
    assert sorted(path.name for path in small_disk.iterdir()) == ["data", "filler"]


@pytest.mark.parametrize("leave", [50_000, 900_000])
def test_a_disk_that_gets_full_under_an_upgrade(old: Path, small_disk: Path, tmp_path: Path, leave: int) -> None:
    backup(load_settings(old).model_copy(update={"data": old}), tmp_path / "b", True, quiet)
    data = small_disk / "data"
    restore(tmp_path / "b", data, False, quiet)
    before = state(data)
    fill(small_disk, leave)
    with pytest.raises(UpgradeFailed, match=r"They are as they were before"):
        upgrade(resolve_settings(data=data), quiet)
    assert state(data) == before
    (small_disk / "filler").unlink()
    assert upgrade(resolve_settings(data=data), quiet) is not None

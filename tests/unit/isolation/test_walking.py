"""Trees that their owners nested as deep as they like, and swapped folders for links."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dure_hub.archives.members import LeftOut, walk
from dure_hub.importing.homes import copy_home, size_of
from dure_hub.isolation.removal import remove_tree
from dure_hub.isolation.walking import Folder, folders_below, open_below
from dure_hub.isolation.ways import show

DEEP = 1050
"""More than the levels that Python's stack has."""


def nested(top: Path, depth: int, name: str = "d") -> None:
    """Folders of this name in one another; the innermost, and the top, hold a file."""
    (top / "shallow").write_text("here")
    folder = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=folder)
        inner = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    file = os.open("bottom", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=folder)
    os.write(file, b"there")
    os.close(file)
    os.close(folder)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    return made


def test_every_folder_is_seen_before_what_is_in_it(home: Path) -> None:
    for name in ("b/y", "a/x/z", "a/w"):
        (home / name).mkdir(parents=True)
    (home / "a" / "one").touch()
    found = [(one.way, list(one.folders), one.files) for one in folders_below(home)]
    assert found == [
        ("", ["a", "b"], []),
        ("a/", ["w", "x"], ["one"]),
        ("a/w/", [], []),
        ("a/x/", ["z"], []),
        ("a/x/z/", [], []),
        ("b/", ["y"], []),
        ("b/y/", [], []),
    ]


def test_what_is_taken_out_is_not_entered(home: Path) -> None:
    (home / "a" / "x").mkdir(parents=True)
    (home / "b").mkdir()
    seen = []
    for one in folders_below(home):
        seen.append(one.way)
        one.folders[:] = [name for name in one.folders if name != "a"]
    assert seen == ["", "b/"]


def test_a_folder_that_became_a_link_is_not_entered(home: Path, tmp_path: Path) -> None:
    (home / "a").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").touch()
    wrong: list[OSError] = []
    seen: list[Folder] = []
    for one in folders_below(home, wrong.append):
        seen.append(one)
        if not one.way:
            (home / "a").rmdir()
            (home / "a").symlink_to(tmp_path / "secret")
    assert [one.way for one in seen] == [""]
    assert [(one.errno, one.filename) for one in wrong] == [(errno.ENOTDIR, "a/")]
    with pytest.raises(NotADirectoryError):
        open_below(home, "a/")


def test_a_backup_has_what_is_deep_and_names_what_is_too_deep(home: Path, tmp_path: Path) -> None:
    nested(home, DEEP)
    left = LeftOut()
    names = [one.name for one in walk(tmp_path, frozenset(), left)]
    assert max(names, key=len) == "home/" + "d/" * DEEP + "bottom"
    assert (len(names), left.names) == (1 + DEEP + 2, [])
    remove_tree(home)
    home.mkdir()
    nested(home, 20, "d" * 200)
    names = [one.name for one in walk(tmp_path, frozenset(), left)]
    assert "home/shallow" in names
    assert len(left.names) == 1
    assert left.names[0].startswith(f"home/{'d' * 200}/")
    remove_tree(home)


def test_a_deep_home_is_measured_and_copied_with_its_times(home: Path, tmp_path: Path) -> None:
    nested(home, DEEP)
    os.utime(home / "d" / "d", (1_000_000_000, 1_000_000_000))
    (home / "d").chmod(0o500)
    assert size_of(home) == len("here") + len("there")
    done = copy_home(home, tmp_path / "copy")
    assert (done.files, done.size) == (2, 9)
    inner = tmp_path / "copy" / "d" / "d"
    assert inner.stat().st_mtime == 1_000_000_000
    assert (tmp_path / "copy" / "d").stat().st_mode & 0o777 == 0o500
    names = [one.name for one in walk(tmp_path / "copy", frozenset(), LeftOut())]
    assert "d/" * DEEP + "bottom" in names
    for tree in (home, tmp_path / "copy"):
        (tree / "d").chmod(0o700)
        remove_tree(tree)


def test_what_is_shown_is_shown_to_the_bottom(home: Path) -> None:
    nested(home, DEEP)
    show(home, os.getegid())
    folder = open_below(home, "d/" * DEEP)
    assert os.stat("bottom", dir_fd=folder).st_mode & 0o777 == 0o640
    os.close(folder)
    remove_tree(home)

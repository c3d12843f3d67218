"""Handing folders over, where whoever wrote in them may have laid traps. Needs root, which may give files away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dure_hub.isolation import ways

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
ANA, GROUP = 54321, 54322


def home(tmp_path: Path) -> Path:
    """A folder with a file in a folder."""
    folder = tmp_path / "home"
    (folder / "work").mkdir(parents=True)
    (folder / "work" / "notes").write_text("hers")
    return folder


def owners(folder: Path) -> set[tuple[int, int]]:
    """Of everything in there, itself included."""
    found = [path.lstat() for path in (folder, *folder.rglob("*"))]
    return {(one.st_uid, one.st_gid) for one in found}


def test_everything_becomes_its_owners(tmp_path: Path) -> None:
    folder = home(tmp_path)
    ways.give(folder, ANA, GROUP)
    assert owners(folder) == {(ANA, GROUP)}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_link_is_given_and_what_it_leads_to_is_not(tmp_path: Path) -> None:
    folder, outside = home(tmp_path), tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("the portal's")
    (folder / "file").symlink_to(outside / "secret")
    (folder / "folder").symlink_to(outside)
    ways.give(folder, ANA, GROUP)
    assert owners(folder) == {(ANA, GROUP)}
    assert owners(outside) == {(0, 0)}


def test_a_file_with_a_name_elsewhere_stays_whose_it_was(tmp_path: Path) -> None:
    folder, outside = home(tmp_path), tmp_path / "shadow"
    outside.write_text("the system's")
    (folder / "trap").hardlink_to(outside)
    (folder / "again").hardlink_to(folder / "work" / "notes")
    ways.give(folder, ANA, GROUP)
    assert outside.stat().st_uid == 0
    assert (folder / "again").stat().st_uid == ANA  # all of its names are in there


def test_what_was_interrupted_is_done_again_and_what_was_done_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, chown = home(tmp_path), os.chown
    given: list[str] = []

    def killed(name: str, uid: int, gid: int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
        if given:
            raise KeyboardInterrupt
        given.append(name)
        chown(name, uid, gid, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    with monkeypatch.context() as patch:
        patch.setattr(os, "chown", killed)
        with pytest.raises(KeyboardInterrupt):
            ways.give(folder, ANA, GROUP)
    assert folder.stat().st_uid == 0  # so it counts as not done
    ways.give(folder, ANA, GROUP)
    assert owners(folder) == {(ANA, GROUP)}
    (folder / "roots").write_text("left by an administrator")
    ways.give(folder, ANA, GROUP)
    assert (folder / "roots").stat().st_uid == 0


def test_a_home_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(home(tmp_path))
    with pytest.raises(OSError, match="no plain"):
        ways.give(tmp_path / "link", ANA, GROUP)
    assert owners(tmp_path / "home") == {(0, 0)}


def test_the_way_lets_pass_and_shows_nothing_on_it(tmp_path: Path) -> None:
    target = tmp_path / "data" / "users" / "ana"
    target.mkdir(parents=True)
    ways.open_way(tmp_path / "data", target, GROUP)
    for folder in (tmp_path / "data", tmp_path / "data" / "users"):
        found = folder.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, GROUP, 0o710)
    assert target.stat().st_gid == 0


def test_a_way_over_somebody_elses_folder_is_none(tmp_path: Path) -> None:
    target = tmp_path / "data" / "users" / "ana"
    target.mkdir(parents=True)
    os.chown(tmp_path / "data" / "users", ANA, GROUP)
    with pytest.raises(NotADirectoryError):
        ways.open_way(tmp_path / "data", target, GROUP)


def test_what_is_shown_can_be_read_by_the_group_alone(tmp_path: Path) -> None:
    folder = home(tmp_path)
    (folder / "elsewhere").symlink_to("/etc/hostname")
    ways.show(folder, GROUP)
    found = (folder / "work" / "notes").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, GROUP, 0o640)
    assert (folder / "work").stat().st_mode & 0o777 == 0o750
    assert Path("/etc/hostname").stat().st_gid == 0

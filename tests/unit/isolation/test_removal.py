"""Folders that people nested deeper than Python goes are removed like any other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dure_hub.backends.base import Kind
from dure_hub.backends.embedded.isolating import drop_unrecorded
from dure_hub.backends.embedded.records import RunFolder
from dure_hub.isolation.removal import remove_tree
from dure_hub.operations.workfiles import remove
from dure_hub.settings import Settings

DEEP = 1200


def nest(place: Path, outside: Path) -> None:
    """So many folders in one another, each with a file and a link beside the next."""
    place.mkdir()
    folder = os.open(place, os.O_RDONLY)
    for _ in range(DEEP):
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=folder))
        os.symlink(outside, "out", dir_fd=folder)
        os.mkdir("d", 0o700, dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)


@pytest.mark.parametrize("way", [remove_tree, remove])
def test_a_thousand_folders_in_one_another_go_and_nothing_outside(tmp_path: Path, way: object) -> None:
    assert callable(way)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("x")
    nest(tmp_path / "deep", tmp_path / "outside")
    way(tmp_path / "deep")
    assert [one.name for one in tmp_path.iterdir()] == ["outside"]
    assert (tmp_path / "outside" / "kept").exists()


def test_a_tree_that_cannot_be_removed_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        remove_tree(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_was_handed_over_for_no_recorded_run_goes_at_the_next_start(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", instance="0123456789ab")
    settings.folder.create()
    for lease in ("recorded", "never"):
        (settings.folder.given / lease / "tmp").mkdir(parents=True)
    RunFolder(settings.folder.run / Kind.JOB, "recorded").create({"lease": "recorded"}, {})
    drop_unrecorded(settings)
    assert [one.name for one in settings.folder.given.iterdir()] == ["recorded"]

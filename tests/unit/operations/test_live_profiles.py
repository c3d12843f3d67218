"""An edit of profiles.yaml counts, whoever reads it first, and whether or not a copy of it can be kept."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dure_hub.operations.live_profiles import LiveProfiles, keep
from dure_hub.settings import DataFolder

TEXT = "profiles:\n  {name}: {{cpu_cores: 2}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """With a file that was read before."""
    made = DataFolder(tmp_path)
    made.run.mkdir()
    made.profiles.write_text(TEXT.format(name="before"))
    LiveProfiles(made).current()
    return made


def edit(folder: DataFolder) -> None:
    folder.profiles.write_text(TEXT.format(name="afterwards"))


def test_two_threads_that_keep_the_same_copy_at_once_both_see_the_edit(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have written their copy before either puts it in place."""
    both, fsync = threading.Barrier(2, timeout=20), os.fsync

    def together(descriptor: int) -> None:
        fsync(descriptor)
        both.wait()

    files = [LiveProfiles(folder), LiveProfiles(folder)]
    for file in files:
        assert list(file.current().profiles) == ["before"]
    edit(folder)
    monkeypatch.setattr(os, "fsync", together)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda file: file.current(), files))
    assert [list(one.profiles) for one in found] == [["afterwards"]] * 2
    assert [list(file.current().profiles) for file in files] == [["afterwards"]] * 2
    assert folder.good_profiles.read_text() == folder.profiles.read_text()


def test_an_edit_counts_where_no_copy_of_it_can_be_kept(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = LiveProfiles(folder)
    before = folder.good_profiles.read_text()
    edit(folder)
    monkeypatch.setattr(os, "fsync", _full)
    assert list(file.current().profiles) == ["afterwards"]
    assert file.problem is None
    assert "No space left" in caplog.text
    assert folder.good_profiles.read_text() == before


def test_a_copy_that_cannot_be_written_leaves_nothing(
    folder: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _full)
    there = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match="No space left"):
        keep(folder.profiles, "another")
    assert sorted(tmp_path.rglob("*")) == there


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")

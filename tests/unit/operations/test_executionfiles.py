"""What people's code leaves behind is read with care."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dure_hub.operations.executionfiles import EXECUTED, ExecutionFolder, failure_of
from dure_hub.operations.workfiles import read_plain
from dure_hub.settings import Settings

TOLD: dict[str, Any] = {"state": "failed", "cell": 2, "source": "x = 1", "error": "ValueError", "message": "no"}


@pytest.fixture
def folder(tmp_path: Path) -> ExecutionFolder:
    """One with an empty folder of outputs."""
    made = ExecutionFolder(Settings(data=tmp_path), "01ARZ3NDEKTSV4RRFFQ69G5FAV")
    made.create()
    return made


def test_a_failure_is_read_as_it_was_told(folder: ExecutionFolder) -> None:
    assert folder.failure() is None
    (folder.outputs / "result.json").write_text(json.dumps(TOLD))
    failure = folder.failure()
    assert failure is not None
    assert failure.model_dump() == {name: TOLD[name] for name in ("cell", "source", "error", "message")}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"cell": True}, {"cell": None}),
        ({"cell": "2"}, {"cell": None}),
        ({"cell": -1}, {"cell": None}),
        ({"cell": 10**30}, {"cell": None}),
        ({"source": None}, {"source": None}),
        ({"source": ["x"]}, {"source": None}),
        ({"source": "x" * 10_000}, {"source": "x" * 200}),
        ({"error": None}, {"error": "unknown"}),
        ({"error": {"a": 1}}, {"error": "unknown"}),
        ({"message": "a\x00b\x1b[31mred\x1b[0m\u202e c\nd\t\x07"}, {"message": "abred c\nd\t"}),
        ({"message": "\ud800"}, {"message": "?"}),
        ({"message": "x" * 10_000}, {"message": "x" * 2000}),
        ({"more": "<script>", "page": "/x"}, {}),
    ],
)
def test_what_is_odd_in_it_is_left_out(change: dict[str, Any], expected: dict[str, Any]) -> None:
    failure = failure_of(json.dumps({**TOLD, **change}).encode())
    assert failure is not None
    known = {name: TOLD[name] for name in ("cell", "source", "error", "message")}
    assert failure.model_dump() == {**known, **expected}


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"\xff", b"null", b"[" * 60_000, b'{"state": "succeeded"}', b'{"state": ["failed"]}']
)
def test_what_is_no_failure_is_none(content: bytes) -> None:
    assert failure_of(content) is None


def test_links_pipes_folders_and_floods_are_not_read(folder: ExecutionFolder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    outputs = folder.outputs
    (outputs / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(outputs / "pipe")
    (outputs / "folder").mkdir()
    (outputs / "flood").write_bytes(b"x" * 11)
    (outputs / "fine").write_bytes(b"x" * 10)
    for name in ("link", "pipe", "folder", "flood", "missing"):
        assert read_plain(outputs, name, limit=10) is None, name
    assert read_plain(outputs, "fine", limit=10) == b"x" * 10


def test_an_executed_notebook_behind_a_link_is_not_shown(folder: ExecutionFolder, tmp_path: Path) -> None:
    (folder.outputs / EXECUTED).write_text("{}")
    assert folder.notebook() == b"{}"
    elsewhere = tmp_path / "elsewhere"
    folder.outputs.rename(elsewhere)
    folder.outputs.symlink_to(elsewhere)
    assert folder.notebook() is None
    folder.outputs.unlink()
    folder.outputs.mkdir()
    (folder.outputs / EXECUTED).symlink_to(elsewhere / EXECUTED)
    assert folder.notebook() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_in_a_folder_of_somebody_elses_only_their_own_files_are_read(
    folder: ExecutionFolder, tmp_path: Path
) -> None:
    """The portal is root there: another name of a file that the owner may not read would show it to them."""
    secret = tmp_path / "shadow"
    secret.write_text("the system's")
    os.chown(folder.outputs, 54321, 54321)
    (folder.outputs / EXECUTED).hardlink_to(secret)
    assert folder.notebook() is None
    (folder.outputs / EXECUTED).unlink()
    (folder.outputs / EXECUTED).write_text("theirs")
    assert folder.notebook() is None
    os.chown(folder.outputs / EXECUTED, 54321, 54321)
    assert folder.notebook() == b"theirs"

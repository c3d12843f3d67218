"""What up and down print."""

from __future__ import annotations

from pathlib import Path

import pytest

from dure_hub.supervisor.words import line


def test_a_command_is_named_as_it_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "box" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setattr("sys.executable", str(folder / "python"))
    monkeypatch.chdir(tmp_path / "box")
    assert "End it: bin/dure down" in line("detached", "en")
    monkeypatch.chdir(tmp_path)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert f"종료: {folder / 'dure'} down" in line("detached", "ko")
    monkeypatch.chdir(tmp_path)

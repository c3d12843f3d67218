"""What of the packages counts as a change for a process that is forked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dure_hub.backends.embedded.settled import differ, packages


def test_a_folder_that_an_import_adds_is_no_change_and_what_is_installed_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed, vendored = tmp_path / "site-packages", tmp_path / "vendored"
    installed.mkdir()
    vendored.mkdir()
    monkeypatch.setattr(sys, "path", [str(installed)])
    before = packages()
    sys.path.append(str(vendored))
    assert not differ(before)
    (installed / "new.py").touch()
    assert differ(before)

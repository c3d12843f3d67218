"""A data folder with a mark, and processes beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dure_hub.settings import Settings
from tests.unit.supervisor.kit import Begin


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder with a mark."""
    made = Settings.model_validate({"data": tmp_path / "d", "instance": os.urandom(6).hex()})
    made.folder.create()
    return made


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Each in a session of its own; killed after the test."""
    begun = []

    def start(code: str, *words: str, **marks: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            env={**os.environ, **marks},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        begun.append(process)
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line, f"it ended with {process.poll()}"
        return process, line

    yield start
    for process in begun:
        process.kill()
        process.communicate()

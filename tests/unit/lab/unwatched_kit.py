"""A notebook on a real server, as tests of output that no page has seen use it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from dure.wire.ids import new_id
from tests.unit.lab.kit import until
from tests.unit.lab.troubled_contents import FULL, REFUSED, SLOW, WAITING

WAITS = """
import os, pathlib, time
pathlib.Path('pid').write_text(str(os.getpid()))
print('first', flush=True)
while not pathlib.Path('go').exists():
    time.sleep(0.05)
print('last')
"""
HANGS = """
import signal, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
print('begun', flush=True)
time.sleep(600)
"""
OLD = [{"output_type": "stream", "name": "stdout", "text": "old\n"}]


@dataclass
class Notebook:
    """One on disk with two cells, `first` and `second`, and a kernel of its own."""

    client: httpx.Client
    file: Path
    session: str
    kernel: str
    log: Path

    @property
    def root(self) -> Path:
        return self.file.parents[1]

    def cells(self) -> list[Any]:
        text = until(self.file.read_text, "the file to be more than begun", self.log)
        return list(json.loads(text)["cells"])

    def text(self) -> str:
        """What the first cell shows on disk."""
        return "".join("".join(one.get("text", [])) for one in self.cells()[0]["outputs"])

    def refused(self) -> int:
        """How often the file could not be written."""
        file = self.root / REFUSED
        return len(file.read_text()) if file.exists() else 0

    def go(self) -> None:
        (self.file.parent / "go").touch()

    def ask(self, session: str, **cells: str | None) -> Any:
        """What the server answers to a page with these cells, or with those of the file."""
        told = [
            {"id": name, "source": source} for name, source in (cells or {"first": None, "second": None}).items()
        ]
        body = {"kernel": self.kernel, "session": session, "cells": told}
        return self.client.post("/dure/outputs", json=body).raise_for_status().json()

    def take_over(self, session: str, **cells: str | None) -> list[Any]:
        return list(self.ask(session, **cells)["executions"])

    def is_idle(self) -> bool:
        found = self.client.get(f"/api/kernels/{self.kernel}?no_track_activity=1").json()
        return str(found["execution_state"]) == "idle"


CELL = {"cell_type": "code", "metadata": {}, "execution_count": 9, "outputs": OLD}
CELLS = [{**CELL, "id": "first", "source": WAITS}, {**CELL, "id": "second", "source": HANGS}]


@contextmanager
def opened(client: httpx.Client, folder: Path, minor: int = 5, **kernel: str) -> Iterator[Notebook]:
    """A notebook file of this version and its kernel, a new one where none is named."""
    file = folder / new_id() / "a.ipynb"
    file.parent.mkdir()
    cells = [{name: value for name, value in cell.items() if minor >= 5 or name != "id"} for cell in CELLS]
    file.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": minor}))
    path = str(file.relative_to(folder))
    body = {"path": path, "name": "a", "type": "notebook", "kernel": kernel or {"name": "python3"}}
    session = client.post("/api/sessions", json=body).raise_for_status().json()
    yield Notebook(client, file, session["id"], session["kernel"]["id"], folder / "log")
    for name in (FULL, *SLOW.values(), WAITING, REFUSED):
        (folder / name).unlink(missing_ok=True)
    client.delete(f"/api/sessions/{session['id']}")

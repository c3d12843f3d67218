"""What an execution has on disk, in `executions/<id>/`. People's code writes its outputs: read with care."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from dure import wire
from dure_hub.operations.workfiles import WorkFolder
from dure_hub.settings import Settings

EXECUTED, RESULT = "executed.ipynb", "result.json"
EXECUTED_LIMIT = 64 << 20
_RESULT_LIMIT = 64 << 10
_SHORT, _LONG = 200, 2000
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)?", re.DOTALL)


class ExecutionFolder(WorkFolder):
    """The places of one execution."""

    def __init__(self, settings: Settings, execution_id: str) -> None:
        super().__init__(settings.folder.executions / execution_id)

    @property
    def executed(self) -> Path:
        """The notebook with its outputs, as far as it came."""
        return self.outputs / EXECUTED

    def has_executed(self) -> bool:
        """Whether it is there as a plain file in a plain folder."""
        try:
            kinds = (self.outputs.lstat().st_mode, self.executed.lstat().st_mode)
        except OSError:
            return False
        return stat.S_ISDIR(kinds[0]) and stat.S_ISREG(kinds[1])

    def notebook(self) -> bytes | None:
        """Its content; None where there is none that may be read, or it is larger than `EXECUTED_LIMIT`."""
        return read_plain(self.outputs, EXECUTED, EXECUTED_LIMIT)

    def failure(self) -> wire.Failure | None:
        """Where it stopped, by its own account; None where it says nothing that can be used."""
        content = read_plain(self.outputs, RESULT, _RESULT_LIMIT)
        return failure_of(content) if content is not None else None


def failure_of(content: bytes) -> wire.Failure | None:
    """The failure that a `result.json` tells of: only known fields, of their types, cut to a bearable length."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or told.get("state") != "failed":
        return None
    cell = told.get("cell")
    if isinstance(cell, bool) or not isinstance(cell, int) or not 0 < cell < 1_000_000:
        cell = None
    return wire.Failure(
        cell=cell,
        source=_text(told.get("source"), _SHORT) or None,
        error=_text(told.get("error"), _SHORT) or "unknown",
        message=_text(told.get("message"), _LONG),
    )


def read_plain(folder: Path, name: str, limit: int) -> bytes | None:
    """A plain file in a plain folder, of at most `limit` bytes. No link is followed and no pipe waited for.

    None for anything else: whatever its code left there that cannot be read is no result.
    """
    try:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
    except OSError:
        return None
    finally:
        os.close(place)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        return None
    with os.fdopen(file, "rb") as opened:
        content = opened.read(limit + 1)
    return content if len(content) <= limit else None


def _text(value: Any, limit: int) -> str:
    """Plain text without a terminal's codes, without characters that no answer or row can carry."""
    if not isinstance(value, str):
        return ""
    plain = _ESCAPES.sub("", value[: limit * 4]).encode("utf-8", "replace").decode()
    return "".join(sign for sign in plain if sign.isprintable() or sign in "\n\t")[:limit]

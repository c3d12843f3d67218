"""What an execution has on disk, in `executions/<id>/`. People's code writes its outputs: read with care."""

from __future__ import annotations

import json
import re
from typing import Any

from dure import wire
from dure_hub.operations.workfiles import WorkFolder, read_plain
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

    def notebook(self) -> bytes | None:
        """The notebook with its outputs, as far as it came.

        None where there is none that may be read, or it is larger than `EXECUTED_LIMIT`.
        """
        return read_plain(self.outputs, EXECUTED, limit=EXECUTED_LIMIT)

    def failure(self) -> wire.Failure | None:
        """Where it stopped, by its own account; None where it says nothing that can be used."""
        content = read_plain(self.outputs, RESULT, limit=_RESULT_LIMIT)
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


def _text(value: Any, limit: int) -> str:
    """Plain text without a terminal's codes, without characters that no answer or row can carry."""
    if not isinstance(value, str):
        return ""
    plain = _ESCAPES.sub("", value[: limit * 4]).encode("utf-8", "replace").decode()
    return "".join(sign for sign in plain if sign.isprintable() or sign in "\n\t")[:limit]

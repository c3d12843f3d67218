"""Outputs into a notebook file, by the server's own contents manager: its checks, its signing, its atomic save."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jupyter_core.utils import ensure_async

from dure_lab.executions import Execution


async def write(contents: Any, path: str, executions: Sequence[Execution]) -> str | None:
    """Into the cells that asked and whose source is still the same; no other cell is touched.

    The file's time after that in ISO 8601, or None where there was no such cell, and nothing was written. Raises
    Tornado's `HTTPError` as the contents manager does, where there is no such file or it cannot be written.
    """
    notebook = (await ensure_async(contents.get(path, type="notebook")))["content"]
    cells = {cell.get("id"): cell for cell in notebook["cells"] if cell["cell_type"] == "code"}
    changed = False
    for one in executions:
        cell = cells.get(one.cell)
        if cell is None or cell["source"] != one.code:
            continue
        cell["outputs"], cell["execution_count"] = one.outputs.in_file(), one.outputs.count
        cell["metadata"]["trusted"] = True  # its owner has run it, as in a page
        changed = True
    if not changed:
        return None
    saved = await ensure_async(contents.save({"type": "notebook", "format": "json", "content": notebook}, path))
    return str(saved["last_modified"].isoformat())

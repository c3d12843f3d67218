"""Outputs into a notebook file, by the server's own contents manager: its checks, its signing, its atomic save."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jupyter_core.utils import ensure_async

from dure_lab.executions import Execution, place


@dataclass
class Written:
    """What has come of it."""

    placed: list[Execution] = field(default_factory=list)
    """Those that the file has now."""
    at: str | None = None
    """The file's time after that in ISO 8601; None where it was not written."""
    held_back: bool = False
    """Whether it was not written because somebody has come meanwhile."""


async def write(contents: Any, path: str, executions: Sequence[Execution], alone: Callable[[], bool]) -> Written:
    """Into the cells that asked and whose source is still the same; no other cell is touched.

    `alone` is asked once more when the file was read. Raises Tornado's `HTTPError` and whatever else the contents
    manager does, where there is no such file or it cannot be written.
    """
    notebook = (await ensure_async(contents.get(path, type="notebook")))["content"]
    cells = _cells(notebook)
    # an older notebook keeps no ids: every page makes its own for it
    sources = {name: None if "id" in cell else cell["source"] for name, cell in cells.items()}
    placed = []
    for one in executions:
        cell = cells.get(place(one, sources) or "")
        if cell is None or cell["source"] != one.code:
            continue
        cell["outputs"], cell["execution_count"] = one.outputs.in_file(), one.outputs.count
        cell["metadata"]["trusted"] = True  # its owner has run it, as in a page
        placed.append(one)
    if not placed:
        return Written()
    if not alone():
        return Written(held_back=True)
    saved = await ensure_async(contents.save({"type": "notebook", "format": "json", "content": notebook}, path))
    return Written(placed, str(saved["last_modified"].isoformat()))


def _cells(notebook: Any) -> dict[str, Any]:
    """Its code cells, by their ids; those without one by their places."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return {cell.get("id", f"#{number}"): cell for number, cell in enumerate(code)}

"""A program that makes HTML of an executed notebook: the notebook comes in by stdin, its body goes out by stdout.

A process of its own, because nothing else can be ended: a few thousand brackets keep a markdown parser busy for
minutes, and threads go on. It is given so much processor time and memory, however its notebook was made.
"""

from __future__ import annotations

import re
import resource
import sys
from importlib import import_module
from typing import Any

TEXT_LIMIT, PIECE_LIMIT = 600_000, 150_000
"""Characters of text and HTML shown in all, and in one cell or output."""
CELLS_LIMIT = 2000
CPU_S, MEMORY = 8, 2 << 30
UNREADABLE = 3
"""The exit code for what is no notebook; stdout then names the error."""
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/svg+xml")
_REACHES_OUT = re.compile(
    r"<(?=(?:link|meta|base|i?frame|frameset|fencedframe|portal|object|embed)[\s/>])", re.IGNORECASE
)


def main() -> int:
    """`python -m dure_hub.shown_notebook CUT`, where CUT stands for what is left out."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        body = converted(sys.stdin.buffer.read().decode("utf-8", "replace"), sys.argv[1])
    except Exception as error:  # noqa: BLE001 - a broken notebook fails in any way that its libraries have
        sys.stdout.write(type(error).__name__)
        return UNREADABLE
    sys.stdout.buffer.write(body.encode("utf-8", "replace"))
    return 0


def converted(text: str, cut: str) -> str:
    """The body of the document."""
    nbconvert, nbformat = import_module("nbconvert"), import_module("nbformat")  # seconds; without types
    notebook = nbformat.reads(text, as_version=4)
    exporter = nbconvert.HTMLExporter(template_name="basic", embed_images=False)
    body, _ = exporter.from_notebook_node(lightened(notebook, cut))
    # A policy keeps requests from leaving, but not connections that a browser opens ahead: chromium does so for a
    # frame's address before it asks whether there may be one. So these become elements that mean nothing.
    return _REACHES_OUT.sub("<x-", str(body))


def lightened(notebook: Any, cut: str) -> Any:
    """The notebook with what can be converted in seconds; `cut` stands for text and HTML that is left out."""
    left = TEXT_LIMIT

    def shortened(text: Any) -> str:
        nonlocal left
        whole = "".join(text) if isinstance(text, list) else str(text)
        room = max(min(left, PIECE_LIMIT), 0)
        left -= min(len(whole), room)
        return whole if len(whole) <= room else f"{whole[:room]}\n{cut}"

    notebook.cells = notebook.cells[:CELLS_LIMIT]
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.pop("attachments", None)
        cell.source = shortened(cell.source)
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                output.text = shortened(output.text)
            elif output.output_type == "error":
                output.traceback = [shortened("\n".join(output.traceback))]
            else:
                _lighten_data(output.data, shortened, left)
    return notebook


def _lighten_data(data: Any, shortened: Any, left: int) -> None:
    """Keep one form of an output: a picture, else HTML that can be shown whole, else text."""
    picture = next((kind for kind in _PICTURES if kind in data), None)
    rich = "".join(data.get("text/html", ""))
    if picture is not None:
        kept = picture
    elif rich and len(rich) <= min(PIECE_LIMIT, left):
        kept = "text/html"
    else:
        kept = next((kind for kind in ("text/markdown", "text/latex", "text/plain") if kind in data), "")
    for kind in [kind for kind in data if kind != kept]:
        del data[kind]
    if kept and picture is None:
        data[kept] = shortened(data[kept])


if __name__ == "__main__":
    sys.exit(main())

"""An executed notebook as a document for a frame. It is people's code and people's output: policy keeps it in.

The headers let the browser run nothing of it and fetch nothing for it, whatever it holds, in an origin of its own.
Converting is bounded: nbconvert takes seconds for a megabyte of HTML, and a thread cannot be ended.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from hashlib import sha256
from html import escape
from importlib import import_module
from threading import Lock
from typing import Any

from dure_hub.services.pages.words import say

log = logging.getLogger("dure.services")
LIMIT = 24 << 20
"""Bytes of a notebook that is shown; most of a large one is pictures, which cost little."""
TEXT_LIMIT, PIECE_LIMIT = 600_000, 150_000
"""Characters of text and HTML shown in all, and in one cell or output."""
CELLS_LIMIT = 2000
POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "SAMEORIGIN",
    "X-DNS-Prefetch-Control": "off",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/svg+xml")
_REACHES_OUT = re.compile(
    r"<(?=(?:link|meta|base|i?frame|frameset|fencedframe|portal|object|embed)[\s/>])", re.IGNORECASE
)
_KEPT = 8

STYLE = """
:root { color-scheme: light; }
body { margin: 0; padding: 1rem 1.25rem; background: #fff; color: #17211e; font: 15px/1.55 system-ui, sans-serif; }
pre, code { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", "NanumGothicCoding", monospace; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.cell { margin: 0 0 .9rem; }
.prompt { color: #6a7671; font: 11px ui-monospace, monospace; margin-top: .3rem; }
.input_area { background: #f4f6f5; border: 1px solid #d8dedb; border-radius: 6px; padding: .5rem .75rem; }
.input_area { overflow-x: auto; }
.output_area { padding: .3rem .75rem; overflow-x: auto; }
.output_stderr, .output_error { background: #fbeae9; border-radius: 6px; padding: .4rem .6rem; }
.anchor-link { display: none; }
img { max-width: 100%; }
span[style^="color:red"] { font-size: 1.1em !important; color: #b3261e !important; }
table { border-collapse: collapse; font-size: 13px; }
th, td { border: 1px solid #d8dedb; padding: .2rem .5rem; text-align: left; }
.ansi-bold { font-weight: bold; } .ansi-underline { text-decoration: underline; }
.ansi-red-fg { color: #b3261e; } .ansi-green-fg { color: #1a7f4b; } .ansi-yellow-fg { color: #8a5800; }
.ansi-blue-fg { color: #1f5fbf; } .ansi-magenta-fg { color: #8a3ab9; } .ansi-cyan-fg { color: #0b7285; }
.ansi-red-intense-fg { color: #8c1d18; } .ansi-green-intense-fg { color: #0f5f36; }
.k, .kn, .kd, .kc, .ow { color: #00695c; font-weight: 600; } .s, .s1, .s2, .sa, .sd, .si { color: #a03a13; }
.c, .c1, .ch, .cm { color: #5c6b66; font-style: italic; } .mi, .mf { color: #1f5fbf; } .nf, .nc { color: #5b3db0; }
"""

_lock = Lock()
_shown: OrderedDict[tuple[str, str], str] = OrderedDict()


def document(content: bytes, language: str) -> str:
    """The document of a notebook, or one with a sentence that says why it is not shown.

    Runs for seconds; call it in a thread. The same content is converted once, and one notebook at a time, so that
    many viewers do not take the portal's processor from it.
    """
    if len(content) > LIMIT:
        return notice(say("shown.large", language, {"size_mb": len(content) >> 20}), language)
    key = (sha256(content).hexdigest(), language)
    with _lock:
        if key not in _shown:
            _shown[key] = _page(_body(content, language), language)
        _shown.move_to_end(key)
        while len(_shown) > _KEPT:
            _shown.popitem(last=False)
        return _shown[key]


def notice(text: str, language: str) -> str:
    """A document that says only this."""
    return _page(f"<p>{escape(text)}</p>", language)


def _body(content: bytes, language: str) -> str:
    nbformat, nbconvert = import_module("nbformat"), import_module("nbconvert")  # seconds, and only here
    try:
        notebook = nbformat.reads(content.decode("utf-8", "replace"), as_version=4)
        exporter = nbconvert.HTMLExporter(template_name="basic", embed_images=False)
        body, _ = exporter.from_notebook_node(lightened(notebook, say("shown.cut", language)))
    except Exception as error:  # a broken notebook fails in any way that its libraries have
        log.exception("an executed notebook cannot be shown")
        return f"<p>{escape(say('shown.unreadable', language))}</p><p>{escape(type(error).__name__)}</p>"
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


def _page(body: str, language: str) -> str:
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        f"<title>Notebook</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )

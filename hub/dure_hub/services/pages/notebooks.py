"""An executed notebook as a document for a frame. It is people's code and people's output: policy keeps it in.

The headers let the browser run nothing of it and fetch nothing for it, whatever it holds, in an origin of its own.
Converting is bounded: it happens in a process of its own, which is killed when its time is over.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from collections.abc import Awaitable
from hashlib import sha256
from html import escape
from typing import ClassVar

from fastapi import Request
from fastapi.responses import HTMLResponse

from dure.errors import DureError, Text
from dure_hub import shown_notebook
from dure_hub.services.languages import language_of
from dure_hub.services.pages.words import say

LIMIT, OUTPUT_LIMIT = 24 << 20, 48 << 20
"""Bytes of a notebook that is shown, and of its document; most of a large one is pictures, which cost little."""
WALL_S = 15.0
"""How long converting may take where the machine is busy; of its processor it gets less."""
_WAITING = 4
_KEPT = 8
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


Key = tuple[str, str]


class Busy(DureError):
    """Too many wait to have a notebook shown."""

    code, status = "notebooks_busy", 503
    message: ClassVar[Text] = {
        "en": "Other notebooks are being made ready to be shown right now.",
        "ko": "지금 다른 노트북을 표시할 준비를 하고 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Load the page again in a minute, or download the notebook.",
        "ko": "잠시 후 페이지를 새로 고치거나 노트북을 내려받으세요.",
    }


class Notebooks:
    """Makes documents, one at a time, so that many viewers do not take the portal's processor from it.

    One object an application; what it made last it still has.
    """

    def __init__(self) -> None:
        self._one = asyncio.Semaphore(1)
        self._going: dict[Key, asyncio.Task[str]] = {}
        self._made: OrderedDict[Key, str] = OrderedDict()

    async def document(self, content: bytes, language: str) -> str:
        """The document of a notebook, or one with a sentence that says why it is not shown.

        The same content is converted once, whoever asks for it meanwhile. Raises `Busy` where too much waits.
        """
        if len(content) > LIMIT:
            return notice(say("shown.large", language, {"size_mb": len(content) >> 20}), language)
        key = (await asyncio.to_thread(lambda: sha256(content).hexdigest()), language)
        if key in self._made:
            self._made.move_to_end(key)
            return self._made[key]
        task = self._going.get(key)
        if task is None:
            if len(self._going) > _WAITING:
                raise Busy
            task = self._going[key] = asyncio.create_task(self._make(key, content, language))
            task.add_done_callback(lambda _: self._going.pop(key, None))
        return await asyncio.shield(task)  # who leaves takes it from nobody else

    async def _make(self, key: Key, content: bytes, language: str) -> str:
        async with self._one:
            body = await _converted(content, say("shown.cut", language))
        if body is None:
            return notice(say("shown.slow", language), language)
        code, text = body
        if code == shown_notebook.UNREADABLE:
            text = f"<p>{escape(say('shown.unreadable', language))}</p><p>{escape(text)}</p>"
        self._made[key] = _page(text, language)
        while len(self._made) > _KEPT:
            self._made.popitem(last=False)
        return self._made[key]


async def framed(request: Request, asked: Awaitable[bytes]) -> HTMLResponse:
    """The answer to a frame that shows a notebook. Where there is none, it says why."""
    language = language_of(request)
    try:
        text = await _of_application(request).document(await asked, language)
    except DureError as error:
        # The page of an error may not be framed, and its sentence belongs where the notebook would be.
        said = f"{error.text(language)} {error.advice(language)}"
        return HTMLResponse(notice(said, language), error.status, HEADERS)
    return HTMLResponse(text.encode("utf-8", "replace"), headers=HEADERS)


def _of_application(request: Request) -> Notebooks:
    state = request.app.state
    if not hasattr(state, "notebooks"):
        state.notebooks = Notebooks()
    found: Notebooks = state.notebooks
    return found


def notice(text: str, language: str) -> str:
    """A document that says only this."""
    return _page(f"<p>{escape(text)}</p>", language)


async def _converted(content: bytes, cut: str) -> tuple[int, str] | None:
    """Exit code and output of the program that converts; None where it took too much of anything."""
    pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    command = (sys.executable, "-P", "-m", shown_notebook.__name__, cut)
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=none)
    try:
        async with asyncio.timeout(WALL_S):
            output, _ = await asyncio.gather(_read(process), _feed(process, content))
            if len(output) > OUTPUT_LIMIT or await process.wait() not in (0, shown_notebook.UNREADABLE):
                return None
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode("utf-8", "replace")


async def _read(process: asyncio.subprocess.Process) -> bytes:
    """What it writes, as far as it may."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    output = bytearray()
    while len(output) <= OUTPUT_LIMIT and (piece := await process.stdout.read(1 << 20)):
        output += piece
    return bytes(output)


async def _feed(process: asyncio.subprocess.Process, content: bytes) -> None:
    """Give it the notebook. That it ended before it had read it all is told by its exit code."""
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    try:
        process.stdin.write(content)
        await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return
    finally:
        process.stdin.close()


def _page(body: str, language: str) -> str:
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        f"<title>Notebook</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )

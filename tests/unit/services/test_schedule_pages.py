"""The pages of schedules and executions: what they show, to whom, and what their forms do."""

from __future__ import annotations

import re
import shutil
from datetime import timedelta
from html import unescape
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from dure.wire.ids import new_id
from dure_hub.operations import Operations
from dure_hub.services.places import API
from dure_hub.services.sessions import Session
from dure_hub.store.models import Execution
from tests.unit.services.conftest import Browser
from tests.unit.services.schedule_kit import ANA, FRAME, PLACE, cell, leave, notebook, ran, schedule
from tests.unit.services.stub_hub import StubHub

__all__ = ["schedule"]


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

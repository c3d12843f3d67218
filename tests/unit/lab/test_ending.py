"""A real Jupyter server that is about to end: its pages are asked to save, and say what they have saved."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from dure_lab.hook import PLACE
from tests.unit.lab.kit import server, until

BODY = {"reason": "expired", "ends_at": "2026-01-01T00:00:00Z", "hook_seconds": 30}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ending")


@pytest.fixture(scope="module")
def mine(folder: Path) -> Iterator[httpx.Client]:
    """A server that no portal has started; its own token is `t`."""
    with server(folder, "dure_lab.routes") as client:
        yield client


@contextmanager
def page(mine: httpx.Client, answer: Callable[[dict[str, Any]], Any] | None) -> Iterator[list[dict[str, Any]]]:
    """A page that holds a socket for events and answers an ending with what `answer` gives; None is silence."""
    heard: list[dict[str, Any]] = []
    address = f"{str(mine.base_url).replace('http', 'ws')}/api/events/subscribe"
    headers = {"Authorization": mine.headers["Authorization"]}
    with connect(address, additional_headers=headers, proxy=None) as socket:
        thread = threading.Thread(target=listen, args=(mine, socket, heard, answer), daemon=True)
        thread.start()
        yield heard
    thread.join(10)


def listen(
    mine: httpx.Client,
    socket: ClientConnection,
    heard: list[dict[str, Any]],
    answer: Callable[[dict[str, Any]], Any] | None,
) -> None:
    for message in socket:
        event = json.loads(message)
        if event["schema_id"] != "https://dure/events/ending":
            continue
        heard.append(event)
        if answer is not None:
            mine.post("/dure/saved", json={"id": event["id"], **answer(event)}).raise_for_status()


def saves(name: str, saved: list[str], failed: list[str]) -> Callable[[dict[str, Any]], Any]:
    return lambda _: {"page": name, "saved": saved, "failed": failed}


def test_every_page_is_asked_and_its_answer_is_in_the_outcome(mine: httpx.Client) -> None:
    with page(mine, saves("1", ["b.txt", "a.ipynb"], [])) as first, page(mine, saves("2", ["b.txt"], ["c.md"])):
        seen = mine.post("/dure/before-stop", json=BODY).json()
        assert seen == {
            "saved": ["a.ipynb", "b.txt"],
            "failed": ["c.md"],
            "pages": 2,
            "silent": 0,
            "hook": None,
        }
        assert (first[0]["reason"], first[0]["ends_at"]) == ("expired", "2026-01-01T00:00:00Z")


def test_a_page_that_says_nothing_keeps_nobody_waiting_for_long(mine: httpx.Client) -> None:
    with page(mine, saves("1", ["a.ipynb"], [])), page(mine, None):
        seen = mine.post("/dure/before-stop", json=BODY).json()
    assert (seen["saved"], seen["pages"], seen["silent"]) == (["a.ipynb"], 2, 1)


def test_with_no_page_open_nobody_is_waited_for(mine: httpx.Client) -> None:
    assert mine.post("/dure/before-stop", json=BODY).json() == {
        "saved": [],
        "failed": [],
        "pages": 0,
        "silent": 0,
        "hook": None,
    }


def test_the_owners_program_runs_after_the_saving(mine: httpx.Client, folder: Path) -> None:
    program = folder / PLACE
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$DURE_REASON; $(cat "$HOME/saved")"\n')
    program.chmod(0o700)

    def save(_: dict[str, Any]) -> Any:
        (folder / "saved").write_text("all of it")
        return {"page": "1", "saved": ["saved"], "failed": []}

    try:
        with page(mine, save) as heard:
            stopped = mine.post("/dure/before-stop", json=BODY).json()
            kept = mine.post("/dure/checkpoint").json()
    finally:
        program.unlink()
    assert (stopped["hook"]["exit"], stopped["hook"]["output"]) == (0, "expired; all of it\n")
    assert (kept["hook"]["output"], kept["saved"]) == ("checkpoint; all of it\n", ["saved"])
    assert [event["reason"] for event in heard] == ["expired", "checkpoint"]
    assert heard[1]["ends_at"] == ""


def test_pages_are_asked_while_the_last_program_is_still_at_work(mine: httpx.Client, folder: Path) -> None:
    program, begun, over = folder / PLACE, folder / "begun", folder / "over"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text('#!/bin/sh\ntouch "$HOME/begun"; until [ -e "$HOME/over" ]; do sleep 0.1; done\n')
    program.chmod(0o700)
    try:
        with page(mine, saves("1", ["a"], [])), ThreadPoolExecutor(1) as pool:
            checkpoint = pool.submit(mine.post, "/dure/checkpoint")
            until(begun.exists, "the program to begin", folder / "log")
            ended = mine.post("/dure/before-stop", json={**BODY, "hook_seconds": 0.3}).json()
            over.touch()
            assert checkpoint.result().json()["hook"]["exit"] == 0
    finally:
        over.touch()
        program.unlink()
    assert (ended["saved"], ended["hook"]) == (["a"], None)


def test_two_who_ask_at_once_are_served_one_after_the_other(mine: httpx.Client) -> None:
    with page(mine, saves("1", ["a"], [])) as heard, ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: mine.post("/dure/before-stop", json=BODY).json(), range(2)))
    assert [answer["saved"] for answer in answers] == [["a"], ["a"]]
    assert len({event["id"] for event in heard}) == 2


def test_only_the_servers_own_token_announces_an_end(mine: httpx.Client) -> None:
    with httpx.Client(base_url=mine.base_url) as browser:
        assert browser.post("/dure/before-stop", json=BODY).status_code == 403
        browser.get("/login?token=t", follow_redirects=True)
        proof = {"X-XSRFToken": browser.cookies["_xsrf"]}
        assert browser.post("/dure/checkpoint", headers=proof).is_success, "a page of its owner's"
        assert browser.post("/dure/checkpoint").status_code == 403, "a page of somebody's"
        assert browser.post("/dure/before-stop", json=BODY, headers=proof).status_code == 403
    for header in ("token x", "Bearer", "t"):
        with httpx.Client(base_url=mine.base_url, headers={"Authorization": header}) as other:
            answer = other.post("/dure/before-stop", json=BODY)
        assert answer.status_code == 403


def test_asking_is_no_use_of_the_server(mine: httpx.Client) -> None:
    before = mine.get("/api/status").json()["last_activity"]
    mine.post("/dure/before-stop", json=BODY).raise_for_status()
    assert mine.post("/dure/saved", json={"id": "x", "page": "1", "saved": [], "failed": []}).status_code == 404
    assert mine.get("/api/status").json()["last_activity"] == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("before-stop", []),
        ("before-stop", {}),
        ("before-stop", BODY | {"reason": 1}),
        ("before-stop", BODY | {"reason": "a\0b"}),
        ("before-stop", BODY | {"hook_seconds": "5"}),
        ("before-stop", BODY | {"hook_seconds": -1}),
        ("before-stop", BODY | {"hook_seconds": True}),
        ("checkpoint", {"hook_seconds": 10**9}),
        ("saved", {"id": "x", "page": "1", "saved": "a", "failed": []}),
        ("saved", {"id": "x", "page": "1", "saved": [1], "failed": []}),
        ("saved", {"id": "x", "page": "1", "saved": ["a"] * 1001, "failed": []}),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(mine: httpx.Client, path: str, body: Any) -> None:
    answer = mine.post(f"/dure/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["message"]

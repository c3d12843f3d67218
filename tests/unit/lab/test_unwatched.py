"""A real server and kernel: what a cell puts out after its page has gone is in the file, or the next page's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from jupyter_server.services.kernels.connection.base import serialize_msg_to_ws_v1
from websockets.sync.client import ClientConnection, connect

from dure.wire.ids import new_id
from dure_lab.unwatched import execution
from tests.unit.lab.kit import server, until

WAITS = """
import pathlib, time
print('first', flush=True)
while not pathlib.Path('go').exists():
    time.sleep(0.05)
print('last')
"""
OLD = [{"output_type": "stream", "name": "stdout", "text": "old\n"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("unwatched")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    with server(folder, "dure_lab.routes") as made:
        yield made


@dataclass
class Notebook:
    """One on disk with two cells, `first` and `second`, and a kernel of its own."""

    client: httpx.Client
    file: Path
    kernel: str
    log: Path

    def cells(self) -> list[Any]:
        return list(json.loads(self.file.read_text())["cells"])

    def text(self) -> str:
        """What the first cell shows on disk."""
        return "".join("".join(one.get("text", [])) for one in self.cells()[0]["outputs"])

    def go(self) -> None:
        (self.file.parent / "go").touch()

    def take_over(self, session: str) -> list[Any]:
        body = {"kernel": self.kernel, "session": session, "cells": ["first", "second"]}
        return list(self.client.post("/dure/outputs", json=body).raise_for_status().json()["executions"])

    def is_idle(self) -> bool:
        found = self.client.get(f"/api/kernels/{self.kernel}?no_track_activity=1").json()
        return str(found["execution_state"]) == "idle"


@pytest.fixture
def notebook(client: httpx.Client, folder: Path) -> Iterator[Notebook]:
    file = folder / new_id() / "a.ipynb"
    file.parent.mkdir()
    cell = {"cell_type": "code", "metadata": {}, "execution_count": 9, "outputs": OLD}
    cells = [{**cell, "id": "first", "source": WAITS}, {**cell, "id": "second", "source": "other"}]
    file.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    path = str(file.relative_to(folder))
    body = {"path": path, "name": "a", "type": "notebook", "kernel": {"name": "python3"}}
    session = client.post("/api/sessions", json=body).raise_for_status().json()
    yield Notebook(client, file, session["kernel"]["id"], folder / "log")
    client.delete(f"/api/sessions/{session['id']}")


def as_text(cell: Any) -> Any:
    """A cell whose lines are in one piece, on disk or not."""
    outputs = [{**one, "text": "".join(one["text"])} for one in cell["outputs"]]
    return {**cell, "source": "".join(cell["source"]), "outputs": outputs}


@contextmanager
def page(notebook: Notebook, session: str) -> Iterator[ClientConnection]:
    """A page that is connected to the notebook's kernel."""
    base = str(notebook.client.base_url).replace("http", "ws")
    address = f"{base}/api/kernels/{notebook.kernel}/channels?session_id={session}"
    headers = {"Authorization": notebook.client.headers["Authorization"]}
    with connect(address, additional_headers=headers, proxy=None) as socket:
        yield socket


def execute(socket: ClientConnection, session: str, cell: str, code: str) -> str:
    """Have a cell executed, as JupyterLab asks for it; the message's id."""
    header = {
        "msg_id": new_id(),
        "msg_type": "execute_request",
        "username": "",
        "session": session,
        "version": "5.3",
    }
    message = {
        "header": header,
        "parent_header": {},
        "metadata": {"cellId": cell},
        "channel": "shell",
        "content": {"code": code, "silent": False, "allow_stdin": False},
    }
    socket.send(json.dumps(message))
    return header["msg_id"]


def heard(socket: ClientConnection, asked: str, kind: str, found: Callable[[Any], bool] = bool) -> Any:
    """The first message of this execution, kind and content."""
    while True:
        message = json.loads(socket.recv(timeout=60))
        mine = message["parent_header"].get("msg_id") == asked and message["msg_type"] == kind
        if mine and found(message["content"]):
            return message["content"]


def begin(notebook: Notebook, session: str, code: str = WAITS) -> str:
    """A page that has begun on the first cell, and has gone."""
    with page(notebook, session) as socket:
        asked = execute(socket, session, "first", code)
        heard(socket, asked, "stream")
    return asked


def test_output_after_the_page_has_gone_is_in_the_file(notebook: Notebook) -> None:
    before = notebook.cells()
    begin(notebook, "a")
    assert notebook.text() == "old\n"
    notebook.go()
    until(lambda: notebook.text() == "first\nlast\n", "the output to be in the file", notebook.log)
    first, second = notebook.cells()
    assert ("".join(first["source"]), first["execution_count"]) == (before[0]["source"], 1)
    assert as_text(second) == as_text(before[1]), "no other cell is touched"
    assert notebook.take_over("a") == []


def test_a_page_that_is_there_keeps_the_file_as_it_is(notebook: Notebook) -> None:
    with page(notebook, "watcher") as watcher:
        asked = begin(notebook, "a")
        notebook.go()
        heard(watcher, asked, "status", lambda said: said["execution_state"] == "idle")
        (found,) = notebook.take_over("watcher")
        assert (found["id"], found["ended"], found["outputs"][0]["text"]) == (asked, True, "first\nlast\n")
    written = notebook.client.post("/dure/checkpoint").json()["saved"]
    assert (written, notebook.text()) == ([], "old\n"), "it is the watcher's now"


def test_a_page_that_comes_back_in_the_middle_misses_nothing_and_gets_nothing_twice(notebook: Notebook) -> None:
    asked = begin(notebook, "a")
    with page(notebook, "b") as socket:
        (found,) = notebook.take_over("b")
        assert (found["id"], found["cell"], found["code"], found["ended"]) == (asked, "first", WAITS, False)
        assert [one["text"] for one in found["outputs"]] == ["first\n"]
        assert found["count"] == 1
        notebook.go()
        assert heard(socket, asked, "stream")["text"] == "last\n"
    assert notebook.text() == "old\n"


def test_a_cell_that_was_changed_meanwhile_is_left_alone(notebook: Notebook) -> None:
    with page(notebook, "a") as socket:
        changed = execute(socket, "a", "second", "print('not what is on disk')")
        heard(socket, changed, "execute_input")
        asked = execute(socket, "a", "first", WAITS)
        heard(socket, asked, "stream")
        execute(socket, "a", "second", "print('neither is this')")
    notebook.go()
    until(lambda: notebook.text() == "first\nlast\n", "the first cell to be written", notebook.log)
    until(notebook.is_idle, "the second to be done", notebook.log)
    notebook.client.post("/dure/checkpoint").raise_for_status()
    assert "".join(notebook.cells()[1]["outputs"][0]["text"]) == "old\n"


def test_before_the_server_ends_what_there_is_is_written(notebook: Notebook) -> None:
    begin(notebook, "a")
    path = f"{notebook.file.parent.name}/{notebook.file.name}"
    body = {"reason": "expired", "ends_at": "", "hook_seconds": 1}
    assert notebook.client.post("/dure/before-stop", json=body).json()["saved"] == [path]
    assert notebook.text() == "first\n"
    assert notebook.client.post("/dure/before-stop", json=body).json()["saved"] == [], "nothing has come since"
    notebook.go()
    until(lambda: notebook.text() == "first\nlast\n", "the rest to be in the file", notebook.log)


def test_a_page_whose_line_broke_finds_its_file_as_it_was(notebook: Notebook) -> None:
    with page(notebook, "a") as socket:
        asked = execute(socket, "a", "first", WAITS)
        heard(socket, asked, "stream")
        socket.socket.shutdown(2)
    notebook.go()
    until(notebook.is_idle, "the cell to end", notebook.log)
    assert notebook.client.post("/dure/checkpoint").json()["saved"] == []
    with page(notebook, "a") as socket:
        heard(socket, asked, "status", lambda said: said["execution_state"] == "idle")
        assert notebook.take_over("a") == [], "Jupyter has given it what it missed"
    assert notebook.text() == "old\n"


def test_a_kernel_that_dies_leaves_what_it_had_put_out(notebook: Notebook) -> None:
    begin(notebook, "a", WAITS)
    notebook.client.delete(f"/api/kernels/{notebook.kernel}").raise_for_status()
    until(lambda: notebook.text() == "first\n", "what there is to be in the file", notebook.log)


HEADER = {"msg_id": "1", "msg_type": "execute_request"}
CONTENT = {"code": "x", "silent": False}


@pytest.mark.parametrize(
    ("header", "metadata", "content", "expected"),
    [
        (HEADER, {"cellId": "c"}, CONTENT, ("1", "c", "x")),
        (HEADER, {}, CONTENT, None),
        (HEADER, {"cellId": "c"}, CONTENT | {"silent": True}, None),
        ({"msg_id": "1", "msg_type": "execute_requests"}, {"cellId": "c"}, CONTENT, None),
        ({"msg_type": "execute_request"}, {"cellId": "c"}, CONTENT, None),
        (HEADER, [], CONTENT, None),
        (HEADER, {"cellId": 1}, CONTENT, None),
    ],
)
def test_an_execution_is_known_in_both_forms_of_messages(
    header: Any, metadata: Any, content: Any, expected: Any
) -> None:
    message = {"header": header, "parent_header": {}, "metadata": metadata, "content": content}
    assert execution(json.dumps(message), packed=False) == expected
    packed: bytes = serialize_msg_to_ws_v1(  # type: ignore[no-untyped-call]
        message, "shell", lambda part: json.dumps(part).encode()
    )
    assert execution(packed, packed=True) == expected
    assert execution(packed, packed=False) is None, "an older page's buffers"


@pytest.mark.parametrize("message", ["execute_request", '["execute_request"]', b"execute_request", b"", "{}"])
def test_what_is_no_message_is_left_to_jupyter(message: str | bytes) -> None:
    assert execution(message, packed=False) is None


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"kernel": "k", "session": 1, "cells": []},
        {"kernel": "k", "session": "s", "cells": "first"},
        {"kernel": "k", "session": "s", "cells": ["x" * 300]},
    ],
)
def test_a_page_that_asks_for_nothing_sensible_is_refused(client: httpx.Client, body: Any) -> None:
    assert client.post("/dure/outputs", json=body).status_code == 400


def test_an_unknown_kernel_has_nothing(client: httpx.Client) -> None:
    body = {"kernel": "none", "session": "s", "cells": []}
    assert client.post("/dure/outputs", json=body).json() == {"executions": [], "written_at": None}

"""A real server and kernel: what a cell puts out after its page has gone is in the file, or the next page's."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from dure.wire.ids import new_id
from tests.unit.lab.kit import server, until
from tests.unit.lab.late_sockets import LATE
from tests.unit.lab.troubled_contents import FULL, SLOW, WAITING
from tests.unit.lab.unwatched_kit import HANGS, OLD, WAITS, Notebook, opened

COUNTS = """
import pathlib, time
number = 0
while not pathlib.Path('go').exists():
    print(number, flush=True)
    number += 1
    time.sleep(0.02)
print('end')
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("unwatched")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    here = str(Path(__file__).parents[3])
    more = "tests.unit.lab.troubled_contents", "tests.unit.lab.late_sockets"
    with server(folder, "dure_lab.routes", *more, PYTHONPATH=here) as made:
        yield made


@pytest.fixture
def notebook(client: httpx.Client, folder: Path) -> Iterator[Notebook]:
    with opened(client, folder) as made:
        yield made


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


def begin(notebook: Notebook, session: str, code: str = WAITS, cell: str = "first") -> str:
    """A page that has begun on a cell, the first unless another is named, and has gone."""
    with page(notebook, session) as socket:
        asked = execute(socket, session, cell, code)
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


def test_what_is_put_out_while_a_page_only_begins_to_hear_is_not_missed(notebook: Notebook) -> None:
    asked = begin(notebook, "a", COUNTS)
    (notebook.root / LATE).touch()
    try:
        with page(notebook, "b") as socket:
            (found,) = notebook.take_over("b", first=COUNTS)
            said = "".join(one["text"] for one in found["outputs"])
            seen = set(found["seen"])
            notebook.go()
            while "end" not in said:
                message = json.loads(socket.recv(timeout=60))
                mine = message["parent_header"].get("msg_id") == asked and message["msg_type"] == "stream"
                if mine and message["header"]["msg_id"] not in seen:
                    said += message["content"]["text"]
    finally:
        (notebook.root / LATE).unlink()
    numbers = [int(word) for word in said.split() if word != "end"]
    assert numbers == [*range(len(numbers))]


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


SILENT_START = """
from ipykernel.kernelbase import Kernel

usual = Kernel._publish_status
Kernel._publish_status = lambda self, status, *rest, **more: (
    None if status == "starting" else usual(self, status, *rest, **more)
)
"""


def test_a_kernel_that_is_killed_leaves_what_it_had_put_out_and_goes_on(notebook: Notebook) -> None:
    begin(notebook, "a")
    profile = notebook.root / ".ipython" / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    # who listens may be connected again too late to hear that it starts; so nobody is told here
    (profile / "ipython_kernel_config.py").write_text(SILENT_START)
    os.kill(int((notebook.file.parent / "pid").read_text()), signal.SIGKILL)
    until(lambda: notebook.text() == "first\n", "what there is to be in the file", notebook.log)
    (profile / "ipython_kernel_config.py").unlink()
    begin(notebook, "b")
    notebook.go()
    until(lambda: notebook.text() == "first\nlast\n", "what the new one puts out", notebook.log)


def test_a_page_that_is_open_when_its_kernel_is_shut_down_finds_its_cell_as_it_was(notebook: Notebook) -> None:
    begin(notebook, "a")
    with page(notebook, "b") as socket:
        asked = execute(socket, "b", "second", HANGS)
        notebook.go()
        heard(socket, asked, "stream")
        notebook.client.delete(f"/api/kernels/{notebook.kernel}").raise_for_status()
    until(lambda: notebook.text() == "first\nlast\n", "what a page that had left has asked for", notebook.log)
    until(lambda: notebook.ask("c")["written_at"] is None, "its kernel to be forgotten", notebook.log)
    assert as_text(notebook.cells()[1])["outputs"] == OLD


def test_a_page_that_has_gone_on_with_another_kernel_finds_its_file_as_it_was(
    notebook: Notebook, client: httpx.Client, folder: Path
) -> None:
    new = client.post("/api/kernels", json={"name": "python3"}).raise_for_status().json()["id"]
    now = Notebook(client, notebook.file, notebook.session, new, notebook.log)
    with opened(client, folder, id=notebook.kernel) as beside, page(now, "b"):
        begin(notebook, "a")
        client.patch(f"/api/sessions/{notebook.session}", json={"kernel": {"id": new}}).raise_for_status()
        until(lambda: beside.text() == "first\n", "the file that no page shows", notebook.log)
        client.post("/dure/checkpoint").raise_for_status()
        assert notebook.text() == "old\n"


def test_what_could_not_be_written_is_written_later(notebook: Notebook) -> None:
    (notebook.root / FULL).touch()
    begin(notebook, "a")
    notebook.go()
    until(lambda: notebook.refused() >= 2, "it to fail, and again", notebook.log)
    (notebook.root / FULL).unlink()
    until(lambda: notebook.text() == "first\nlast\n", "it to be tried again", notebook.log)
    assert notebook.take_over("a") == []


def test_what_a_dead_kernel_left_that_could_not_be_written_is_written_later(notebook: Notebook) -> None:
    (notebook.root / FULL).touch()
    begin(notebook, "a")
    notebook.client.delete(f"/api/kernels/{notebook.kernel}").raise_for_status()
    until(lambda: notebook.refused() >= 3, "it to fail again and again", notebook.log)
    (notebook.root / FULL).unlink()
    until(lambda: notebook.text() == "first\n", "it to be tried again", notebook.log)


def test_a_page_that_comes_while_the_file_is_written_hears_when_that_was(notebook: Notebook) -> None:
    (notebook.root / SLOW["save"]).touch()
    begin(notebook, "a")
    notebook.go()
    until((notebook.root / WAITING).exists, "the writing to begin", notebook.log)
    with page(notebook, "b"), ThreadPoolExecutor() as pool:
        answer = pool.submit(notebook.ask, "b")
        notebook.client.get("/api/status").raise_for_status()
        (notebook.root / SLOW["save"]).unlink()
        assert answer.result(30)["executions"] == []
        assert answer.result()["written_at"] is not None
    assert notebook.text() == "first\nlast\n"


def test_a_page_that_comes_while_the_file_is_read_keeps_it_as_it_is(notebook: Notebook) -> None:
    (notebook.root / SLOW["get"]).touch()
    asked = begin(notebook, "a")
    notebook.go()
    until((notebook.root / WAITING).exists, "the reading to begin", notebook.log)
    with page(notebook, "b"):
        (notebook.root / SLOW["get"]).unlink()
        answer = notebook.ask("b")
    assert [one["id"] for one in answer["executions"]] == [asked]
    assert (answer["written_at"], notebook.text()) == (None, "old\n")


def test_output_of_a_cell_that_is_in_no_file_waits_for_a_page_that_has_it(notebook: Notebook) -> None:
    def said() -> int:
        return notebook.log.read_text().count("no cell has asked")

    before = said()
    asked = begin(notebook, "a", cell="not saved")
    notebook.go()
    until(lambda: said() > before, "the file to be looked at", notebook.log)
    with page(notebook, "b"):
        (found,) = notebook.take_over("b", **{"not saved": None})
        assert (found["id"], found["ended"]) == (asked, True)


def test_an_older_notebook_has_no_ids_and_gets_its_output_by_the_source(
    client: httpx.Client, folder: Path
) -> None:
    with opened(client, folder, minor=4) as notebook:
        begin(notebook, "a", cell="of-a")
        notebook.go()
        until(lambda: notebook.text() == "first\nlast\n", "the output to be in the file", notebook.log)
        assert "id" not in notebook.cells()[0]
        (notebook.file.parent / "go").unlink()
        asked = begin(notebook, "b", cell="of-b")
        with page(notebook, "c"):
            (found,) = notebook.take_over("c", **{"of-c": WAITS, "other-of-c": HANGS})
            assert (found["id"], found["cell"]) == (asked, "of-c")


def test_a_page_that_jupyter_kept_nothing_for_is_given_its_own(notebook: Notebook) -> None:
    with page(notebook, "console") as console:
        with page(notebook, "a") as socket:
            asked = execute(socket, "a", "first", WAITS)
            heard(socket, asked, "stream")
            socket.socket.shutdown(2)
        notebook.go()
        heard(console, asked, "status", lambda said: said["execution_state"] == "idle")
        with page(notebook, "a"):
            (found,) = notebook.take_over("a")
            assert (found["id"], found["ended"], found["missed"]) == (asked, True, True)
            assert found["outputs"][0]["text"] == "first\nlast\n"
            assert notebook.take_over("a") == []
    assert notebook.text() == "old\n"


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"kernel": "k", "session": 1, "cells": []},
        {"kernel": "k", "session": "s", "cells": "first"},
        {"kernel": "k", "session": "s", "cells": ["first"]},
        {"kernel": "k", "session": "s", "cells": [{"id": "x" * 300, "source": None}]},
        {"kernel": "k", "session": "s", "cells": [{"id": "first", "source": 1}]},
    ],
)
def test_a_page_that_asks_for_nothing_sensible_is_refused(client: httpx.Client, body: Any) -> None:
    assert client.post("/dure/outputs", json=body).status_code == 400


def test_an_unknown_kernel_has_nothing(client: httpx.Client) -> None:
    body = {"kernel": "none", "session": "s", "cells": []}
    assert client.post("/dure/outputs", json=body).json() == {"executions": [], "written_at": None}

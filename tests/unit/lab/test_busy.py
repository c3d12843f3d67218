"""A real Jupyter server: what is at work in silence keeps it in use, what waits does not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from websockets.sync.client import connect

from dure.wire.ids import new_id
from dure_lab.busy import at_work, is_poll
from tests.unit.lab.kit import server, until
from tests.unit.lab.stub_portal import stub_portal

LOOKS = "1"
"""Seconds between two looks of the extension here."""
QUIET_S = 3.5
"""Three looks and some."""


def busy_server(folder: Path) -> AbstractContextManager[httpx.Client]:
    """A server that has terminals and looks after itself."""
    extensions = "dure_lab.busy", "jupyter_server_terminals"
    return server(folder, *extensions, JUPYTERHUB_ACTIVITY_INTERVAL=LOOKS)


def last_activity(client: httpx.Client) -> datetime:
    """What the server reports to the hub; asking for it is no activity."""
    return datetime.fromisoformat(client.get("/api/status").json()["last_activity"])


def kernel(client: httpx.Client, folder: Path, code: str) -> str:
    """A kernel that executes this code, from what it has begun on."""
    made = client.post("/api/kernels", json={"name": "python3"}).json()["id"]
    file = folder / "RUNTIME" / f"kernel-{made}.json"
    speaking = BlockingKernelClient(connection_file=str(file))
    speaking.load_connection_file()
    speaking.start_channels()
    speaking.wait_for_ready(timeout=60)
    speaking.execute(f"print('begun', flush=True)\n{code}")
    while (message := speaking.get_iopub_msg(timeout=60))["msg_type"] != "stream":
        assert message["msg_type"] != "error", message
    speaking.stop_channels()
    return str(made)


def moves_within(client: httpx.Client, seconds: float) -> bool:
    """Whether the last activity goes on moving while nobody does anything, looked at for so long."""
    first = last_activity(client)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if last_activity(client) > first:
            return True
        time.sleep(0.1)
    return False


def comes_to_rest(client: httpx.Client) -> bool:
    """Whether the last activity stands still once what a kernel said at its start or end has been heard."""
    return any(not moves_within(client, QUIET_S) for _ in range(4))


@pytest.mark.parametrize(
    ("state", "heard_s", "expected"),
    [
        ("busy", 10**6, True),
        ("idle", 0, False),
        ("dead", 0, False),
        (None, None, False),
        ("starting", None, False),
        ("starting", 599, True),
        ("starting", 600, False),
    ],
)
def test_what_counts_as_work(state: str | None, heard_s: int | None, expected: bool) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    heard_at = None if heard_s is None else now - timedelta(seconds=heard_s)
    assert at_work(state, heard_at, now) is expected


def test_a_kernel_that_computes_in_silence_keeps_its_server_in_use(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with busy_server(tmp_path) as client:
        assert not moves_within(client, QUIET_S), "a server without a kernel"
        waits = kernel(client, tmp_path, "pass")
        until(lambda: client.get(f"/api/kernels/{waits}?no_track_activity=1").json()["execution_state"] == "idle",
              "the kernel to wait", log)  # fmt: skip
        assert comes_to_rest(client), "a kernel that waits"
        busy = kernel(client, tmp_path, "import time\ntime.sleep(600)")
        assert all(moves_within(client, QUIET_S) for _ in range(2))
        client.delete(f"/api/kernels/{busy}").raise_for_status()
        assert comes_to_rest(client), "the kernel at work is gone"


def terminal(client: httpx.Client) -> Callable[[str], None]:
    """A terminal that nobody has open; what is answered types a line into it, and leaves again."""
    name = client.post("/api/terminals", json={}).json()["name"]
    address = f"{str(client.base_url).replace('http', 'ws')}/terminals/websocket/{name}"

    def type_line(line: str) -> None:
        mark, shown = new_id(), ""
        headers = {"Authorization": client.headers["Authorization"]}
        with connect(address, additional_headers=headers, proxy=None) as socket:
            socket.send(json.dumps(["stdin", f"echo {mark}; {line}\r"]))
            while shown.count(mark) < 2:  # as typed, and as printed
                shown += str(socket.recv(timeout=30))

    return type_line


def test_a_program_in_a_terminal_that_nobody_watches_keeps_its_server_in_use(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with busy_server(tmp_path) as client:
        type_line = terminal(client)
        type_line("true")
        until(lambda: not moves_within(client, QUIET_S), "the shell to be idle", log)
        type_line("sleep 600")
        until(lambda: moves_within(client, QUIET_S), "the program to be seen", log)
        assert all(moves_within(client, QUIET_S) for _ in range(2)), "it says nothing, and nobody watches it"


def test_a_program_that_writes_from_a_terminals_background_keeps_its_server_in_use(tmp_path: Path) -> None:
    with busy_server(tmp_path) as client:
        terminal(client)("(while sleep 0.5; do echo .; done) &")
        assert all(moves_within(client, QUIET_S) for _ in range(3)), "nobody watches it"


def test_what_an_open_page_asks_by_itself_is_no_use_and_what_somebody_asks_is(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with busy_server(tmp_path) as client:
        first = last_activity(client)
        for path in (
            "kernels",
            "kernelspecs",
            "me",
            "sessions",
            "terminals",
            "contents",
            "contents/?content=1&hash=0&17",
        ):
            client.get(f"/api/{path}").raise_for_status()
        assert last_activity(client) == first
        client.get("/api/contents/a.txt?type=file&content=1").raise_for_status()
        opened = last_activity(client)
        assert opened > first
        client.post("/api/contents", json={"type": "file"}).raise_for_status()
        assert last_activity(client) > opened


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("PUT", "/user/ana/lab/api/workspaces/default", True),
        ("PUT", "/user/ana/lab/api/workspaces/auto-1/", True),
        ("PUT", "/user/ana/api/contents/lab/api/workspaces/notes.txt", False),
        ("PUT", "/user/ana/lab/api/settings/themes", False),
    ],
)
def test_a_layout_that_jupyterlab_writes_down_every_ten_seconds_is_no_use(
    method: str, path: str, expected: bool
) -> None:
    assert is_poll(method, path, {}) is expected


def test_the_portal_is_told_what_is_at_work(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with stub_portal() as portal:
        portal.answers["POST default/activity"] = 204, None
        mine = {"DURE_URL": portal.url, "JUPYTERHUB_API_TOKEN": "own"}
        with server(tmp_path, "dure_lab.busy", JUPYTERHUB_ACTIVITY_INTERVAL=LOOKS, **mine) as client:
            first = until(lambda: portal.of("POST", "default/activity"), "a first report", log)[0]
            idle = {"kernels": "idle", "terminals": "idle", "pages": "idle"}
            assert (first.token, first.body) == ("Bearer own", idle)
            kernel(client, tmp_path, "import time\ntime.sleep(600)")
            until(
                lambda: portal.of("POST", "default/activity")[-1].body["kernels"] == "in_use",
                "the kernel to be told of",
                log,
            )


def test_without_the_extension_it_would_look_unused(tmp_path: Path) -> None:
    """The reason for it: were Jupyter ever to count this itself, this test says so."""
    with server(tmp_path) as client:
        kernel(client, tmp_path, "import time\ntime.sleep(600)")
        assert not moves_within(client, QUIET_S)

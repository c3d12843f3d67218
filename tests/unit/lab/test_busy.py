"""A real Jupyter server: a kernel that computes in silence keeps it in use, one that waits does not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from dure_lab.busy import at_work

LOOKS = "1"
"""Seconds between two looks of the extension here."""
QUIET_S = 3.5
"""Three looks and some."""


@contextmanager
def server(folder: Path, *, extension: bool = True) -> Iterator[httpx.Client]:
    """A Jupyter server of its own, with nothing of this machine's configuration."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", f"--port={port}"),
        *(
            f"--ServerApp.jpserver_extensions=dure_lab.busy={extension}",
            "--IdentityProvider.token=t",
            "--ip=127.0.0.1",
        ),
    ]
    places = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = {
        **os.environ,
        **places,
        "JUPYTER_NO_CONFIG": "1",
        "JUPYTERHUB_ACTIVITY_INTERVAL": LOOKS,
        "HOME": str(folder),
    }
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out)
    try:
        headers = {"Authorization": "token t"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
            until(lambda: process.poll() is not None or answers(client), "the server to answer", log)
            assert process.poll() is None, log.read_text()[-2000:]
            yield client
    finally:
        process.terminate()
        process.wait(30)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/api/status").is_success
    except httpx.TransportError:
        return False


def until(condition: Callable[[], Any], what: str, log: Path) -> Any:
    """What the condition gives once it gives something; else the test fails with the log."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    pytest.fail(f"waited for {what}: {log.read_text()[-2000:]}")


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
    with server(tmp_path) as client:
        assert not moves_within(client, QUIET_S), "a server without a kernel"
        waits = kernel(client, tmp_path, "pass")
        until(lambda: client.get(f"/api/kernels/{waits}?no_track_activity=1").json()["execution_state"] == "idle",
              "the kernel to wait", log)  # fmt: skip
        assert not moves_within(client, QUIET_S), "a kernel that waits"
        busy = kernel(client, tmp_path, "import time\ntime.sleep(600)")
        assert all(moves_within(client, QUIET_S) for _ in range(2))
        client.delete(f"/api/kernels/{busy}").raise_for_status()
        assert not moves_within(client, QUIET_S), "the kernel at work is gone"


def test_without_the_extension_it_would_look_unused(tmp_path: Path) -> None:
    """The reason for it: were Jupyter ever to count this itself, this test says so."""
    with server(tmp_path, extension=False) as client:
        kernel(client, tmp_path, "import time\ntime.sleep(600)")
        assert not moves_within(client, QUIET_S)

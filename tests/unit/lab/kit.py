"""A real Jupyter server for one test."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest


@contextmanager
def server(folder: Path, *extensions: str, **more: str) -> Iterator[httpx.Client]:
    """A Jupyter server of its own with these extensions, and nothing of this machine's configuration.

    `more` is its environment's.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", f"--port={port}"),
        *("--IdentityProvider.token=t", "--ip=127.0.0.1"),
        *(f"--ServerApp.jpserver_extensions={name}=True" for name in extensions),
    ]
    places = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = {
        **os.environ,
        **places,
        "JUPYTER_NO_CONFIG": "1",
        "HOME": str(folder),
        "SHELL": "/bin/sh",
        **more,
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

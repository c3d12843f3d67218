"""A real fork server for tests, in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from dure_hub.backends.embedded import warm
from dure_hub.settings import Settings
from tests.e2e.portal import until


@contextmanager
def fork_server(
    settings: Settings, program: str = warm.PROGRAM, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Up and listening; killed at the end, which ends nothing that it has forked."""
    settings.folder.create()
    settings.save()
    process = begin(settings, program, environment)
    try:
        until_listening(settings, process)
        yield process
    finally:
        process.kill()
        process.wait()


def begin(
    settings: Settings, program: str = warm.PROGRAM, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start one as the supervisor does."""
    own = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **(environment or {})}
    own |= {"DURE_PORTAL": settings.instance, "DURE_SERVICE": "warm"}
    with log_of(settings).open("ab") as log:
        return subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "dure_hub.backends.embedded.forkserver",
                str(settings.folder.root),
                program,
            ],
            env=own,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=settings.folder.run,
            start_new_session=True,
        )


def until_listening(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    """Until one may ask it; fails with its log where it ends instead."""

    def up() -> bool:
        if process.poll() is not None:
            pytest.fail(f"it ended with {process.returncode}:\n{log_of(settings).read_text()[-3000:]}")
        return listening(settings)

    until(up, lambda: log_of(settings).read_text()[-3000:], timeout=60, every=0.02)


def listening(settings: Settings) -> bool:
    """Whether one may ask it now."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(warm.socket_path(settings))) == 0


def log_of(settings: Settings) -> Path:
    """Where it writes."""
    return settings.folder.log / "warm.log"

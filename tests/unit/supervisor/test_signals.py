"""What signals do to a whole `up`, with one service that is a sleep: a hang-up, a wish to leave, a wish to end."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dure_hub.settings import Settings
from dure_hub.supervisor import lock, processes
from dure_hub.supervisor.keeper import record_path
from tests.unit.supervisor.kit import until

UP = """
import sys
from dure_hub.commands.up import _up
from dure_hub.supervisor import run, services
from dure_hub.supervisor.spec import Service

async def ready():
    return True

def make(settings):
    command = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    environment = services.environment(settings, "portal")
    return [Service("portal", "portal", command, ready, environment=environment)]

run.up.__defaults__ = (make,)
sys.exit(_up({}, sys.stdout, lambda: None))
"""
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def place(tmp_path: Path) -> Settings:
    """A data folder, and a port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Settings.model_validate({"data": tmp_path / "d", "port": probe.getsockname()[1]})


@pytest.fixture
def start(place: Settings) -> Iterator[Start]:
    """Start `up`; nothing of it is left after the test."""
    begun: list[subprocess.Popen[bytes]] = []

    def one(*before: str, **given: Any) -> subprocess.Popen[bytes]:
        known = {name: value for name, value in os.environ.items() if not name.startswith("DURE_")}
        mine = {"DURE_DATA": str(place.folder.root), "DURE_PORT": str(place.port)}
        fresh = ("env", "--default-signal=HUP")  # whoever runs the tests may ignore hang-ups
        command = [*fresh, *before, sys.executable, "-c", UP]
        begun.append(subprocess.Popen(command, env={**known, **mine}, **given))
        return begun[-1]

    yield one
    for process in begun:
        process.kill()
        process.wait(timeout=20)
    if (service := running(place)) is not None:
        service.signal(signal.SIGKILL)


def running(place: Settings) -> processes.Process | None:
    """The service, while it lives."""
    record = processes.load_record(record_path(place.folder, "portal"))
    return record.process if record is not None and record.process.alive() else None


def phase(place: Settings) -> str | None:
    """What the supervisor says of itself."""
    return lock.holder(place.folder.run).get("phase")


async def until_up(place: Settings, process: subprocess.Popen[bytes]) -> processes.Process:
    """Until it is up; its service."""
    await until(lambda: process.poll() is not None or phase(place) == "up")
    assert process.poll() is None
    service = running(place)
    assert service is not None
    return service


def ignored(pid: int) -> set[int]:
    """The signals that it ignores."""
    mask = int(Path(f"/proc/{pid}/status").read_text().split("SigIgn:")[1].split()[0], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


async def test_who_is_to_leave_leaves_all_of_it_running_and_the_next_one_goes_on(
    place: Settings, start: Start
) -> None:
    process = start(stdout=subprocess.DEVNULL)
    service = await until_up(place, process)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=20) == 0
    assert (service.alive(), phase(place), lock.is_held(place.folder.run)) == (True, "left", False)
    again = start(stdout=subprocess.DEVNULL)
    await until_up(place, again)
    assert lock.holder(place.folder.run)["lost"] is None, "it went in order"
    again.send_signal(signal.SIGTERM)
    assert again.wait(timeout=20) == 0
    assert (running(place), phase(place)) == (None, "down")


async def test_a_lost_terminal_ends_it_in_order(place: Settings, start: Start) -> None:
    master, slave = pty.openpty()
    process = start("setsid", "--ctty", "--wait", stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    await until_up(place, process)
    os.close(master)  # nobody reads any more what it says, either
    assert process.wait(timeout=20) == 0
    assert (running(place), phase(place)) == (None, "down")
    assert "nothing of it runs any more" in (place.folder.log / "supervisor.log").read_text()


async def test_under_nohup_it_stays_and_what_it_starts_can_be_hung_up(place: Settings, start: Start) -> None:
    process = start("nohup", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    service = await until_up(place, process)
    process.send_signal(signal.SIGHUP)
    assert signal.SIGHUP not in ignored(service.pid)
    service.signal(signal.SIGKILL)
    await until(lambda: running(place) not in (None, service))  # somebody looks after it
    assert (process.poll(), phase(place)) == (None, "up")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0

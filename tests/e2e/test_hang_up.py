"""A terminal that is closed while `dure up` runs in it: real signals, small stand-ins for hub and portal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.portal import until
from tests.e2e.staying import in_terminal, read_until
from tests.e2e.test_supervisor import WHOLE, Small

pytestmark = pytest.mark.timeout(300)
UP = (sys.executable, "-m", "tests.e2e.small_portal")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    """A data folder and port where nothing runs; and nothing does afterwards."""
    made = Small(tmp_path / "d")
    yield made
    made.dure("down")
    assert made.left() == []


def test_in_the_foreground_a_closed_terminal_is_a_wish_to_end(small: Small) -> None:
    with in_terminal(small.environment(), *UP) as (process, terminal):
        shown = read_until(terminal, "ready.", 150)
        assert "ready." in shown, shown
    assert process.wait(timeout=120) == 0
    assert small.left() == []
    log = (small.data / "log" / "supervisor.log").read_text()
    assert "nothing of it runs any more" in log, "in order, though nobody reads what it says"


def test_whoever_ignores_hang_ups_stays(small: Small, tmp_path: Path) -> None:
    """As under `nohup`; its children do not: a shell that ignored them could not be ended by its server."""
    # of a terminal `nohup` makes the file nohup.out where it is, which here is the source
    into = ("sh", "-c", 'exec nohup "$@" > "$0"', str(tmp_path / "nohup.out"))
    with in_terminal(small.environment(), *into, *UP) as (process, terminal):
        until(lambda: "ready." in read_until(terminal, "ready.", 1) or len(small.pids()) >= 5, "it to be up", 150)
    os.kill(process.pid, signal.SIGHUP)
    before = small.pids()
    os.kill(before["hub"], signal.SIGKILL)
    until(lambda: small.pids().get("hub", before["hub"]) != before["hub"], "somebody to look after it", WHOLE)
    assert process.poll() is None
    mask = Path(f"/proc/{small.pids()['hub']}/status").read_text().split("SigIgn:")[1].split()[0]
    assert not int(mask, 16) >> (signal.SIGHUP - 1) & 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 0


def test_detached_without_terminal_input_or_output_it_comes_up_and_stays(small: Small, tmp_path: Path) -> None:
    """As from cron, or a daemon that has closed everything. What cannot be up here says so in its log."""
    closed = 'exec 0<&- 1>&- 2>&-; exec setsid "$@"'
    words = [sys.executable, "-m", "dure.cli", "up", "--detach"]
    process = subprocess.Popen(["/bin/sh", "-c", closed, "sh", *words], env=small.environment(), cwd=tmp_path)
    assert process.wait(timeout=200) == 0, (small.data / "log" / "supervisor.log").read_text()
    found = small.status()
    assert found["phase"] == "up"
    assert os.getsid(found["pid"]) == found["pid"]

"""The supervisor at process level: real Envoy and MLflow, small stand-ins for hub and portal, real signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.portal import free_port, until

pytestmark = pytest.mark.timeout(300)
NAMES = ["envoy", "hub", "portal", "mlflow", "voila", "warm"]
WHOLE = 60
"""Seconds; the promise is 30 on an idle machine, and this one runs other tests too."""


@dataclass
class Small:
    """A data folder and port, with what was started on it."""

    data: Path
    port: int = field(default_factory=free_port)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    work: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        """For every command of this portal."""
        known = {name: value for name, value in os.environ.items() if not name.startswith("DURE_")}
        mine = {"DURE_DATA": str(self.data), "DURE_PORT": str(self.port), "DURE_LANGUAGE": "en"}
        return {**known, **mine, **more}

    def up(self, **more: str) -> subprocess.Popen[bytes]:
        """Start it in a session of its own, as a terminal would, and return at once."""
        with (self.data.parent / f"said-{len(self.started)}").open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.small_portal"],
                env=self.environment(**more),
                cwd=Path(__file__).parents[2],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def said(self) -> str:
        """All that the last `up` printed."""
        return (self.data.parent / f"said-{len(self.started) - 1}").read_text()

    def until_up(self) -> None:
        """Until the last `up` has said so, and warm starts are there, too; fails with its words where it ended."""
        process = self.started[-1]
        until(lambda: "ready.\n" in self.said() or process.poll() is not None, "the portal to be up", 150)
        assert process.poll() is None, self.said()
        until(lambda: "warm" in self.pids(), "warm starts", WHOLE)

    def dure(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command on the same folder."""
        return subprocess.run(
            [sys.executable, "-m", "dure.cli", *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )

    def status(self) -> dict[str, Any]:
        """What `dure status` finds."""
        found: dict[str, Any] = json.loads(self.dure("status", "--json").stdout)
        return found

    def pids(self) -> dict[str, int]:
        """Pid of each service; missing while it is away."""
        return {name: found["pid"] for name, found in self.status()["services"].items() if found["answers"]}

    def left(self) -> list[str]:
        """Command lines of whatever still carries this folder's mark."""
        instance = self.data / "instance"
        mark = f"DURE_PORTAL={instance.read_text().strip()}" if instance.exists() else "none"
        found = []
        for process in psutil.process_iter():
            try:
                words = [f"{name}={value}" for name, value in process.environ().items()]
                if mark in words and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found

    def kill_supervisor(self) -> None:
        """SIGKILL, and its zombie buried."""
        self.started[-1].kill()
        self.started[-1].wait(timeout=10)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """A portal that is up when the first test runs; the tests of this module are one story, in order."""
    portal = Small(tmp_path_factory.mktemp("s") / "d")
    try:
        portal.up()
        portal.until_up()
        yield portal
    finally:
        portal.dure("down")
        for process in portal.started + portal.work:
            process.kill()
            process.wait(timeout=10)


def test_it_says_where_it_is_and_who_may_log_in(small: Small) -> None:
    said = small.said()
    assert f"http://127.0.0.1:{small.port}" in said
    assert f"ssh -L {small.port}:127.0.0.1:{small.port}" in said
    assert re.search(r"Administrator:\s+admin\nPassword:\s+\S{19}\n", said)
    for log in (small.data / "log").glob("*.log"):
        password = re.search(r"Password:\s+(\S+)", said)
        assert password is not None
        assert password.group(1) not in log.read_text()


def test_status_and_folder(small: Small) -> None:
    done = small.dure("status")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("answers") == len(NAMES)
    assert (small.data.stat().st_mode & 0o777) == 0o700
    secrets = list((small.data / "secrets").iterdir())
    assert len(secrets) >= 4
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in secrets)
    databases = list((small.data / "db").glob("mlflow*.sqlite"))
    assert databases
    assert all(path.stat().st_mode & 0o077 == 0 for path in databases)


def test_no_service_has_a_secret_in_its_environment_or_command(small: Small) -> None:
    secrets = [path.read_text().strip() for path in (small.data / "secrets").iterdir()]
    for pid in small.pids().values():
        process = psutil.Process(pid)
        shown = " ".join(process.cmdline()) + " ".join(process.environ().values())
        assert not [secret for secret in secrets if secret in shown]


def test_a_second_up_is_refused_with_address_and_pid(small: Small) -> None:
    done = small.dure("up")
    assert done.returncode == 1
    assert f"already up at http://127.0.0.1:{small.port} (process {small.started[-1].pid})" in done.stderr


def test_a_taken_port_names_its_holder(small: Small, tmp_path: Path) -> None:
    other = Small(tmp_path / "d", small.port)
    done = other.dure("up")
    assert done.returncode == 1
    assert f"Port {small.port} on 127.0.0.1 is taken by envoy" in done.stderr
    assert str(small.pids()["envoy"]) in done.stderr
    assert "dure up --port" in done.stderr
    assert other.left() == []


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_service_starts_again_and_the_others_stay(small: Small, name: str) -> None:
    before = small.pids()
    os.kill(before[name], signal.SIGKILL)
    after = until(
        lambda: now if len(now := small.pids()) == len(NAMES) and now[name] != before[name] else {}, name, WHOLE
    )
    assert {other: pid for other, pid in after.items() if other != name} == {
        other: pid for other, pid in before.items() if other != name
    }
    assert len(small.left()) == len(NAMES)


def test_after_a_killed_supervisor_the_next_up_keeps_envoy_and_replaces_the_rest(small: Small) -> None:
    before = small.pids()
    ports = json.loads((small.data / "run" / "settings.json").read_text())
    small.kill_supervisor()
    assert small.dure("status").returncode == 1
    small.up()
    small.until_up()
    after = small.pids()
    assert after["envoy"] == before["envoy"]
    assert not {after[name] for name in NAMES[1:]} & set(before.values())
    assert json.loads((small.data / "run" / "settings.json").read_text()) == ports
    assert len(small.left()) == len(NAMES)
    assert "Password" not in small.said()


def test_an_interrupt_ends_everything_also_peoples_work(small: Small) -> None:
    job = start_marked(small)
    process = small.started[-1]
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0, small.said()
    assert job.wait(timeout=10) == -signal.SIGTERM
    assert small.left() == []
    assert "nothing of it runs" in small.said()
    assert small.dure("status").returncode == 3
    assert small.dure("down").returncode == 0


def test_a_service_that_cannot_start_is_shown_with_its_log_and_peoples_work_goes_on(small: Small) -> None:
    job = start_marked(small)
    process = small.up(SMALL_PORTAL="broken")
    assert process.wait(timeout=120) == 1
    assert "hub did not start" in small.said()
    assert "the hub is broken" in small.said()
    assert "dure doctor" in small.said()
    assert small.left() == ["sleep 600"]
    assert job.poll() is None
    assert small.dure("down").returncode == 0
    assert job.wait(timeout=10) == -signal.SIGTERM


def test_down_without_a_supervisor_ends_what_it_left(small: Small) -> None:
    small.up()
    small.until_up()
    small.kill_supervisor()
    assert len(small.left()) == len(NAMES)
    done = small.dure("down")
    assert done.returncode == 0, done.stdout + done.stderr
    assert small.left() == []


def start_marked(small: Small) -> subprocess.Popen[bytes]:
    """Something of a person's, as far as the marks go."""
    instance = (small.data / "instance").read_text().strip()
    marks = {"DURE_PORTAL": instance, "DURE_LEASE": "01JOB", "DURE_KIND": "job"}
    process = subprocess.Popen(["sleep", "600"], env={**os.environ, **marks}, start_new_session=True)
    small.work.append(process)
    return process

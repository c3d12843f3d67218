"""A whole portal for tests: its own data folder and port, started and ended by the commands that people type."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest

T = TypeVar("T")


_GIVEN: set[int] = set()


def free_port() -> int:
    """A loopback port that is free now, and never the same twice: whoever got one may not listen there yet."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _GIVEN:
            _GIVEN.add(port)
            return port


def until(look: Callable[[], T], what: str | Callable[[], str], timeout: float = 60, every: float = 0.1) -> T:
    """Poll `look` until it gives something truthy; fail with `what` and its last answer after `timeout`."""
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            said = what if isinstance(what, str) else what()
            pytest.fail(f"not within {timeout:.0f} s: {said} (last: {found!r})")
        time.sleep(every)


def words_of(process: psutil.Process) -> list[str]:
    """Its command line; an empty word where it has none, or has ended since it was listed."""
    try:
        return process.cmdline() or [""]
    except psutil.NoSuchProcess:
        return [""]


def mark_of(process: psutil.Process) -> tuple[str, str, str] | None:
    """Portal, kind and lease that a process is marked with: in its environment; or its command line, if forked."""
    words = words_of(process)[0].split()
    try:
        environ = process.environ()
    except psutil.NoSuchProcess:  # it ended since it was listed
        return None
    if words and words[0].startswith("dure:"):
        _, portal, kind, lease = words[0].split(":")
        return portal, kind, lease
    if "DURE_LEASE" not in environ:
        return None
    return environ.get("DURE_PORTAL", ""), environ.get("DURE_KIND", ""), environ["DURE_LEASE"]


def is_lab(process: psutil.Process) -> bool:
    """Whether it is the server itself, forked or not, and neither its keeper nor something that it runs."""
    first, *words = words_of(process)
    return "dure_hub.spawners.jupyterhub_singleuser" in words or (first.startswith("dure:") and " " not in first)


@dataclass
class Portal:
    """One running portal."""

    data: Path
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The front port."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, Any]:
        """What `up` resolved."""
        loaded: dict[str, Any] = json.loads((self.data / "run" / "settings.json").read_text())
        return loaded

    def dure(self, *words: str, timeout: float = 180, check: bool = True, feed: str | None = None) -> str:
        """Run the `dure` command on this portal's data folder; its output. Fails with that output."""
        done = subprocess.run(
            [sys.executable, "-m", "dure.cli", *words],
            env={**os.environ, "DURE_DATA": str(self.data), "DURE_PORT": str(self.port), **self.environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            input=feed,
        )
        if check and done.returncode != 0:
            pytest.fail(
                f"dure {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}{self.logs()}"
            )
        return done.stdout + done.stderr

    def up(self) -> str:
        """Start, and remember the administrator's password when it is shown."""
        said = self.dure("up", "--detach")
        if found := re.search(r"admin\s*/\s*(\S+)|[Pp]assword:?\s+(\S+)", said):
            self.passwords.setdefault("admin", found.group(1) or found.group(2))
        return said

    def down(self) -> None:
        """End everything, and see that nothing of ours is left."""
        self.dure("down")
        left: list[str] = []

        def none_left() -> bool:
            left[:] = [str(one) for one in self.processes()]
            return not left

        until(none_left, lambda: f"every process of {self.data} to be gone: {left}", timeout=15)

    def add_user(self, name: str, *flags: str) -> None:
        """An account with a password of its own."""
        self.passwords[name] = f"{name}-secret-{self.port}"
        self.dure("user", "add", name, "--password-stdin", *flags, feed=self.passwords[name] + "\n")

    def token(self, name: str) -> str:
        """A token that speaks for this person."""
        return self.dure("token", "--user", name).strip().splitlines()[-1]

    def client(self, name: str) -> httpx.Client:
        """A client of the API as this person, with the last client's token as long as that is worth anything.

        A token of its own for each costs a process, which takes longer than most of what is looked at.
        """
        if name not in self.tokens or not self._knows(self.tokens[name]):
            self.tokens[name] = self.token(name)
        return self._client(self.tokens[name])

    def _client(self, token: str) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.url}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=60
        )

    def _knows(self, token: str) -> bool:
        """Whether it is not refused; where nobody answers, that is for who uses it to see."""
        with self._client(token) as client:
            try:
                return client.get("/me").status_code != 401
            except httpx.HTTPError:
                return True

    def processes(self) -> list[psutil.Process]:
        """Every process that carries this portal's data folder or mark in its environment or command line."""
        marks = [f"DURE_DATA={self.data}", str(self.data)]
        instance = self.settings.get("instance") if (self.data / "run" / "settings.json").exists() else None
        found = []
        for process in psutil.process_iter():
            try:
                environ = {f"{k}={v}" for k, v in process.environ().items()}
                words = " ".join(process.cmdline())
                mark = mark_of(process)
                if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                    continue
            except psutil.Error:
                continue
            mine = bool(instance) and (f"DURE_PORTAL={instance}" in environ or (mark or ("",))[0] == instance)
            if mine or any(mark in environ or mark in words for mark in marks):
                found.append(process)
        return found

    def service(self, name: str) -> psutil.Process:
        """The process of one service, from the supervisor's own record."""
        return psutil.Process(self.pid(name))

    def pid(self, name: str) -> int:
        """Pid of one service by its record, dead or alive."""
        return int(json.loads((self.data / "run" / "services" / f"{name}.json").read_text())["pid"])

    def logs(self) -> str:
        """The last of every log, for a failure's text."""
        text = ""
        for log in sorted((self.data / "log").glob("*.log")):
            text += f"\n--- {log.name}\n" + log.read_text(errors="replace")[-1500:]
        return text


def make_portal(folder: Path, **environment: str) -> Portal:
    """A portal that is not up yet. Moving its time by hand counts as sleep only where the test asks for that; how
    full this machine's disk is keeps none from starting."""
    given = {"DURE_LANGUAGE": "en", "DURE_DISK_MINIMUM_PERCENT": "0"}
    given |= {"DURE_WAKE_NOTICE_S": "0"} if "DURE_CLOCK_FILE" in environment else {}
    return Portal(folder / "data", free_port(), {**given, **environment})

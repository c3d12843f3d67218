"""A portal with all that must outlive a crash: a kernel, a job, an endpoint, a schedule, a line of tickets."""

from __future__ import annotations

import json
import os
import pty
import select
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
from websockets.sync.client import ClientConnection, connect

import dure
from dure.wire.ids import new_id
from tests.contract.digits import CODE, held_out
from tests.e2e.kernels import compute
from tests.e2e.portal import Portal, is_lab, make_portal, mark_of, until
from tests.support.notebooks import notebook
from tests.support.zips import zipped

HOUR = 3600
SERVICES = ("envoy", "hub", "portal", "mlflow", "voila", "warm")
WORK = ("server", "job", "model")
LOOP = """
import time
import dure

ctx, step = dure.context(), 0
while True:
    step += 1
    ctx.log(step=step, steps=step)
    time.sleep(0.2)
"""


class Kernel:
    """A kernel of ana's server, which any number of sockets can be opened to."""

    def __init__(self, portal: Portal) -> None:
        (record,) = (portal.data / "run" / "server").glob("*/spec.json")
        self.headers = {"Authorization": f"token {json.loads(record.read_text())['secret']}"}
        base = f"{portal.url}/user/ana"
        made = httpx.post(f"{base}/api/kernels", headers=self.headers, json={}, timeout=60)
        assert made.status_code == 201, made.text
        self.address = base.replace("http", "ws") + f"/api/kernels/{made.json()['id']}/channels"

    def connect(self) -> ClientConnection:
        """A new socket."""
        return connect(self.address, additional_headers=self.headers)


class Site:
    """Three places for work, all taken; ben and cho wait for one, in this order."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.folder, self.moved_s = folder / "clock", folder, 0
        self.clock.write_text("0")
        cores = (psutil.cpu_count() or 1) * 2 / 3 - 0.02  # three of them are promised twice the machine
        self.portal = make_portal(
            folder,
            DURE_CLOCK_FILE=str(self.clock),
            DURE_WAKE_NOTICE_S="600",
            DURE_TICKET_TIMEOUT_S=str(2 * HOUR),
            DURE_LOOK_INTERVAL_S="0.5",
            DURE_CPU_PROFILE_CORES=f"{cores:.2f}",
            DURE_CPU_PROFILE_MEMORY_MB="256",
        )

    def fill(self) -> None:
        """Start everything. The SDK speaks for ana from here on, in her own working folder."""
        for name in ("ben", "cho"):
            self.portal.add_user(name)
        (self.folder / "train.py").write_text(CODE)
        (self.folder / "loop.py").write_text(LOOP)
        trained = dure.train("train.py:train", name="trained", parameters={"epochs": 2})
        trained.wait(timeout=300)
        version = dure.models.register("digits", trained)
        self.endpoint = dure.endpoints.deploy("digits", "digits", version.version)
        self.endpoint.wait(timeout=180)
        self.job = dure.train("loop.py", name="loop")
        until(lambda: self.job.state == "running", "the job to run", 120)
        self.api("POST", "/environments", id=new_id(), profile="cpu", lifetime_s=2 * HOUR)
        until(lambda: self.server()["phase"] == "running", "ana's server", 150)
        digest, content = zipped({"work.ipynb": notebook("1")})
        with self.portal.client("ana") as client:
            client.put(f"/snapshots/{digest}", content=content).raise_for_status()
        rare = {"name": "rare", "snapshot": digest, "notebook": "work.ipynb", "cron": "0 0 29 2 *"}
        self.api("POST", "/schedules", id=new_id(), **rare)
        for name in ("ben", "cho"):
            self.api("POST", "/environments", name, id=new_id(), profile="cpu")
        self.kernel = Kernel(self.portal)
        self.before = self.kept()

    def api(self, method: str, path: str, who: str = "ana", **body: Any) -> Any:
        """An answer of the API."""
        with self.portal.client(who) as client:
            answer = client.request(method, path, json=body or None).raise_for_status()
            return answer.json() if answer.content else None

    def server(self) -> dict[str, Any]:
        """Ana's, as the portal shows it."""
        return dict(self.api("GET", "/environments/default"))

    def kept(self) -> dict[str, Any]:
        """What no crash may change: the line, the schedule, the lease, the job's attempt, and their processes."""
        line = [self.api("GET", "/environments/default", who)["ticket"] for who in ("ben", "cho")]
        return {
            "line": [(ticket["id"], ticket["position"], ticket["asked_at"]) for ticket in line],
            "next": self.api("GET", "/schedules/rare")["next_at"],
            "lease": self.server()["lease"]["id"],
            "attempts": [attempt.state for attempt in self.job.attempts],
            "processes": {kind: [process.pid for process in self.work(kind)] for kind in WORK},
        }

    def work(self, kind: str) -> list[psutil.Process]:
        """The processes of people's work of one kind, without keepers and what it has started itself."""
        marked = [one for one in self.portal.processes() if (mark_of(one) or ("", ""))[1] == kind]
        parts = {"job": "dure.worker", "model": "dure.server"}
        if kind == "server":
            return [one for one in marked if is_lab(one)]
        return [one for one in marked if parts[kind] in one.cmdline()]

    def keepers(self) -> list[psutil.Process]:
        """The keeper of each of these."""
        found = [self.work(kind)[0].parent() for kind in WORK]
        return [one for one in found if one is not None]

    def status(self) -> dict[str, Any]:
        """What `dure status` finds."""
        found: dict[str, Any] = json.loads(self.portal.dure("status", "--json", check=False))
        return found

    def answers(self) -> bool:
        """Whether every part does, through the front port where it has a place there, and ana's endpoint, too."""
        try:
            paths = ("/hub/api/", "/services/dure/health", "/api/v1/about", "/services/mlflow/version")
            codes = [httpx.get(self.portal.url + path, timeout=5).status_code for path in paths]
            headers = {"Authorization": f"Bearer {os.environ['DURE_TOKEN']}"}
            row = {"inputs": held_out()[0][:1]}
            asked = httpx.post(self.endpoint.address, json=row, headers=headers, timeout=20).status_code
            whole = (
                codes[:3] == [200] * 3 and codes[3] in (200, 401) and asked == 200 and self.phase() == "running"
            )
        except httpx.HTTPError:
            return False
        if not whole:
            return False
        found = self.status()  # last, since it costs a process
        return found["phase"] == "up" and all(one["answers"] for one in found["services"].values())

    def phase(self) -> str:
        """Of ana's server; empty while nobody can say."""
        with self.portal.client("ana") as client:
            answer = client.get("/environments/default")
        return str(answer.json()["phase"]) if answer.status_code == 200 else ""

    def whole_within(self, seconds: float) -> None:
        """Until every part answers, and nothing of people's was lost, doubled or changed."""
        began = time.monotonic()
        until(self.answers, lambda: f"a whole portal: {self.status()}{self.portal.logs()}", timeout=seconds)
        print(f"whole after {time.monotonic() - began:.1f} s")
        until(lambda: self.kept() == self.before, lambda: f"{self.kept()} as before: {self.before}", timeout=60)

    def move(self, seconds: int) -> None:
        """Let the portal's time leap."""
        self.moved_s += seconds
        self.clock.write_text(str(self.moved_s))

    def now(self) -> datetime:
        """The portal's time."""
        return datetime.now(UTC) + timedelta(seconds=self.moved_s)

    def until_looked(self) -> None:
        """Until the reconciler has looked at the time that is now."""
        now = self.now()

        def looked() -> bool:
            query = "select until from leaderships where task = 'reconcile.awake'"
            with sqlite3.connect(f"file:{self.portal.data}/db/dure.sqlite?mode=ro", uri=True) as database:
                (text,) = database.execute(query).fetchone()
            found = datetime.fromisoformat(text)
            return (found.replace(tzinfo=now.tzinfo) if found.tzinfo is None else found) >= now

        until(looked, "a look of the reconciler")


@contextmanager
def in_terminal(environment: Mapping[str, str], *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A program that leads the session of a terminal of its own; leaving closes the terminal, which hangs up."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["/bin/sh", "-c", 'exec env --default-signal=HUP setsid --ctty "$@"', "sh", *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
    )
    os.close(slave)
    try:
        yield process, master
    finally:
        os.close(master)


def read_until(master: int, words: str, timeout: float) -> str:
    """What a terminal shows, until these words or the end of the program."""
    shown, deadline = "", time.monotonic() + timeout
    while words not in shown and time.monotonic() < deadline:
        if select.select([master], [], [], 1)[0]:
            try:
                piece = os.read(master, 65536)
            except OSError:  # Linux says so when the last program of a terminal has ended
                break
            if not piece:
                break
            shown += piece.decode(errors="replace")
    return shown


def remembers(socket: ClientConnection, value: str) -> bool:
    """Whether the kernel has its variable yet."""
    return compute(socket, "print(x)", patience_s=60).strip() == value


def dure_words(*words: str) -> tuple[str, ...]:
    """The `dure` command."""
    return (sys.executable, "-m", "dure.cli", *words)

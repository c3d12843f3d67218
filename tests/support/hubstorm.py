"""A storm on a whole portal: sixty people ask for a server at once, the hub is killed in the middle of it, and
afterwards each of them is either served or told why not.

The servers are stubs, each a real process. What is there is read from /proc, from the store and through the front
port, and not asked of the code that is looked at.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from dure.wire.ids import new_id
from dure_hub.accounts import add_user
from dure_hub.app import operations
from dure_hub.operations.people import ADMIN, USE
from tests.e2e.portal import Portal, free_port, until
from tests.support.hub import STUB
from tests.support.short_portal import ShortPortal

PEOPLE = tuple(f"user{number:02}" for number in range(60))
QUICK_S, CALM_S = 0.03, 0.25
Servers = dict[str, list[tuple[int, str]]]
"""Each person's servers: pid and lease."""


def storm_portal(folder: Path) -> Portal:
    """A portal with room for all, that looks often. It is not up yet."""
    environment = {
        "DURE_LANGUAGE": "en",
        "DURE_SERVER_COMMAND": json.dumps(storm_command(folder)),
        "DURE_LOOK_INTERVAL_S": "0.5",
        "DURE_CPU_PROFILE_CORES": "0.01",
        "DURE_CPU_PROFILE_MEMORY_MB": "64",
        "DURE_MEMORY_RESERVED_MB": "0",
        "DURE_STOP_GRACE_S": "3",
    }
    return ShortPortal(folder / "data", free_port(), environment)


def storm_command(folder: Path) -> list[str]:
    """The stub with a word of this storm's own in its command line: the name of a gate that is never there."""
    return [sys.executable, "-I", "-S", str(STUB), str(folder / "gate")]


def stubs(folder: Path) -> list[int]:
    """The pids of this storm's servers, by that word."""
    word = str(folder / "gate").encode()
    return [pid for pid, words in proc("cmdline") if word in words]


def proc(name: str) -> Iterator[tuple[int, list[bytes]]]:
    """The words of /proc/PID/`name` of every process. This is asked many times a second, so without psutil."""
    for pid in os.listdir("/proc"):  # noqa: PTH208
        if pid.isdigit():
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:  # noqa: PTH123
                    yield int(pid), file.read().split(b"\0")
            except OSError:
                continue  # it has ended, or is somebody else's


def variables(words: Iterable[bytes]) -> dict[str, str]:
    """An environment as a dictionary."""
    return dict(word.decode(errors="replace").partition("=")[::2] for word in words)


@dataclass(frozen=True)
class Progress:
    """How far the storm has come, in people: whose lease is claimed, whose process is there, who has a server."""

    claimed: int
    processes: int
    running: int
    stopping: int


@dataclass(frozen=True)
class Findings:
    """What is not in order, each as a name or a lease with what is wrong. All empty: everything is."""

    orphans: Sequence[str] = ()
    """Leases that processes of ours are marked with, and that are not active."""
    duplicates: Sequence[str] = ()
    """People with more than one process for one environment."""
    untold: Sequence[str] = ()
    """People who are neither served nor told why not."""
    lost: Sequence[str] = ()
    """Active leases without a process."""
    apart: Sequence[str] = ()
    """People of whose server the hub and the portal say different things."""
    served: int = 0
    told: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.orphans or self.duplicates or self.untold or self.lost or self.apart)


@dataclass
class Storm:
    """One portal that is up, and the people in front of it."""

    portal: Portal
    folder: Path
    api: httpx.Client
    tokens: dict[str, str]
    stopped: set[str] = field(default_factory=set)
    """Who has asked for the end of their own server."""
    back_at: float = 0.0
    """When the last killed hub was back."""

    # -- what people do

    @contextmanager
    def asking(self, people: Iterable[str] = PEOPLE) -> Iterator[None]:
        """All of them ask for a server at once; at the end each has got an answer."""
        with self.together(self.ask, people):
            yield

    def ask(self, person: str) -> None:
        """Ask for a server. The portal always answers, whatever becomes of the hub."""
        answer = self.call(person, "POST", "", {"id": new_id(), "name": "default", "profile": "cpu"})
        # 409: the last one still ends, and says so
        assert answer.status_code in (202, 409), f"{person}: {answer.status_code} {answer.text}"

    def ask_again(self) -> None:
        """Whoever has no server asks once more, as impatient people do."""
        got = {one["owner"] for one in self.environments() if one["phase"] == "running"}
        with self.asking(person for person in PEOPLE if person not in got | self.stopped):
            pass

    def stop_some(self, number: int) -> None:
        """So many of those who have a server end it; returns once the first is being stopped."""
        ready = [one["owner"] for one in self.environments() if one["phase"] == "running"][:number]
        with self.together(self.stop, ready):
            if ready:
                until(lambda: self.progress().stopping, "somebody's server to be stopped", every=QUICK_S)

    def stop(self, person: str) -> None:
        """End one's own server."""
        self.stopped.add(person)
        answer = self.call(person, "DELETE", "/default")
        assert answer.status_code in (204, 404), f"{person}: {answer.status_code} {answer.text}"

    def call(self, person: str, method: str, path: str, body: Any = None) -> httpx.Response:
        """One call of the API as this person."""
        token = {"Authorization": f"Bearer {self.tokens[person]}"}
        return self.api.request(method, f"{self.portal.url}/api/v1/environments{path}", headers=token, json=body)

    @contextmanager
    def together(self, act: Callable[[str], None], people: Iterable[str]) -> Iterator[None]:
        """Each of them does it in a thread of their own; what fails is raised at the end."""
        with ThreadPoolExecutor(len(PEOPLE)) as pool:
            begun: list[Future[None]] = [pool.submit(act, person) for person in people]
            try:
                yield
            finally:  # why nobody got on comes before that nobody did
                for one in begun:
                    one.result()

    # -- the hub

    def kill_hub(self) -> None:
        """`kill -9` of the hub; returns when the one that the supervisor has started answers."""
        before = self.portal.service("hub")
        before.kill()
        until(lambda: self.portal.pid("hub") != before.pid and self.hub_answers(), "a new hub", timeout=120)
        self.back_at = time.monotonic()

    def hub_answers(self) -> bool:
        """Whether it is there."""
        try:
            return self.hub_says("/").status_code == 200
        except httpx.TransportError:
            return False

    def hub_says(self, path: str) -> httpx.Response:
        """The answer of the hub's API to the portal's own token."""
        settings = self.portal.settings
        token = (self.portal.data / "secrets" / "portal-token").read_text().strip()
        address = f"http://127.0.0.1:{settings['hub_port']}/hub/api{path}"
        return self.api.get(address, headers={"Authorization": f"token {token}"})

    # -- how far it is, and whether it is in order

    def progress(self) -> Progress:
        """Now."""
        rows = self.rows(
            "SELECT phase, l.claimed_at IS NOT NULL FROM environments e JOIN leases l ON l.id = e.lease_id"
            " WHERE l.ended_at IS NULL"
        )
        phases = Counter(phase for phase, _ in rows)
        claimed = sum(claimed for _, claimed in rows)
        return Progress(claimed, len(stubs(self.folder)), phases["running"], phases["stopping"])

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Of the portal's own database."""
        path = self.portal.data / "db" / "dure.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return db.execute(query).fetchall()

    def settled(self, within_s: float) -> Findings:
        """The findings once all is in order, on two looks in a row; else those so long after the hub was back."""
        deadline = self.back_at + within_s
        before = False
        while True:
            found = self.look()
            if (found.clean and before) or time.monotonic() > deadline:
                return found
            before = found.clean
            time.sleep(CALM_S)

    def look(self) -> Findings:
        """Everything there is, compared. Processes first: a lease is in the store before anything of it runs."""
        servers, marked = self.processes()
        active = {lease for (lease,) in self.rows("SELECT id FROM leases WHERE ended_at IS NULL")}
        shown = {one["owner"]: one for one in self.environments()}
        ready = self.hub_servers()
        untold = {person: self.trouble(person, shown.get(person), servers.get(person, [])) for person in PEOPLE}
        running = {person for person, one in shown.items() if one["phase"] == "running"}
        held = {lease for pids in servers.values() for _, lease in pids}
        return Findings(
            orphans=sorted(marked - active),
            duplicates=sorted(person for person, pids in servers.items() if len(pids) > 1),
            untold=[f"{person}: {why}" for person, why in untold.items() if why],
            lost=sorted(active - held),
            apart=sorted(running ^ ready),
            served=len(running),
            told=sum(one["phase"] in ("waiting", "failed") for one in shown.values()),
        )

    def processes(self) -> tuple[Servers, set[str]]:
        """Each person's servers (pid and lease), and the leases of whatever carries our mark, keepers included."""
        mark = f"DURE_PORTAL={self.portal.settings['instance']}".encode()
        mine = set(stubs(self.folder))
        servers: Servers = {}
        leases: set[str] = set()
        for pid, words in proc("environ"):
            told = variables(words) if mark in words else {}
            if "DURE_LEASE" in told:
                leases.add(told["DURE_LEASE"])
                if pid in mine:
                    servers.setdefault(told["JUPYTERHUB_USER"], []).append((pid, told["DURE_LEASE"]))
        return servers, leases

    def environments(self) -> list[dict[str, Any]]:
        """What the portal shows of everybody's."""
        answer = self.call("root", "GET", "?everyone=true")
        assert answer.is_success, answer.text
        return list(answer.json())

    def hub_servers(self) -> set[str]:
        """Whose server the hub calls ready; with a mark who is neither that nor gone."""
        answer = self.hub_says("/users?state=active&limit=200")
        assert answer.is_success, answer.text
        found = [(user["name"], one) for user in answer.json() for one in user["servers"].values()]
        return {
            name if one["ready"] and not one["pending"] else f"{name} ({one['pending']})" for name, one in found
        }

    def trouble(self, person: str, shown: dict[str, Any] | None, servers: list[tuple[int, str]]) -> str:
        """Why this person is neither served nor told; empty if they are."""
        if shown is None:
            return "no environment"
        phase = shown["phase"]
        if phase == "running":
            return self.not_served(person, shown, servers)
        if phase == "waiting":
            return "" if shown["ticket"] else "waits without a ticket"
        over = phase == "failed" or (phase == "stopped" and person in self.stopped)
        said = shown["reason_text"] or {}
        return "" if over and said.get("en") and said.get("ko") else f"{phase} ({shown['reason']})"

    def not_served(self, person: str, shown: dict[str, Any], servers: list[tuple[int, str]]) -> str:
        """Whether the front port leads to the one process of this person's active lease."""
        lease = shown["lease"]
        if lease is None or [held for _, held in servers] != [lease["id"]]:
            return f"runs with {servers} under {lease and lease['id']}"
        try:
            answer = self.api.get(f"{self.portal.url}{shown['url']}api")
        except httpx.TransportError as error:
            return f"front port: {error!r}"
        return "" if answer.headers.get("x-pid") == str(servers[0][0]) else f"front port: {answer.status_code}"

    # -- between two storms

    def calm(self) -> None:
        """Everybody ends their server; nothing of any is left."""
        if self.over():
            return
        with self.together(self.stop, PEOPLE):
            pass
        until(self.over, lambda: f"all to end: {self.progress()}", timeout=60, every=CALM_S)
        self.stopped.clear()

    def over(self) -> bool:
        """Whether nothing runs and no lease is active."""
        return not self.rows("SELECT id FROM leases WHERE ended_at IS NULL") and self.processes() == ({}, set())


@contextmanager
def storm(folder: Path) -> Iterator[Storm]:
    """A portal of that folder, up, with tokens for everybody."""
    with ExitStack() as stack:
        portal = storm_portal(folder)
        stack.callback(portal.down)
        portal.up()
        limits = httpx.Limits(max_connections=2 * len(PEOPLE), max_keepalive_connections=len(PEOPLE))
        api = stack.enter_context(httpx.Client(timeout=60, limits=limits, trust_env=False))
        yield Storm(portal, folder, api, asyncio.run(tokens(portal.data)))


async def tokens(data: Path) -> dict[str, str]:
    """An account and a token of the portal for each person, and a token for the administrator."""
    ops = operations(data)
    try:
        for person in PEOPLE:
            add_user(ops.settings, person, f"{person}-secret")
        scopes = {person: {USE} for person in PEOPLE} | {"root": {USE, ADMIN}}
        return {
            name: (await ops.tokens.mint(name, admin=ADMIN in may, scopes=may, purpose="storm", lifetime_s=3600))[
                1
            ]
            for name, may in scopes.items()
        }
    finally:
        await ops.close()

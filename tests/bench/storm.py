"""`kill -9` of the hub while sixty people start servers, against the stock hub, at the same random moments.

A moment is how many of the servers' processes are there; in some of them people are ending theirs, too. Both hubs
start the same stub, are started again right away, and whoever has no server then asks once more. It is counted
what is wrong once nothing is pending any more, at the latest half a minute after the hub was back. Our portal runs
as its supervisor starts it, without MLflow and Voila; the reference is JupyterHub with SimpleLocalProcessSpawner
and its default proxy, new for each moment.

`DURE_BENCH_MOMENTS` is how many moments there are (20), `DURE_BENCH_SEED` draws others.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from dure_hub.settings import Settings
from dure_hub.supervisor.services import environment
from tests.bench.proxy import install_reference
from tests.bench.record import Figure
from tests.bench.spawn import STOCK, without_hub
from tests.e2e.portal import free_port, until
from tests.support.hubstorm import CALM_S, PEOPLE, QUICK_S, Storm, proc, storm, storm_command, stubs, variables

ALONE = True
WHOLE_S = 30.0
MOMENTS, SEED = int(os.environ.get("DURE_BENCH_MOMENTS", "20")), int(os.environ.get("DURE_BENCH_SEED", "1"))
OF_ONE_PORTAL = 5
"""Kills of one portal's hub: its supervisor waits twice as long before each new start."""
_WHERE = f"of {len(PEOPLE)} people who start servers at once while the hub is killed, {MOMENTS} random moments"
WHAT = {
    "storm_orphans": f"Servers that nobody knows, at most 30 s after the hub is back, {_WHERE}: ours and stock.",
    "storm_duplicates": "People with two servers for one environment then, in the same storms.",
    "storm_unserved_untold": (
        "People without a server then who are not told why. Of the stock hub those alone count whose start it had"
        " said yes to; a call that broke off counts as told."
    ),
    "storm_disagreements": "Leases without a process, and servers of which hub and portal say different things.",
}


@dataclass(frozen=True)
class Moment:
    """When to kill: once so many processes are there, and so many who have a server have asked for its end."""

    processes: int
    stops: int


@dataclass(frozen=True)
class Count:
    """What was wrong after one storm."""

    orphans: int
    duplicates: int
    untold: int
    apart: int = 0


def run() -> list[Figure]:
    """Ours and the reference by turns, moment for moment."""
    proxy = install_reference()
    found: list[tuple[Count, Count]] = []
    moments = drawn(random.Random(SEED), MOMENTS)
    with tempfile.TemporaryDirectory() as name:
        for begin in range(0, len(moments), OF_ONE_PORTAL):
            with storm(made(Path(name) / f"ours-{begin}")) as front:
                for moment in moments[begin : begin + OF_ONE_PORTAL]:
                    mine = ours(front, moment)
                    theirs = reference(made(Path(name) / f"stock-{len(found)}"), proxy, front.portal.data, moment)
                    print(f"  {moment}: ours {mine}, stock {theirs}", flush=True)
                    found.append((mine, theirs))
    unit = f"in {len(found)} storms of {len(PEOPLE)}"
    return [
        none("storm_orphans", f"servers {unit}", [(mine.orphans, other.orphans) for mine, other in found]),
        none("storm_duplicates", f"people {unit}", [(mine.duplicates, other.duplicates) for mine, other in found]),
        none("storm_unserved_untold", f"people {unit}", [(mine.untold, other.untold) for mine, other in found]),
        none("storm_disagreements", f"servers {unit}", [(mine.apart, None) for mine, _ in found]),
    ]


def drawn(chance: random.Random, number: int) -> list[Moment]:
    """Moments all over the storm; in one of three somebody stops, if anybody has a server by then."""
    return [Moment(chance.randint(1, len(PEOPLE)), chance.choice((0, 0, 10))) for _ in range(number)]


def none(name: str, unit: str, counts: list[tuple[int, int | None]]) -> Figure:
    """The sums over all storms; ours is to be nothing."""
    mine = sum(count for count, _ in counts)
    theirs = [other for _, other in counts if other is not None]
    return Figure(name, unit, mine, sum(theirs) if theirs else None, None, "<= 0", mine == 0, len(counts))


def made(folder: Path) -> Path:
    """This folder, new."""
    folder.mkdir()
    return folder


def ours(front: Storm, moment: Moment) -> Count:
    """One storm on our portal."""
    front.calm()
    with front.asking():
        reached(front.folder, moment)
        if moment.stops:
            front.stop_some(moment.stops)
        front.kill_hub()
    front.ask_again()
    found = front.settled(WHOLE_S)
    if not found.clean:
        print(f"  {found}", flush=True)
    apart = len(found.lost) + len(found.apart)
    return Count(len(found.orphans), len(found.duplicates), len(found.untold), apart)


def reached(folder: Path, moment: Moment) -> None:
    """Wait for the moment."""
    until(lambda: len(stubs(folder)) >= moment.processes, lambda: f"{moment}", timeout=300, every=QUICK_S)


@dataclass
class Stock:
    """JupyterHub as it comes, in front of the same people."""

    folder: Path
    command: list[str]
    environment: dict[str, str]
    address: str
    proxy_port: int
    api: httpx.Client
    hub: subprocess.Popen[bytes] | None = None
    accepted: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)

    def start(self) -> None:
        """Start the hub, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.hub = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=self.environment, start_new_session=True
            )
        until(self.answers, lambda: (self.folder / "log").read_text()[-2000:], timeout=120, every=QUICK_S)

    def answers(self) -> bool:
        """Whether it is there."""
        try:
            return self.api.get(f"{self.address}/").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """`kill -9`, of the hub alone."""
        assert self.hub is not None
        self.hub.kill()
        self.hub.wait(10)

    def end(self) -> None:
        """End the hub, and then what it has left."""
        if self.hub is not None:
            self.hub.terminate()
            self.hub.wait(60)
        port = str(self.proxy_port).encode()
        proxies = [pid for pid, words in proc("cmdline") if b"--api-port" in words and port in words]
        for pid in (*stubs(self.folder), *proxies):  # a proxy of the killed hub may be among them
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()

    def ask(self, person: str) -> None:
        """Ask for a server; a call that breaks off with the hub is an answer, too."""
        try:
            answer = self.api.post(f"{self.address}/users/{person}/server")
        except httpx.TransportError:
            return
        if answer.is_success:
            self.accepted.add(person)

    def stop(self, person: str) -> None:
        """End one's own server, as far as the hub lets."""
        self.stopped.add(person)
        try:
            self.api.delete(f"{self.address}/users/{person}/server")
        except httpx.TransportError:
            return

    def servers(self) -> dict[str, bool]:
        """Who has a server by the hub, and whether it is ready with nothing pending."""
        users = self.api.get(f"{self.address}/users", params={"limit": 200}).raise_for_status().json()
        return {
            user["name"]: bool(one["ready"] and not one["pending"])
            for user in users
            for one in user["servers"].values()
        }

    def settled(self) -> set[str]:
        """Who has a server once nothing is pending any more, or in the end."""
        deadline = time.monotonic() + WHOLE_S
        while not all(self.servers().values()) and time.monotonic() < deadline:
            time.sleep(CALM_S)
        return {person for person, ready in self.servers().items() if ready}


def reference(folder: Path, proxy: Path, data: Path, moment: Moment) -> Count:
    """One storm on the stock hub."""
    with stock(folder, proxy, data) as hub, ThreadPoolExecutor(2 * len(PEOPLE)) as pool:
        asked = [pool.submit(hub.ask, person) for person in PEOPLE]
        reached(folder, moment)
        # asking the busy hub who is ready would take until most are
        asked += [pool.submit(hub.stop, person) for person in sorted(hub.accepted)[: moment.stops]]
        hub.kill()
        for one in asked:
            one.result()
        hub.start()
        served = hub.settled()
        untold = hub.accepted - served - hub.stopped
        for one in [pool.submit(hub.ask, person) for person in PEOPLE if person not in served | hub.stopped]:
            one.result()
        served, there = hub.settled(), servers_of(folder)  # what it does not know, it never ends
        orphans = sum(number - (person in served) for person, number in there.items())
        return Count(orphans, sum(number > 1 for number in there.values()), len(untold))


def servers_of(folder: Path) -> Counter[str]:
    """How many processes each person has."""
    mine = set(stubs(folder))
    told: Callable[[list[bytes]], str] = lambda words: variables(words).get("JUPYTERHUB_USER", "")  # noqa: E731
    return Counter(told(words) for pid, words in proc("environ") if pid in mine)


@contextmanager
def stock(folder: Path, proxy: Path, data: Path) -> Iterator[Stock]:
    """A stock hub that knows everybody; it and all it has started end."""
    front, port, api_port, token = free_port(), free_port(), free_port(), secrets.token_hex(16)
    command, config = storm_command(folder), folder / "jupyterhub_config.py"
    config.write_text(
        STOCK.format(
            front=front, hub=port, api=api_port, folder=folder, token=token, command=command, proxy=str(proxy)
        )
    )
    limits = httpx.Limits(max_connections=3 * len(PEOPLE))
    headers = {"Authorization": f"token {token}"}
    with ExitStack() as stack:
        api = stack.enter_context(httpx.Client(headers=headers, timeout=60, limits=limits, trust_env=False))
        line = [sys.executable, "-m", "jupyterhub", "-f", str(config)]
        given = without_hub(environment(Settings(data=data), "hub"))
        hub = Stock(folder, line, given, f"http://127.0.0.1:{port}/hub/api", api_port, api)
        stack.callback(hub.end)
        hub.start()
        api.post(f"{hub.address}/users", json={"usernames": list(PEOPLE)}).raise_for_status()
        yield hub

"""What a portal adds to a start: against the stock hub with a stub server, and against a bare JupyterLab.

`spawn_overhead`: from the hub's API call to a ready server, the same stub behind either hub. The reference is
JupyterHub with SimpleLocalProcessSpawner and its default proxy, with our environment and our way of opening its
database (write-ahead log, fewer waits for the disk), so that neither counts for us. On our side Envoy and the
hub run, as `dure up` starts them. Each start names no lease, so it takes the whole path of the spawner:
`operations.environments.claim` writes ticket, lease and events in one transaction of our own store, which takes
the admission lock, asks the queue and places; the keeper starts the server, and its handle is saved. The bench
looks up that each start has claimed a lease. Not in it: the portal's own request and reconciler, which do not
run, MLflow, a queue with others in it, GPUs (the profile is `cpu`).

`time_to_notebook_cold`: from that call to the first answer of a real server through the front port; the
reference is `jupyter lab`, started by hand with the same extensions and configuration, in the environment that
the spawner gave the server, and looked at as often. Our single-user server skips an import that costs a bare
lab much of its start (`dure_hub.spawners.jupyterhub_singleuser`), which is a gain that people have, but none of
the hub's. So `time_to_notebook_cold_same_imports` has a reference that skips it too.

`time_to_notebook_warm`: the same way, once the fork server of `dure up` is there, some seconds after that command.
Its imports, made once, are not in the figure: nobody waits for them.

`starts_at_once_failed`: how many of twenty people who press start at the same moment have no server in the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import httpx

from dure_hub.accounts import add_user
from dure_hub.settings import Settings
from dure_hub.spawners.jupyterhub_singleuser import NEVER_USED
from dure_hub.spawners.waiting import until_answers
from dure_hub.supervisor.services import environment
from tests.bench.proxy import install_reference
from tests.bench.record import Figure, absolute, compared, pairs, shown
from tests.e2e.portal import free_port
from tests.support.hub import RealHub, hub_settings, real_hub, stub_command

WHAT = {
    "spawn_overhead": (
        "From the hub's API call to a ready stub server: our hub behind Envoy, lease admission included,"
        " against stock JupyterHub (SimpleLocalProcessSpawner, configurable-http-proxy) with the same database"
        " settings. The reference looks for its server at growing intervals: from run to run it was seen to take"
        " 0.09 to 0.17 s, which moves the ratio from 0.71 to 1.16."
    ),
    "time_to_notebook_cold": (
        "From the hub's API call to JupyterLab's first answer through the front port, against a bare `jupyter"
        " lab` with the same extensions and environment."
    ),
    "time_to_notebook_cold_same_imports": (
        "The same, against a bare `jupyter lab` that skips the import which our server skips."
    ),
    "time_to_notebook_warm": (
        "From the hub's API call to JupyterLab's first answer through the front port where the fork server is up,"
        " against a bare `jupyter lab` with the same extensions and environment."
    ),
    "starts_at_once_failed": (
        "Starts without a JupyterLab that answers through the front port, of twenty people's at the same moment."
    ),
}
AT_ONCE = 20
OVERHEAD_PAIRS = 15
NOTEBOOK_PAIRS = 7
PATIENCE_S = 120
QUICK_S = 0.01
OF_HUB = ("JUPYTERHUB_", "JPY_", "DURE_", "MLFLOW_")
"""What a server's environment says of its hub and portal; a bare lab has neither."""

BARE = ("-m", "jupyterlab")
SAME_IMPORTS = (
    "-c",
    f"import sys; sys.modules.update(dict.fromkeys({NEVER_USED!r})); from jupyterlab.labapp import main; main()",
)


@dataclass(frozen=True)
class Hub:
    """One hub: its API with a token, its front port, and whose server is started."""

    api: httpx.Client
    front: str
    user: str

    def start(self) -> float:
        """Seconds from the call to a ready server."""
        with self.up() as took:
            return took

    def notebook(self) -> float:
        """Seconds from the call to the first answer of the server through the front port."""
        with self.up(answers=True) as took:
            return took

    @contextmanager
    def up(self, *, answers: bool = False) -> Iterator[float]:
        """A server that is ready, or has answered through the front port, and how long that took; then stopped."""
        began = time.perf_counter()
        self.begin(answers=answers)
        yield time.perf_counter() - began
        self.end()

    def begin(self, *, answers: bool) -> None:
        """Start it and wait for it."""
        self._ready(self.api.post(f"/users/{self.user}/server"))
        if answers:
            until_200(f"{self.front}/user/{self.user}/api")

    def end(self) -> None:
        """Stop it, if it is there, and wait for its end."""
        self.api.delete(f"/users/{self.user}/server").raise_for_status()
        wait(lambda: not self._servers())

    def _ready(self, answer: httpx.Response) -> None:
        """Both hubs answer 201 once the server is ready, or 202 where that takes longer than they hold a call."""
        last = answer.text
        if answer.status_code == 202:
            with self.api.stream("GET", f"/users/{self.user}/server/progress", timeout=PATIENCE_S) as events:
                for line in events.iter_lines():
                    if not line.startswith("data:"):
                        continue
                    last = line.removeprefix("data:")
                    if json.loads(last).get("ready"):
                        return
        if answer.status_code != 201 or not self._servers().get("", {}).get("ready"):
            raise RuntimeError(f"no server: HTTP {answer.status_code} {last}")

    def _servers(self) -> dict[str, dict[str, object]]:
        found: dict[str, dict[str, object]] = self.api.get(f"/users/{self.user}").json()["servers"]
        return found


def run() -> list[Figure]:
    """Each by turns after a first start of either that is not counted."""
    reference = install_reference()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        overhead = measure_overhead(folder, reference)
        cold, same, warm, failed = measure_notebook(folder)
    return [
        compared("spawn_overhead", "s", overhead, at_most=1.1),
        compared("time_to_notebook_cold", "s", cold, at_most=1.4),
        shown("time_to_notebook_cold_same_imports", "s", same),
        compared("time_to_notebook_warm", "s", warm, at_most=0.15),
        absolute("starts_at_once_failed", "starts", [failed], at_most=0),
    ]


def measure_overhead(folder: Path, reference: Path) -> list[tuple[float, float]]:
    """The stub behind either hub."""
    with ExitStack() as stack:
        ours, real = stack.enter_context(dure(folder / "stub", stub_command()))
        simple = SIMPLE.format(command=stub_command(), folder=folder / "stock")
        theirs = stack.enter_context(stock(folder / "stock", reference, real.settings, simple))
        ours.start(), theirs.start()
        found = pairs(ours.start, theirs.start, OVERHEAD_PAIRS)
        if claimed(real.settings) != OVERHEAD_PAIRS + 1:
            raise RuntimeError(f"{claimed(real.settings)} leases for {OVERHEAD_PAIRS + 1} starts")
    return found


Pairs = list[tuple[float, float]]


def measure_notebook(folder: Path, count: int = NOTEBOOK_PAIRS) -> tuple[Pairs, Pairs, Pairs, int]:
    """A real lab behind our hub against a bare one: as it comes, and with the same imports; then with the fork
    server up, and how many fail of many at once."""
    home = folder / "bare"
    home.mkdir()
    with dure(folder / "lab", []) as (ours, real):
        with ours.up(answers=True):
            same = without_hub(real.marked("server")[0].environ()) | {"HOME": str(home)}
        bare, alike = (partial(bare_lab, home, same, program) for program in (BARE, SAME_IMPORTS))
        bare(), alike()
        cold, equal = pairs(ours.notebook, bare, count), pairs(ours.notebook, alike, count)
        real.start("warm")
        ours.notebook()
        warm = pairs(ours.notebook, bare, count)
        if (forked := real.forked()) != count + 1:
            raise RuntimeError(f"{forked} of {count + 1} starts were warm")
        return cold, equal, warm, starts_at_once(ours, real.settings)


def starts_at_once(hub: Hub, settings: Settings, people: int = AT_ONCE) -> int:
    """How many of so many people get no answer from a server, where all of them start one at the same moment."""
    everybody = [replace(hub, user=f"person{number}") for number in range(people)]
    for one in everybody:
        add_user(settings, one.user, "nobody-logs-in")
        one.api.post(f"/users/{one.user}").raise_for_status()

    def fails(one: Hub) -> bool:
        try:
            one.begin(answers=True)
        except (RuntimeError, httpx.HTTPError) as why:
            print(f"{one.user}: {why}", file=sys.stderr)
            return True
        return False

    try:
        with ThreadPoolExecutor(people) as threads:
            return sum(threads.map(fails, everybody))
    finally:
        for one in everybody:
            one.end()


def without_hub(given: Mapping[str, str]) -> dict[str, str]:
    """An environment less what it says of hub and portal."""
    return {name: value for name, value in given.items() if not name.startswith(OF_HUB)}


def claimed(settings: Settings) -> int:
    """How many leases a server has claimed."""
    with closing(sqlite3.connect(settings.folder.db / "dure.sqlite")) as db:
        return int(db.execute("SELECT count(*) FROM leases WHERE claimed_at IS NOT NULL").fetchone()[0])


@contextmanager
def dure(folder: Path, command: list[str], **more: object) -> Iterator[tuple[Hub, RealHub]]:
    """Our hub behind Envoy, with `more` settings."""
    folder.mkdir()
    settings = hub_settings(folder, command, **more)
    add_user(settings, "ana", "ana-secret")
    with real_hub(settings) as hub:
        _meet(hub)
        with hub.api() as api:
            try:
                yield Hub(api, hub.url, "ana"), hub
            except RuntimeError:
                print(hub.logs(), file=sys.stderr)
                raise


def _meet(hub: RealHub) -> None:
    """The hub knows a person from the first login on."""
    _, answer = hub.log_in("ana", "ana-secret")
    if answer.status_code != 302:
        raise RuntimeError(answer.text)


STOCK = """
from dure_hub.hubdb import CONNECT
c.JupyterHub.db_kwargs = {{"connect_args": CONNECT}}
c.JupyterHub.bind_url = "http://127.0.0.1:{front}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
{spawner}
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.JupyterHub.services = [dict(name="bench", api_token={token!r})]
c.JupyterHub.load_roles = [dict(name="bench", scopes=["admin:users", "admin:servers"], services=["bench"])]
"""
SIMPLE = """
c.JupyterHub.spawner_class = "simple"
c.Spawner.cmd = {command!r}
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home/{{username}}"
"""


@contextmanager
def stock(folder: Path, proxy: Path, settings: Settings, spawner: str) -> Iterator[Hub]:
    """JupyterHub as it comes, but for how it opens its database, with these lines about its spawner; in the
    environment of our own hub."""
    folder.mkdir()
    front, hub, api_port = free_port(), free_port(), free_port()
    token = secrets.token_hex(16)
    config = folder / "jupyterhub_config.py"
    config.write_text(
        STOCK.format(
            front=front,
            hub=hub,
            api=api_port,
            folder=folder,
            token=token,
            spawner=spawner,
            proxy=str(proxy),
        )
    )
    command = [sys.executable, "-m", "jupyterhub", "-f", str(config)]
    with (
        (folder / "log").open("wb") as log,
        _process(command, log.fileno(), without_hub(environment(settings, "hub"))),
        httpx.Client(
            base_url=f"http://127.0.0.1:{hub}/hub/api",
            headers={"Authorization": f"token {token}"},
            timeout=PATIENCE_S,
        ) as api,
    ):
        until_200(f"http://127.0.0.1:{front}/hub/api/")
        api.post("/users/ana").raise_for_status()
        yield Hub(api, f"http://127.0.0.1:{front}", "ana")


def bare_lab(home: Path, environment: Mapping[str, str], program: tuple[str, ...]) -> float:
    """Seconds from the start of `jupyter lab` to its first answer, waited for as the spawner and `notebook` do."""
    port = free_port()
    command = [sys.executable, "-P", *program, "--no-browser", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={home}"]
    command += ["--allow-root"] if os.geteuid() == 0 else []
    log = home / "log"
    with log.open("wb") as out:
        began = time.perf_counter()
        with _process(command, out.fileno(), environment, home) as process:

            async def look() -> None:
                if process.poll() is not None:
                    raise RuntimeError(log.read_text()[-2000:])

            asyncio.run(until_answers("127.0.0.1", port, "/api", look=look, timeout_s=PATIENCE_S))
            until_200(f"http://127.0.0.1:{port}/api")
            return time.perf_counter() - began


@contextmanager
def _process(
    command: list[str], log: int, environment: Mapping[str, str], cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=cwd, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until_200(url: str) -> None:
    """Ask until the answer is 200."""
    with httpx.Client(timeout=PATIENCE_S) as client:

        def good() -> bool:
            try:
                return client.get(url).status_code == 200
            except httpx.TransportError:
                return False

        wait(good)


def wait(look: Callable[[], bool]) -> None:
    """Until it is so."""
    deadline = time.perf_counter() + PATIENCE_S
    while not look():
        if time.perf_counter() > deadline:
            raise RuntimeError(f"not within {PATIENCE_S} s")
        time.sleep(QUICK_S)

"""What a portal adds to a start: against the stock hub with a stub server, and against a bare JupyterLab.

`spawn_overhead`: from the hub's API call to a ready server, the same stub behind either hub; the reference is
JupyterHub with SimpleLocalProcessSpawner and its default proxy. `time_to_notebook_cold`: from that call to the
first answer of a real server through the front port; the reference is `jupyter lab`, started by hand.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from dure_hub.accounts import add_user
from tests.bench.proxy import install_reference
from tests.bench.record import Figure, compared, pairs
from tests.e2e.portal import free_port
from tests.support.hub import RealHub, hub_settings, real_hub, stub_command

FIGURES = ("spawn_overhead", "time_to_notebook_cold")
OVERHEAD_PAIRS = 15
NOTEBOOK_PAIRS = 7
PATIENCE_S = 120
QUICK_S = 0.01


@dataclass(frozen=True)
class Hub:
    """One hub: its API with a token, its front port, and whose server is started."""

    api: httpx.Client
    front: str
    user: str

    def start(self) -> float:
        """Seconds from the call to a ready server, which is then stopped again."""
        began = time.perf_counter()
        self._ready(self.api.post(f"/users/{self.user}/server"))
        took = time.perf_counter() - began
        self._stop()
        return took

    def notebook(self) -> float:
        """Seconds from the call to the first answer of the server through the front port."""
        began = time.perf_counter()
        self._ready(self.api.post(f"/users/{self.user}/server"))
        until_200(f"{self.front}/user/{self.user}/api")
        took = time.perf_counter() - began
        self._stop()
        return took

    def _ready(self, answer: httpx.Response) -> None:
        """Both hubs answer 201 once the server is ready, or 202 where that takes longer than they hold a call."""
        if answer.status_code == 202:
            with self.api.stream("GET", f"/users/{self.user}/server/progress", timeout=PATIENCE_S) as events:
                for line in events.iter_lines():
                    if line.startswith("data:") and json.loads(line.removeprefix("data:")).get("ready"):
                        return
        if answer.status_code != 201 or not self._servers().get("", {}).get("ready"):
            raise RuntimeError(f"no server: HTTP {answer.status_code} {answer.text}")

    def _stop(self) -> None:
        self.api.delete(f"/users/{self.user}/server").raise_for_status()
        wait(lambda: not self._servers())

    def _servers(self) -> dict[str, dict[str, object]]:
        found: dict[str, dict[str, object]] = self.api.get(f"/users/{self.user}").json()["servers"]
        return found


def run() -> list[Figure]:
    """Each by turns after a first start of either that is not counted."""
    reference = install_reference()
    with tempfile.TemporaryDirectory() as folder:
        with ExitStack() as stack:
            ours = stack.enter_context(dure(Path(folder) / "stub", stub_command()))
            theirs = stack.enter_context(stock(Path(folder) / "stock", reference))
            ours.start(), theirs.start()
            overhead = pairs(ours.start, theirs.start, OVERHEAD_PAIRS)
        with dure(Path(folder) / "lab", []) as ours:
            home = Path(folder) / "bare"
            home.mkdir()
            ours.notebook(), bare_lab(home)
            notebook = pairs(ours.notebook, lambda: bare_lab(home), NOTEBOOK_PAIRS)
    return [
        compared("spawn_overhead", "s", overhead, at_most=1.1),
        compared("time_to_notebook_cold", "s", notebook, at_most=1.4),
    ]


@contextmanager
def dure(folder: Path, command: list[str]) -> Iterator[Hub]:
    """Our hub behind Envoy."""
    folder.mkdir()
    settings = hub_settings(folder, command)
    add_user(settings, "ana", "ana-secret")
    with real_hub(settings) as hub:
        _meet(hub)
        with hub.api() as api:
            yield Hub(api, hub.url, "ana")


def _meet(hub: RealHub) -> None:
    """The hub knows a person from the first login on."""
    _, answer = hub.log_in("ana", "ana-secret")
    if answer.status_code != 302:
        raise RuntimeError(answer.text)


STOCK = """
c.JupyterHub.bind_url = "http://127.0.0.1:{front}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.Spawner.cmd = {command!r}
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home/{{username}}"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.JupyterHub.services = [dict(name="bench", api_token={token!r})]
c.JupyterHub.load_roles = [dict(name="bench", scopes=["admin:users", "admin:servers"], services=["bench"])]
"""


@contextmanager
def stock(folder: Path, proxy: Path) -> Iterator[Hub]:
    """JupyterHub as it comes."""
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
            command=stub_command(),
            proxy=str(proxy),
        )
    )
    command = [sys.executable, "-m", "jupyterhub", "-f", str(config)]
    with (
        (folder / "log").open("wb") as log,
        _process(command, log.fileno()),
        httpx.Client(
            base_url=f"http://127.0.0.1:{hub}/hub/api",
            headers={"Authorization": f"token {token}"},
            timeout=PATIENCE_S,
        ) as api,
    ):
        until_200(f"http://127.0.0.1:{front}/hub/api/")
        api.post("/users/ana").raise_for_status()
        yield Hub(api, f"http://127.0.0.1:{front}", "ana")


def bare_lab(home: Path) -> float:
    """Seconds from the start of `jupyter lab` to its first answer."""
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={home}"]
    command += ["--allow-root"] if os.geteuid() == 0 else []
    with (home / "log").open("wb") as log:
        began = time.perf_counter()
        with _process(command, log.fileno(), {"HOME": str(home), "JUPYTER_CONFIG_PATH": str(_lab_config())}):
            until_200(f"http://127.0.0.1:{port}/api")
            return time.perf_counter() - began


def _lab_config() -> Path:
    """Both labs have the same configuration, so that neither asks the network for news."""
    from importlib.resources import files

    return Path(str(files("dure_hub.spawners"))) / "lab"


@contextmanager
def _process(command: list[str], log: int, more: dict[str, str] | None = None) -> Iterator[None]:
    environment = {**os.environ, **(more or {})}
    process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        yield
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

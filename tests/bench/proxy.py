"""The data plane against configurable-http-proxy: requests/s and p99 of small answers, 32 connections.

Both have the same routes and the same upstream, and log no access. wrk keeps 32 connections busy from one
thread; the upstream is nginx with one worker that answers by itself, so that as little as can be of the machine
goes into anything but the proxies. Each proxy runs as it is
deployed: ours is Envoy with a worker a core of this machine, the reference one Node.js process, which uses one
core and a little whatever there is. wrk, proxy and upstream share the machine's cores, and nothing is pinned.
So the ratio holds for this number of cores. The load is closed: each connection asks again once it has its
answer, so p99 is that of either proxy at its own capacity.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from dure_hub.dataplane import Cluster, Dataplane, Fragment, Route, alive, command, write_bootstrap
from dure_hub.settings import Settings
from tests.bench.record import BUILD, Figure, ReferenceMissing, compared, pairs

WHAT = {
    "proxy_requests": (
        "Small answers through the front proxy under wrk (one thread, 32 connections, 5 s a run): Envoy as"
        " the portal runs it against configurable-http-proxy, with the same 51 routes, the same upstream and"
        " no access log."
    ),
    "proxy_p99": "The 99th percentile of the same runs, each proxy at its own capacity.",
}
REFERENCE = "configurable-http-proxy@5.3.0"
USERS = 50
PATH = "/user/user-25/api/status"
SECONDS = 5
UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Run:
    """What wrk saw."""

    requests_s: float
    p99_ms: float


def run() -> list[Figure]:
    """Five pairs of five seconds each, after one short run of either."""
    for program, package in (("wrk", "wrk"), ("nginx", "nginx-light")):
        if shutil.which(program) is None:
            raise ReferenceMissing(f"It is measured with {program}:  sudo apt-get install -y {package}")
    reference = install_reference()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream, ours, theirs, api = (free_port() for _ in range(4))
        stack.enter_context(_upstream(folder, upstream))
        stack.enter_context(_ours(folder / "data", ours, upstream))
        stack.enter_context(_reference(reference, folder, theirs, api, upstream))
        for port in (ours, theirs):
            measure(port, seconds=1)
        measured = pairs(lambda: measure(ours), lambda: measure(theirs))
    return [
        compared("proxy_requests", "requests/s", [(a.requests_s, b.requests_s) for a, b in measured], at_least=3),
        compared("proxy_p99", "ms", [(a.p99_ms, b.p99_ms) for a, b in measured], at_most=1),
    ]


def measure(port: int, seconds: int = SECONDS) -> Run:
    """One run of wrk."""
    url = f"http://127.0.0.1:{port}{PATH}"
    said = subprocess.run(
        ["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", url], capture_output=True, text=True, check=True
    ).stdout
    return parse(said)


def parse(said: str) -> Run:
    """Requests/s and p99 from what wrk prints. One that failed makes the figure worthless: raises RuntimeError."""
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"requests failed: {said}")
    requests = re.search(r"Requests/sec:\s+([\d.]+)", said)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)\b", said)
    if requests is None or p99 is None:
        raise RuntimeError(said)
    return Run(float(requests[1]), float(p99[1]) * UNITS_MS[p99[2]])


def install_reference() -> Path:
    """The reference from npm, once, under build/."""
    folder = BUILD / "bench" / "chp"
    program = folder / "node_modules" / ".bin" / "configurable-http-proxy"
    need = ("node",) if program.exists() else ("node", "npm")
    if missing := [name for name in need if shutil.which(name) is None]:
        says = f"{REFERENCE} needs {' and '.join(missing)}, which only the benches do"
        raise ReferenceMissing(f"{says}:  sudo apt-get install -y nodejs npm")
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), REFERENCE],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not program.exists():
        raise ReferenceMissing(f"npm could not install {REFERENCE}: {done.stderr[-500:]}")
    return program


@contextmanager
def _ours(data: Path, port: int, upstream: int) -> Iterator[None]:
    settings = Settings(data=data, port=port)
    settings.folder.create()
    to = (("upstream", 1),)
    routes = (Route("/", to), *(Route(f"/user/user-{number}/", to) for number in range(USERS)))
    cluster = Cluster("upstream", f"127.0.0.1:{upstream}")
    asyncio.run(Dataplane(settings).publish("hub", Fragment((cluster,), routes)))
    write_bootstrap(settings)
    with running(command(settings), data / "log" / "envoy.log", lambda: asyncio.run(alive(settings))):
        yield


@contextmanager
def _reference(program: Path, folder: Path, port: int, api: int, upstream: int) -> Iterator[None]:
    target = {"target": f"http://127.0.0.1:{upstream}"}
    options = {"ip": "127.0.0.1", "port": port, "api-port": api, "log-level": "error"}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    line = [str(program), *arguments, f"--default-target={target['target']}"]
    with running(line, folder / "chp.log", lambda: accepts(port) and accepts(api)):
        with httpx.Client(base_url=f"http://127.0.0.1:{api}", trust_env=False) as client:
            for number in range(USERS):
                client.post(f"/api/routes/user/user-{number}", json=target).raise_for_status()
        yield


NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "ok"; }} }}
}}
"""


@contextmanager
def _upstream(folder: Path, port: int) -> Iterator[None]:
    """An nginx of one worker that answers every request with two bytes."""
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port))
    with running(["nginx", "-c", str(config)], folder / "upstream.log", lambda: accepts(port)):
        yield


@contextmanager
def running(line: list[str], log: Path, up: Callable[[], bool]) -> Iterator[None]:
    """A process that is up, ended by its own id."""
    with log.open("wb") as out:
        process = subprocess.Popen(line, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 30
        while not up():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{line[0]}: {log.read_text()[-1000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


def accepts(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A port of loopback that was free just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])

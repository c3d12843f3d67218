"""A real Prometheus from Debian's package, unpacked and not installed, so that no service of the machine's starts.

It reads a small exporter of the test's, which prints what NVIDIA's DCGM exporter does. Ended with its starter.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.e2e.portal import free_port, until

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 900ms}}
scrape_configs:
- job_name: dcgm
  honor_labels: {honor}
  static_configs: [{{targets: ["127.0.0.1:{port}"], labels: {{pod: dcgm-exporter-x, namespace: gpu-operator}}}}]
"""


@dataclass
class Exporter:
    """Says `text`. An answer of None is none at all: the exporter hangs up."""

    port: int
    text: str | None = ""


@dataclass
class Prometheus:
    """One that runs and reads the exporter each second."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    exporters: list[Exporter] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        """Whether it answers questions."""
        if self.process.poll() is not None:
            pytest.fail(f"prometheus ended with {self.process.returncode}:\n{self.log.read_text()[-2000:]}")
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """As a node that is lost."""
        self.process.kill()
        self.process.wait()


@contextmanager
def exporter() -> Iterator[Exporter]:
    """One on loopback that says nothing yet."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name is http.server's own
            if made.text is None:
                return
            body = made.text.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Exporter(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def prometheus(reads: Exporter, *, honor_labels: bool = False) -> Iterator[Prometheus]:
    """One that reads this exporter. Skips the test where it cannot be had."""
    binary = _binary()
    with tempfile.TemporaryDirectory(prefix="prometheus-") as name:
        folder, port = Path(name), free_port()
        (folder / "config.yml").write_text(CONFIG.format(port=reads.port, honor=str(honor_labels).lower()))
        words = [
            str(binary),
            f"--config.file={folder / 'config.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log, cwd=folder)
        made = Prometheus(port, process, folder / "log", [reads])
        try:
            until(made.is_ready, "Prometheus to answer", 120)
            yield made
        finally:
            made.kill()


def _binary() -> Path:
    """The machine's own, or that of Debian's package, unpacked once."""
    if found := shutil.which("prometheus"):
        return Path(found)
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dure-tests"
    root.mkdir(parents=True, exist_ok=True)
    binary = root / "prometheus" / "usr" / "bin" / "prometheus"
    with (root / "prometheus.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            _unpack(root / "prometheus")
    return binary


def _unpack(target: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        pytest.skip("There is no prometheus on this machine, and no apt-get that could bring it.")
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        got = subprocess.run(["apt-get", "download", "prometheus"], cwd=name, capture_output=True, text=True)
        if got.returncode:
            pytest.skip(f"There is no prometheus on this machine: sudo apt-get update. {got.stderr[-300:]}")
        package = next(Path(name).glob("*.deb"))
        subprocess.run(["dpkg", "-x", package, Path(name) / "there"], check=True)
        shutil.rmtree(target, ignore_errors=True)
        (Path(name) / "there").replace(target)  # whole or not at all

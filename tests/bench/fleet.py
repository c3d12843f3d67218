"""Ten thousand GPUs through the API: how long the overview takes, and how large the list of all of them is.

The portal's own service on a real port, with its ticks, over a simulated fleet of 1,250 nodes of eight GPUs: whole
H100, A100 cut into seven and into three instances, RTX 4090; a third of it is held. It runs in its own process
and is asked over one connection with a pause between the calls, long enough for several looks.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import httpx

from dure.wire.ids import new_id
from dure_hub.app import operations
from dure_hub.operations.profiles import fleet_of
from dure_hub.policies.board import Board
from dure_hub.services.places import API
from dure_hub.settings import Settings
from dure_hub.store.migrate import migrate
from dure_hub.store.models import Lease
from tests.bench.record import Figure, absolute
from tests.unit.services.stub_hub import running_hub

WHAT = {
    "overview_10000_p95": (
        "`GET /gpu/overview` of 10,000 simulated GPUs from the service's own process over HTTP, about 6,000 leases"
        " held: the 95th percentile of 400 calls, 25 ms apart, so that the looks at the machines fall into them."
    ),
    "gpu_devices_10000_gzipped": (
        "All pages of `GET /gpu/devices` of these 10,000 GPUs as an administrator reads them, compressed as sent:"
        " one page after the other, of the usual size."
    ),
}
CALLS, APART_S = 400, 0.025
SEVEN = ", ".join(f"1g.10gb@{start}" for start in range(7))
FLEET = f"""
nodes:
  - name: train-{{n}}
    count: 500
    pool: training
    cpu_cores: 128
    memory_gb: 1024
    gpus: [{{model: h100-sxm-80, count: 8, nvlink: true}}]
  - name: dev-{{n}}
    count: 250
    pool: development
    cpu_cores: 128
    memory_gb: 1024
    gpus:
      - {{model: a100-sxm-80, count: 4, mig: [{SEVEN}]}}
      - {{model: a100-sxm-80, count: 4, mig: [3g.40gb@4, 2g.20gb@2, 1g.10gb@0]}}
  - name: serve-{{n}}
    count: 500
    pool: inference
    cpu_cores: 64
    memory_gb: 512
    gpus: [{{model: rtx-4090, count: 8}}]
"""


@dataclass(frozen=True)
class Portal:
    """Where it listens, and a token of an administrator."""

    url: str
    token: str

    def client(self) -> httpx.Client:
        """One connection."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept-Encoding": "gzip"}
        return httpx.Client(base_url=self.url + API, headers=headers, timeout=60, trust_env=False)


def run() -> list[Figure]:
    """Both figures from one portal."""
    with (
        tempfile.TemporaryDirectory(prefix="dure-fleet-") as folder,
        portal(Path(folder)) as place,
        place.client() as client,
    ):
        millis = overview(client)
        megabytes = pages(client) / 1e6
    p95 = quantiles(millis, n=20)[-1]
    return [
        absolute("overview_10000_p95", "ms", [p95], at_most=50),
        absolute("gpu_devices_10000_gzipped", "MB", [megabytes], at_most=0.5),
    ]


def overview(client: httpx.Client, calls: int = CALLS) -> list[float]:
    """Milliseconds of each call, after a first one."""
    said = client.get("/gpu/overview").raise_for_status().json()
    assert said["totalGpuDevices"] == 10_000, said
    assert said["activeAllocations"] > 3000, said
    found = []
    for _ in range(calls):
        begun = time.perf_counter()
        client.get("/gpu/overview").raise_for_status()
        found.append(1000 * (time.perf_counter() - begun))
        time.sleep(APART_S)
    return found


def pages(client: httpx.Client) -> int:
    """Bytes of all pages as they were sent."""
    size, seen = 0, 0
    cursor: str | None = None
    while True:
        query = {"cursor": cursor} if cursor is not None else {}
        with client.stream("GET", "/gpu/devices", params=query) as answer:
            answer.raise_for_status()
            assert answer.headers["content-encoding"] == "gzip"
            said = json.loads(answer.read())
            size += answer.num_bytes_downloaded
        seen, cursor = seen + len(said["devices"]), said["nextCursor"]
        if cursor is None:
            assert seen == 10_000
            return size


@contextmanager
def portal(folder: Path) -> Iterator[Portal]:
    """A portal's service in its own process, beside a small stand-in for the hub that knows one token."""
    with running_hub() as hub:
        yield from service(folder, hub.port, hub.person("root", admin=True))


def service(folder: Path, hub_port: int, token: str) -> Iterator[Portal]:
    """The service, until the next step of this generator."""
    root, file = folder / "data", folder / "fleet.yaml"
    file.write_text(FLEET)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(
        data=root,
        hub_port=hub_port,
        portal_port=port,
        instance=secrets.token_hex(6),
        simulated_fleet=str(file),
        mig_dynamic=False,
    )
    settings.folder.create()
    migrate(settings)
    settings.save()
    for name in ("session-key", "portal-token"):
        (settings.folder.secrets / name).write_text(secrets.token_hex(32))
    asyncio.run(prepare(root))
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "dure_hub.app"],
            env={**os.environ, "DURE_DATA": str(root)},
            stdout=out,
            stderr=out,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait(url, process, log)
        yield Portal(url, token)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def prepare(root: Path) -> None:
    """Leases on a third of everything, without an end, of forty people."""
    ops = operations(root)
    try:
        fleet = fleet_of(await ops.inventory.look(), ops.settings)
        board = Board(fleet.machines)
        wanted = [spec for spec in fleet.profiles.values() if _takes(spec)]
        kinds = [spec for spec in wanted for _ in range(board.count(spec) // 3)]
        with ops.store.transaction() as session:
            for number, spec in enumerate(kinds):
                placed = board.place(spec)
                board.take(placed.slices)
                session.add(
                    Lease(
                        id=new_id(), owner=f"person-{number % 40}", team=f"team-{number % 7}",
                        purpose="allocation", subject=f"ml/pod-{number}", profile=spec.name, gpus=1000,
                        queue_class=2, rate=spec.rate,
                        slices=[piece.to_json() for piece in placed.slices], granted_at=ops.clock(), handle={},
                    )
                )  # fmt: skip
    finally:
        await ops.close()


def _takes(spec: object) -> bool:
    """One GPU, or an instance that is there already."""
    return getattr(spec, "gpus", 0) == 1 or getattr(spec, "mig", None) in ("1g.10gb", "2g.20gb", "3g.40gb")


def wait(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    """Until it answers; its log where it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/services/dure/health", trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"the portal did not come up (exit code {process.poll()}):\n{log.read_text()[-2000:]}")

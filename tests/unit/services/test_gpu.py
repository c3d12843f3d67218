"""`/gpu/…`: numbers, pages and single GPUs of a fleet that is simulated."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dure.wire.ids import new_id
from dure_hub.app import operations
from dure_hub.operations import Operations, admission
from dure_hub.services import application
from dure_hub.services.places import API
from dure_hub.settings import Settings
from dure_hub.store.models import Lease
from tests.unit.services.conftest import ORIGIN, bearer
from tests.unit.services.stub_hub import StubHub

FLEET = """
nodes:
  - name: cut
    cpu_cores: 64
    memory_gb: 512
    gpus:
      - {model: a100-sxm-80, mig: [3g.40gb@4, 1g.10gb@0]}
      - {model: h100-sxm-80, mig: []}
  - name: whole-{n}
    count: 25
    cpu_cores: 64
    memory_gb: 512
    gpus:
      - {model: rtx-4090, count: 2}
"""


@pytest.fixture
async def ops(template: Path, hub: StubHub, tmp_path: Path) -> AsyncIterator[Operations]:
    """Everything the portal can do, with 52 GPUs on 26 nodes."""
    root = tmp_path / "data"
    shutil.copytree(template, root)
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET)
    Settings(
        data=root, wake_notice_s=0, hub_port=hub.port, instance="0123456789ab", simulated_fleet=str(file)
    ).save()
    made = operations(root)
    yield made
    await made.close()


@pytest.fixture
async def client(ops: Operations) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service over it."""
    transport = httpx.ASGITransport(application(ops))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN + API) as made:
        yield made


async def hold(ops: Operations, profile: str, owner: str = "bo") -> Lease:
    """A lease of somebody's server."""
    fleet = await ops.profiles.fleet()
    with ops.store.transaction() as session:
        got = admission.admit(
            session,
            ticket_id=new_id(),
            owner=owner,
            purpose=admission.NOTEBOOK,
            subject=new_id(),
            profile=profile,
            lifetime_s=3600,
            now=ops.clock(),
            fleet=fleet,
        )
    assert isinstance(got, Lease)
    return got


async def test_the_overview_counts_all_once(client: httpx.AsyncClient, ops: Operations, hub: StubHub) -> None:
    await hold(ops, "mig-3g.40gb-a100-sxm-80")
    await hold(ops, "cpu")
    said = (await client.get("/gpu/overview", headers=bearer(hub.person("ana")))).json()
    assert said["totalGpuDevices"] == 52
    assert said["totalMigInstances"] == 2
    assert said["activeAllocations"] == 1
    assert said["devicesByModel"] == {
        "A100 SXM4 80GB (simulated)": 1,
        "H100 80GB HBM3 (simulated)": 1,
        "GeForce RTX 4090 (simulated)": 50,
    }
    assert 0 <= said["overallGpuUtilization"] <= 1
    assert said["measuredDevices"] == 50  # an A100 cut by MIG does not say, and an H100 without instances neither
    assert said["simulated"] is True


async def test_all_pages_together_are_the_whole_list_once(client: httpx.AsyncClient, hub: StubHub) -> None:
    headers = bearer(hub.person("ana"))
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(10):
        query = {"limit": 20} | ({"cursor": cursor} if cursor else {})
        said = (await client.get("/gpu/devices", params=query, headers=headers)).json()
        assert said["total"] == 52
        seen += [device["id"] for device in said["devices"]]
        cursor = said["nextCursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 52


async def test_a_page_of_one_node_has_its_gpus(client: httpx.AsyncClient, hub: StubHub) -> None:
    headers = bearer(hub.person("ana"))
    said = (await client.get("/gpu/devices?nodeName=whole-7&limit=1", headers=headers)).json()
    assert (said["total"], said["devices"][0]["nodeName"]) == (2, "whole-7")
    said = (await client.get(f"/gpu/devices?nodeName=whole-7&cursor={said['nextCursor']}", headers=headers)).json()
    assert (len(said["devices"]), said["nextCursor"]) == (1, None)


async def test_an_unknown_node_is_told_which_there_are(client: httpx.AsyncClient, hub: StubHub) -> None:
    answer = await client.get("/gpu/devices?nodeName=nowhere", headers=bearer(hub.person("ana")))
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["code"] == "no_such_node"
    assert "whole-19, … (26)" in error["message"]
    assert "whole-20" not in error["message"]


@pytest.mark.parametrize("path", ["/gpu/devices?cursor=GPU-gone", "/gpu/devices/GPU-gone"])
async def test_an_unknown_gpu_is_a_404(client: httpx.AsyncClient, hub: StubHub, path: str) -> None:
    answer = await client.get(path, headers=bearer(hub.person("ana")))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_such_gpu")


async def test_who_holds_is_for_administrators(client: httpx.AsyncClient, ops: Operations, hub: StubHub) -> None:
    lease = await hold(ops, "mig-3g.40gb-a100-sxm-80")
    gpu = lease.slices[0]["device"]

    async def shown(headers: dict[str, str]) -> dict[str, Any]:
        said: dict[str, Any] = (await client.get(f"/gpu/devices/{gpu}", headers=headers)).json()
        return said

    ana, root = await shown(bearer(hub.person("ana"))), await shown(bearer(hub.person("root", admin=True)))
    assert (ana["holders"], ana["owners"]) == (1, None)
    assert (root["holders"], root["owners"]) == (1, ["bo"])
    assert {one["profile"]: one["held"] for one in ana["migInstances"]} == {"3g.40gb": True, "1g.10gb": False}
    assert {one["profile"]: one["start"] for one in ana["migInstances"]} == {"3g.40gb": 4, "1g.10gb": 0}
    assert (ana["migEnabled"], ana["memoryGb"], ana["utilization"], ana["health"]) == (True, 80.0, None, None)
    assert ana["memoryUsedMb"] > 0
    told = [ana[name] for name in ("architecture", "computeCapability", "sms", "lifecycle")]
    assert told == ["Ampere", "8.0", 108, "eol"]


async def test_a_long_page_is_compressed_and_a_short_one_is_not(client: httpx.AsyncClient, hub: StubHub) -> None:
    headers = {**bearer(hub.person("ana")), "Accept-Encoding": "gzip"}
    assert (await client.get("/gpu/devices", headers=headers)).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in (await client.get("/gpu/overview", headers=headers)).headers
    assert "content-encoding" not in (await client.get("/profiles", headers=headers)).headers
    plain = await client.get("/gpu/devices", headers={**headers, "Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers

"""On a machine with an NVIDIA GPU: what the driver says is what is shown, and who holds a GPU computes on it.

Everywhere else these are skipped, with the reason: the driver is then played by a stub (tests/unit/embedded).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import dure
from dure.wire.ids import new_id
from dure_hub.backends.base import Device
from dure_hub.backends.embedded import nvml
from tests.contract.digits import CODE, held_out
from tests.e2e.kernels import compute, kernel_socket
from tests.e2e.portal import Portal, make_portal, until

FOUND = nvml.look()
WHOLE = next((one for one in FOUND.devices if not one.mig_mode), None)
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        WHOLE is None, reason=f"no GPU to compute on: {(FOUND.why_none or {}).get('en', 'MIG is on')}"
    ),
]
BUSY = """
import time
import dure

def work(ctx, seconds=120):
    import torch
    a = torch.randn(4096, 4096, device=ctx.device)
    until, step = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        for _ in range(50):
            b = a @ a
        torch.cuda.synchronize()
        ctx.log(step=step, devices=torch.cuda.device_count())
        step += 1
"""


@pytest.fixture(scope="module")
def gpu() -> Device:
    """The GPU that the portal hands out here."""
    assert WHOLE is not None
    return WHOLE


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal of this machine's own GPUs, and ana's working folder; the SDK speaks for her."""
    started = make_portal(tmp_path_factory.mktemp("gpu"))
    folder = tmp_path_factory.mktemp("ana")
    (folder / "train.py").write_text(CODE)
    (folder / "busy.py").write_text(BUSY)
    try:
        started.up()
        started.add_user("ana")
        started.add_user("ben")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DURE_URL", started.url)
            patch.setenv("DURE_TOKEN", started.token("ana"))
            patch.chdir(folder)
            yield started
    finally:
        started.down()


@pytest.fixture
def ana(site: Portal) -> Iterator[httpx.Client]:
    with site.client("ana") as client:
        yield client


def held(client: httpx.Client, gpu: Device) -> dict[str, Any]:
    """What `/gpu/devices` says of this GPU."""
    found: dict[str, Any] = client.get(f"/gpu/devices/{gpu.uuid}").raise_for_status().json()
    return found


def test_what_the_driver_says_is_what_is_shown(ana: httpx.Client, gpu: Device) -> None:
    assert gpu.key is not None, f"{gpu.name} ({gpu.pci_device:#x}) is missing from the catalogue"
    overview = ana.get("/gpu/overview").json()
    assert (overview["totalGpuDevices"], overview["simulated"]) == (len(FOUND.devices), False)
    seen = held(ana, gpu)
    assert seen["memoryGb"] * 1024 == pytest.approx(gpu.memory_mb, abs=52), "said to a tenth of a GiB"
    assert 0 <= seen["utilization"] <= 1
    assert 10 < seen["temperature"] < 110
    assert seen["power"] > 5
    assert (seen["holders"], seen["health"]) == (0, None)
    whole = {one["name"]: one for one in ana.get("/profiles").json()}["gpu-full"]
    assert (whole["free"], whole["total"]) == (len(FOUND.devices), len(FOUND.devices))


def test_a_model_is_trained_and_served_on_the_gpu(ana: httpx.Client, gpu: Device) -> None:
    job = dure.train("train.py:train", name="on-gpu", profile="gpu-full", parameters={"epochs": 5})
    job.wait(timeout=200)
    assert gpu.name in job.logs()
    version = dure.models.register("gpu-digits", job)
    assert (version.tags["dure.device"], version.metrics["accuracy"] > 0.8) == (gpu.name, True)
    until(lambda: held(ana, gpu)["holders"] == 0, "the job's GPU to be free again")

    endpoint = dure.endpoints.deploy("gpu-digits", "gpu-digits", version.version, profile="gpu-full")
    endpoint.wait(timeout=120)
    assert held(ana, gpu)["holders"] == 1
    rows, labels = held_out()
    answer = endpoint.predict(rows[:50])
    assert sum(int(a) == b for a, b in zip(answer, labels[:50], strict=True)) > 35
    endpoint.delete()
    until(lambda: held(ana, gpu)["holders"] == 0, "the endpoint's GPU to be free again")


def test_a_server_sees_its_gpu_and_nobody_elses(site: Portal, ana: httpx.Client, gpu: Device) -> None:
    for name, profile, seen in (("with", "gpu-full", gpu.uuid), ("without", "cpu", "")):
        asked = ana.post("/environments", json={"id": new_id(), "name": name, "profile": profile})
        assert asked.status_code == 202, asked.text
        lease = running(ana, name)["lease"]["id"]
        with kernel_socket(site, lease, name) as kernel:
            assert compute(kernel, "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])").strip() == seen
            code = "import torch; print(torch.cuda.device_count(), torch.cuda.is_available())"
            assert compute(kernel, code, patience_s=90).split() == (["1", "True"] if seen else ["0", "False"])
    assert held(ana, gpu)["holders"] == 1


def test_who_waits_for_the_gpu_gets_it_when_it_is_free(site: Portal, ana: httpx.Client, gpu: Device) -> None:
    if len(FOUND.devices) > 1:
        pytest.skip("there are more GPUs than one, so nobody waits")
    assert held(ana, gpu)["holders"] == 1, "the server of the test before"
    job = dure.train("busy.py:work", name="waits", profile="gpu-full", parameters={"seconds": 60})
    assert job.state == "queued"
    assert ana.delete("/environments/with").status_code in {202, 204}
    until(lambda: job.state == "running", "the job to get the GPU", timeout=60)
    busy = until(lambda: (seen := held(ana, gpu))["utilization"] > 0.3 and seen, "the work to be seen", timeout=60)
    assert busy["memoryUsedMb"] > 300
    job.stop()
    until(lambda: held(ana, gpu)["holders"] == 0, "the GPU to be free again")
    spent = {one["key"]: one for one in ana.get("/costs", params={"by": "purpose"}).json()["lines"]}
    assert min(spent["training"]["gpu_hours"], spent["serving"]["gpu_hours"], spent["notebook"]["gpu_hours"]) > 0


def running(client: httpx.Client, name: str) -> dict[str, Any]:
    """A server, once it runs."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/environments/{name}").json()
        return found if found["phase"] == "running" else None

    return until(look, f"the server {name} to run", timeout=120) or {}

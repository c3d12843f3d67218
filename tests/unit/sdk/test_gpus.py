"""What the SDK and the `dure` command ask of the portal for GPUs."""

from __future__ import annotations

from typing import Any

import pytest

import dure
from dure.cli import main
from dure.errors import BadRequest
from tests.unit.sdk.portal import Queue, portal

OVERVIEW = {
    "at": "2026-11-22T00:00:00Z", "totalGpuDevices": 3, "activeAllocations": 1, "totalMigInstances": 2,
    "overallGpuUtilization": None, "devicesByModel": {"H100": 3}, "simulated": True, "fromANewerPortal": 1,
}  # fmt: skip
ALLOCATION = {
    "id": "01JD0000000000000000000000", "namespace": "ml", "podName": "a", "owner": "ana", "state": "active",
    "queueClass": "training", "profile": "gpu-full", "devices": ["GPU-1"], "askedAt": "2026-11-22T00:00:00Z",
}  # fmt: skip


def device(number: int) -> dict[str, Any]:
    """A GPU as the portal shows it."""
    return {"id": f"GPU-{number}", "nodeName": "n1", "model": "H100", "memoryGb": 80.0}


def page(*numbers: int, cursor: str | None = None) -> dict[str, Any]:
    """A page of them."""
    devices = [device(number) for number in numbers]
    return {"at": "2026-11-22T00:00:00Z", "devices": devices, "total": 3, "nextCursor": cursor}


def test_all_pages_are_read() -> None:
    with portal({"GET /api/v1/gpu/devices": Queue(page(1, 2, cursor="GPU-2"), page(3))}) as fake:
        found = dure.gpus.list("n1")
    assert [one.id for one in found] == ["GPU-1", "GPU-2", "GPU-3"]
    assert (found[0].node_name, found[0].utilization) == ("n1", None)
    assert fake.asked[1].url.query == b"nodeName=n1&limit=2000&cursor=GPU-2"
    assert "unknown" in repr(found)


def test_an_allocation_is_asked_for_in_the_portals_words() -> None:
    with portal({"POST /api/v1/gpu/allocations": ALLOCATION}) as fake:
        got = dure.gpus.allocate("ml", "a", "training", use_mig=True, required_memory_gb=10)
    assert (got.pod_name, got.devices) == ("a", ["GPU-1"])
    sent = {name: value for name, value in fake.bodies[0].items() if value is not None}
    assert sent == {
        "namespace": "ml", "podName": "a", "workloadType": "training", "useMig": True, "requiredMemoryGb": 10.0,
    }  # fmt: skip


def test_what_breaks_a_rule_is_not_sent() -> None:
    with portal({}) as fake, pytest.raises(BadRequest, match=r"(?i)pod_?name"):
        dure.gpus.allocate("ml", "Not A Pod")
    assert fake.asked == []


def test_cutting_sends_the_list() -> None:
    with portal({"POST /api/v1/gpu/devices/GPU-1/mig": device(1)}) as fake:
        dure.gpus.cut("GPU-1", ["3g.40gb@4", "1g.10gb"])
    assert fake.bodies == [{"profiles": ["3g.40gb@4", "1g.10gb"]}]


def test_the_commands_show_numbers_and_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    entry = {
        "ticket": "t", "mine": True, "queue_class": "training", "purpose": "training", "profile": "gpu-full",
        "position": 1, "asked_at": "2026-11-22T00:00:00Z", "why": {"en": "Every GPU is in use.", "ko": "없음"},
    }  # fmt: skip
    with portal({"GET /api/v1/gpu/overview": OVERVIEW, "GET /api/v1/queue": [entry]}):
        assert main(["gpus", "--summary"]) == 0
        assert main(["queue"]) == 0
        assert len(dure.queue()) == 1
    out = capsys.readouterr().out
    assert "Simulated" in out
    assert "utilization: unknown" in out
    assert "  H100: 3" in out
    assert "Every GPU is in use." in out

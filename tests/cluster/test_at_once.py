"""Two hundred people who ask for a server of a cluster at the same moment: the operations alone, without a hub."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from dure import wire
from dure.wire.ids import new_id
from dure_hub.app import operations
from dure_hub.operations import Operations, Person
from dure_hub.services.why import told
from tests.cluster.control_plane import ControlPlane
from tests.cluster.objects import make_fake_node, node_is_ready, remove_nodes
from tests.cluster.programs import until
from tests.support.hub import hub_settings

PEOPLE, NODES, GPUS = 200, 16, 8
LABELS = {"nvidia.com/gpu.product": "NVIDIA-L40S", "nvidia.com/gpu.memory": "46068", "set": "crowd"}
"""Cards that no other test's nodes have."""
pytestmark = [pytest.mark.anywhere, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def crowded(kwok: ControlPlane) -> Iterator[ControlPlane]:
    """The cluster with nodes of 128 such cards."""
    for number in range(NODES):
        make_fake_node(kwok, f"crowd-{number}", {"nvidia.com/gpu": str(GPUS)}, LABELS)
    until(lambda: all(node_is_ready(kwok, f"crowd-{number}") for number in range(NODES)), "the nodes to be ready")
    yield kwok
    remove_nodes(kwok, "set=crowd")


@pytest.fixture
def ops(crowded: ControlPlane, tmp_path: Path) -> Operations:
    """All that a portal of this cluster can do; nothing of it runs."""
    settings = hub_settings(
        tmp_path,
        backend="kubernetes",
        kubeconfig=crowded.kubeconfig,
        server_image="localhost/nowhere:1",
    )
    return operations(settings.data)


async def test_two_hundred_at_once_have_a_card_each_or_wait_with_a_reason(ops: Operations) -> None:
    try:
        fleet = await ops.profiles.fleet()
        spec = next(one for one in fleet.profiles.values() if one.gpus == 1 and "L40S" in (one.gpu_model or ""))
        asked = await asyncio.gather(
            *(
                ops.environments.request(
                    Person(f"person{number}"),
                    wire.EnvironmentRequest(id=new_id(), name="default", profile=spec.name),
                )
                for number in range(PEOPLE)
            )
        )
    finally:
        await ops.close()
    held = [one.lease.slices for one in asked if one.lease is not None]
    cards = [piece.device for slices in held for piece in slices if piece.device != "cpu"]
    assert len(held) == NODES * GPUS == len(cards) == len(set(cards))
    assert all(card.startswith("crowd-") for card in cards)
    waiting = [told(one).ticket for one in asked if one.phase == "waiting"]
    assert len(waiting) == PEOPLE - NODES * GPUS
    assert {ticket.waits_for for ticket in waiting if ticket is not None} <= {"room", "order"}
    assert all(ticket is not None and ticket.why and ticket.expected_start for ticket in waiting)

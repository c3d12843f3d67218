"""Kueue, asked by a portal that may not look; the rest is in tests/cluster."""

from __future__ import annotations

from dure_hub.backends.base import Kind
from dure_hub.backends.kubernetes.queues import queued
from dure_hub.backends.kubernetes.spec import PodSpec
from dure_hub.policies.classes import INTERACTIVE
from tests.unit.kubernetes.answering import Said

QUEUE_THERE = {"metadata": {"name": "dure-vision"}}


def spec() -> PodSpec:
    """A pod of a team."""
    return PodSpec("p1", "server-l", "dev", "L", Kind.SERVER, "ana", "image", team="vision")


async def test_a_portal_that_may_not_look_starts_by_its_own_queue_alone() -> None:
    assert (await queued(Said([QUEUE_THERE]), spec(), INTERACTIVE)).queue == "dure-vision"
    assert await queued(Said([QUEUE_THERE], ["localqueues"]), spec(), INTERACTIVE) == spec()
    assert await queued(Said([None]), spec(), INTERACTIVE) == spec()

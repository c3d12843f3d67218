"""Kueue, asked by a portal that may not look, or whose API server is away; the rest is in tests/cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dure_hub.backends.base import Handle, HeldBack, Kind
from dure_hub.backends.kubernetes import queues
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.connecting import connect
from dure_hub.backends.kubernetes.errors import ClusterAway, ClusterRefused, NotAdmitted
from dure_hub.backends.kubernetes.marks import GATE, QUEUE
from dure_hub.backends.kubernetes.queues import admitted_by, held_back, queued
from dure_hub.backends.kubernetes.spec import PodSpec
from dure_hub.policies.classes import INTERACTIVE

HANDLE = Handle("L", Kind.SERVER, {"namespace": "dev", "name": "server-l", "uid": "u"})
HELD: dict[str, Any] = {
    "metadata": {"name": "server-l", "namespace": "dev", "uid": "u", "labels": {QUEUE: "dure-vision"}},
    "spec": {"schedulingGates": [{"name": GATE}]},
    "status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "it is gated"}]},
}
LET_IN: dict[str, Any] = {**HELD, "spec": {}}
QUEUE_THERE = {"metadata": {"name": "dure-vision"}}


class Said(Cluster):
    """Answers in turn, the last one again and again; may not look at what is `closed`."""

    def __init__(self, answers: Sequence[Any], closed: Sequence[str] = ()) -> None:
        super().__init__(lambda: connect(None))
        self.answers, self.closed = list(answers), closed

    async def get(self, path: str, **query: str) -> dict[str, Any] | None:
        """The next answer."""
        self._look(path)
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(said, Exception):
            raise said
        return said if said is None else dict(said)

    async def all(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Nothing."""
        self._look(path)
        return []

    def _look(self, path: str) -> None:
        if any(word in path for word in self.closed):
            raise ClusterRefused(why=f"cannot look at {path}")


def spec() -> PodSpec:
    """A pod of a team."""
    return PodSpec("p1", "server-l", "dev", "L", Kind.SERVER, "ana", "image", team="vision")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other at once."""
    monkeypatch.setattr(queues, "LOOK_S", 0.01)
    monkeypatch.setattr(queues, "AWAY_S", 0.01)


async def test_a_portal_that_may_not_look_starts_by_its_own_queue_alone() -> None:
    assert (await queued(Said([QUEUE_THERE]), spec(), INTERACTIVE)).queue == "dure-vision"
    assert await queued(Said([QUEUE_THERE], ["localqueues"]), spec(), INTERACTIVE) == spec()
    assert await queued(Said([None]), spec(), INTERACTIVE) == spec()


async def test_an_api_server_that_is_away_is_no_verdict_about_a_pod() -> None:
    away = [ClusterAway(why="refused")] * 5
    await admitted_by(Said([HELD, *away, LET_IN]), HANDLE, 0.03)
    await admitted_by(Said([HELD, *away, None]), HANDLE, 0.03)


async def test_what_is_held_back_for_too_long_is_refused_in_somebodys_words() -> None:
    with pytest.raises(NotAdmitted, match=r"dure-vision: LocalQueue dure-vision: pending 0") as refused:
        await admitted_by(Said([HELD]), HANDLE, 0.03)
    assert isinstance(refused.value, HeldBack), "the one error that puts a request back"
    with pytest.raises(NotAdmitted, match="it is gated"):
        await admitted_by(Said([HELD], ["workloads"]), HANDLE, 0.03)
    assert await held_back(Said([HELD], ["workloads"]), HANDLE) == "it is gated"
    assert await held_back(Said([LET_IN]), HANDLE) is None

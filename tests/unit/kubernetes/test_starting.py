"""Starts that a cluster does not take, and what is said of those that do not get on. More is in tests/cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.base import Handle, HeldBack, Kind, ServerWork
from dure_hub.backends.kubernetes import servers as module
from dure_hub.backends.kubernetes.api import _good
from dure_hub.backends.kubernetes.errors import (
    ClusterAway,
    ClusterRefused,
    NoNode,
    OverClusterQuota,
    PodEnded,
    PodStuck,
    QuotaExceeded,
)
from dure_hub.backends.kubernetes.looks import not_begun, pinned_to
from dure_hub.backends.kubernetes.marks import make_labels
from dure_hub.backends.kubernetes.quotas import Exceeded, exceeded
from dure_hub.backends.kubernetes.servers import KubernetesServers
from dure_hub.settings import Settings
from tests.unit.kubernetes.answering import Said

NO = 'pods "server-l" is forbidden: exceeded quota: dure, requested: {}, used: {}, limited: {}'
FULL = NO.format("requests.nvidia.com/gpu=1", "requests.nvidia.com/gpu=8", "requests.nvidia.com/gpu=8")
UNPLACED = "0/2 nodes are available: 1 Too many pods."
HANDLE = Handle("l", Kind.SERVER, {"namespace": "dev", "name": "server-l", "uid": "u"})
WORK = ServerWork("l", "ann", Path("/"), {}, devices=("n1/nvidia.com/gpu/0",), command=["/program"])


def settings(**more: Any) -> Settings:
    given = {"backend": "kubernetes", "server_image": "any:1", "home_size_gb": 0, "instance": "p1"}
    return Settings(**{**given, **more})


def pod(node: str | None = None, status: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One of ours, pinned to n1."""
    named = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [named]}}
    labels = make_labels(portal="p1", lease="l", kind=Kind.SERVER, owner="ann")
    return {
        "metadata": {"name": "server-l", "namespace": "dev", "uid": "u", "labels": labels},
        "spec": {
            "containers": [{"name": "main"}],
            "affinity": {"nodeAffinity": required},
            **({"nodeName": node} if node else {}),
        },
        "status": status or {"phase": "Pending"},
    }


NO_PLACE = pod(
    status={
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "message": UNPLACED}],
    }
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look passes for a second."""
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "AWAY_S", 0.01)


def test_a_quota_that_is_used_up_has_room_again_and_one_that_is_too_small_never_has() -> None:
    words = FULL.partition("dure, ")[2]
    assert exceeded(FULL) == Exceeded("dure", words, waits=True)
    both = (
        "limits.cpu=500m,limits.memory=4Gi",
        "limits.cpu=9800m,limits.memory=1Gi",
        "limits.cpu=10,limits.memory={}",
    )
    assert exceeded(NO.format(*both).format("4Gi")) is not None
    assert exceeded(NO.format(*both).format("4Gi")).waits  # type: ignore[union-attr]
    assert not exceeded(NO.format(*both).format("3Gi")).waits  # type: ignore[union-attr]
    assert exceeded("pods is forbidden: failed quota: dure: must specify limits.cpu") is None


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (403, FULL, QuotaExceeded),
        (403, FULL.replace("gpu=8", "gpu=0"), ClusterRefused),
        (403, "pods is forbidden: no", ClusterRefused),
        (409, FULL, ClusterRefused),
    ],
)
def test_only_a_quota_that_may_have_room_again_is_waited_for(
    status: int, message: str, kind: type[Exception]
) -> None:
    body = json.dumps({"reason": "Forbidden", "message": message})
    with pytest.raises(kind) as refused:
        _good(status, body.encode())
    assert type(refused.value) is kind


class Full(Said):
    """A namespace whose quota is used up, by this pod already or by others'."""

    def __init__(self, there: Mapping[str, Any] | None) -> None:
        super().__init__([there])
        self.deleted: list[str] = []

    async def create(self, path: str, body: Mapping[str, Any]) -> bool:
        """Only what counts for no quota."""
        if body["kind"] == "Pod":
            raise QuotaExceeded(why=FULL, quota="dure", said="requested: …")
        return True

    async def delete(self, path: str, **how: Any) -> bool:
        """Whatever it is."""
        self.deleted.append(path)
        return True


async def test_what_a_quota_refuses_is_held_back_and_leaves_no_secret() -> None:
    cluster = Full(None)
    with pytest.raises(OverClusterQuota) as refused:
        await anext(KubernetesServers(settings(), cluster).start(WORK))
    assert isinstance(refused.value, HeldBack)
    assert refused.value.facts == {"quota": "dure", "namespace": "mlops-dev", "why": "requested: …"}
    assert cluster.deleted == ["/api/v1/namespaces/mlops-dev/secrets/server-l"]


async def test_a_pod_that_is_there_already_is_that_of_its_lease_whatever_the_quota_says() -> None:
    cluster = Full(pod("n1"))
    handle = await anext(KubernetesServers(settings(), cluster).start(WORK))
    assert handle.where["uid"] == "u"
    assert cluster.deleted == []


class Asking(KubernetesServers):
    """Asks for each pod in place of following all; that they are followed: test_waiting."""

    async def _followed(self, handle: Handle) -> Mapping[str, Any] | None:
        return await self._pod(handle)


class Listing(Said):
    """An API server that has this node, too."""

    def __init__(self, pod: Mapping[str, Any], node: Mapping[str, Any]) -> None:
        super().__init__([pod])
        self.node = node

    async def all(self, path: str, **query: str) -> list[dict[str, Any]]:
        """The node."""
        return [dict(self.node)]


async def located(answers: Sequence[Any], **more: Any) -> Handle:
    """What becomes of a start whose pod is seen like this, look after look."""
    return await Asking(settings(**more), Said(answers)).located(HANDLE)


async def test_what_has_no_node_for_too_long_is_held_back_in_the_words_of_the_scheduler() -> None:
    with pytest.raises(NoNode) as refused:
        await located([NO_PLACE], node_wait_s=1, pod_start_s=5)
    assert isinstance(refused.value, HeldBack)
    assert refused.value.facts == {"node": "n1", "seconds": 1, "why": UNPLACED}


async def test_a_scheduler_that_says_nothing_makes_no_failure_either() -> None:
    with pytest.raises(NoNode):
        await located([pod()], node_wait_s=1, pod_start_s=5)


async def test_an_api_server_that_is_away_does_not_count_and_a_node_ends_that_wait() -> None:
    ready = pod("n1", {"phase": "Running", "podIP": "10.0.0.9"})
    away = [ClusterAway(why="refused")] * 150
    found = await located([NO_PLACE, NO_PLACE, *away, NO_PLACE, ready], node_wait_s=1, pod_start_s=5)
    assert found.where["ip"] == "10.0.0.9"


def stuck(ready: str | None) -> dict[str, Any]:
    conditions = [] if ready is None else [{"type": "PodReadyToStartContainers", "status": ready}]
    return pod("n1", {"phase": "Pending", "conditions": conditions})


@pytest.mark.parametrize(
    ("ready", "english", "korean"),
    [
        ("False", "its volumes or its network are not ready on the node n1", "볼륨이나 네트워크"),
        ("True", "ready on the node n1, which still fetches its image", "이미지"),
        (None, "the node n1 has not begun it", "무엇을 기다리는지"),
    ],
)
async def test_a_pod_on_a_node_that_does_not_begin_says_what_is_missing(
    ready: str | None, english: str, korean: str
) -> None:
    with pytest.raises(PodStuck) as refused:
        await located([stuck(ready)], pod_start_s=5, kueue_admission_s=1)
    assert english in refused.value.text("en")
    assert korean in refused.value.text("ko")
    assert not_begun(stuck(ready))["en"] in refused.value.text("en")


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("UnexpectedAdmissionError", "Allocate failed due to no healthy devices present"),
        ("OutOfcpu", "Node didn't have enough resource: cpu"),
        ("Evicted", "The node was low on resource: ephemeral-storage"),
    ],
)
async def test_what_the_node_does_not_take_ends_in_its_own_words(reason: str, message: str) -> None:
    with pytest.raises(PodEnded) as refused:
        await located([pod("n1", {"phase": "Failed", "reason": reason, "message": message})])
    assert f"{reason}: {message}" in refused.value.text("en")
    assert f"{reason}: {message}" in refused.value.text("ko")


async def test_what_ends_without_a_word_is_told_in_the_readers_language() -> None:
    with pytest.raises(PodEnded) as refused:
        await located([pod("n1", {"phase": "Failed"})])
    assert "killed it" in refused.value.text("en")
    assert "강제로 종료" in refused.value.text("ko")


def test_where_a_pod_is_pinned_to_is_read_from_it() -> None:
    assert pinned_to(pod()) == "n1"
    free = pod()
    del free["spec"]["affinity"]
    assert pinned_to(free) == ""


@pytest.mark.parametrize(
    ("deleted", "ready", "told"), [(True, "Unknown", True), (True, "True", False), (False, "Unknown", False)]
)
async def test_what_cannot_end_because_its_node_is_silent_says_so(deleted: bool, ready: str, told: bool) -> None:
    found = pod("n1", {"phase": "Running"})
    if deleted:
        found["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    cluster = Listing(found, {"status": {"conditions": [{"type": "Ready", "status": ready}]}})
    why = await KubernetesServers(settings(), cluster).lingers(HANDLE)
    assert (why is not None) is told
    if why is not None:
        assert all("n1" in why[language] for language in ("en", "ko"))

"""What Kueue holds back: asked for once for all who wait; an API server that is away, or says nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from dure_hub.backends.base import Handle, HeldBack, Kind
from dure_hub.backends.kubernetes import holding, servers
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.connecting import connect
from dure_hub.backends.kubernetes.errors import ClusterAway, NotAdmitted, PodStuck
from dure_hub.backends.kubernetes.holding import Holds
from dure_hub.backends.kubernetes.marks import GATE, KIND, LEASE, MANAGED_BY, OURS, PORTAL, QUEUE
from dure_hub.backends.kubernetes.mirror import PODS, Mirror
from dure_hub.backends.kubernetes.pods import CONTAINER
from dure_hub.backends.kubernetes.servers import KubernetesServers
from dure_hub.settings import Settings
from tests.unit.kubernetes.answering import HANDLE, HELD, LET_IN, Said

SETTINGS = Settings(backend="kubernetes", server_image="any:1", instance="p1")
MANY, LOOKS = 100, 20


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other at once."""
    for module in (holding, servers):
        monkeypatch.setattr(module, "LOOK_S", 0.01)
        monkeypatch.setattr(module, "AWAY_S", 0.01)


def handle_of(number: int) -> Handle:
    """One of many servers."""
    name = f"server-{number}"
    return Handle(f"L{number}", Kind.SERVER, {"namespace": "mlops-dev", "name": name, "uid": f"u{number}"})


def pod_of(number: int, *, held: bool) -> dict[str, Any]:
    """Its pod: Kueue holds it back, or it runs."""
    where = handle_of(number).where
    labels = {MANAGED_BY: OURS, PORTAL: "p1", LEASE: f"L{number}", KIND: "server", QUEUE: "dure-vision"}
    container = {"name": CONTAINER, "image": "any:1", "ports": [{"containerPort": 8888}]}
    return {
        "metadata": {**where, "labels": labels, "resourceVersion": "2"},
        "spec": {"containers": [container], **({"schedulingGates": [{"name": GATE}]} if held else {})},
        "status": {} if held else {"phase": "Running", "podIP": f"10.0.0.{number}"},
    }


class Many(Cluster):
    """An API server with many pods, and what it was asked. All are held back until `admit`."""

    def __init__(self) -> None:
        super().__init__(lambda: connect(None))
        self.asked = Counter[str]()
        self.admitted = asyncio.Event()

    async def get(self, path: str, **query: str) -> dict[str, Any] | None:
        """One LocalQueue; pods are asked for by nobody."""
        self.asked[f"get {path.rpartition('/')[2]}"] += 1
        return {"metadata": {}, "status": {"pendingWorkloads": MANY}} if "localqueues" in path else None

    async def all_at(self, path: str, **query: str) -> tuple[list[dict[str, Any]], str]:
        """All pods, or no workload: Kueue has judged none of these yet."""
        self.asked[f"list {path.rpartition('/')[2]}"] += 1
        return [pod_of(number, held=True) for number in range(MANY)] if path == PODS else [], "1"

    async def follow(self, path: str, **query: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """All begin to run at once."""
        self.asked[f"watch {path.rpartition('/')[2]}"] += 1
        await self.admitted.wait()
        for number in range(MANY):
            yield "MODIFIED", pod_of(number, held=False)
        await asyncio.Event().wait()


class Old(Mirror):
    """Says what was so a moment ago."""

    def __init__(self, pod: dict[str, Any]) -> None:
        super().__init__(Many(), PODS)
        self.pod = pod

    async def one(self, namespace: str, name: str, patience_s: float) -> Any:
        """Whichever is asked for."""
        return self.pod


class Looked(Mirror):
    """Counts how often somebody looked."""

    looks = 0

    async def one(self, namespace: str, name: str, patience_s: float) -> Any:
        """As it is."""
        self.looks += 1
        return await super().one(namespace, name, patience_s)


async def wait_for(look: Callable[[], bool]) -> None:
    """Until it is so."""
    async with asyncio.timeout(60):
        while not look():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_however_many_wait_the_api_server_is_asked_as_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "KEEP_S", 3600)
    cluster = Many()
    pods = Looked(cluster, PODS)
    made = KubernetesServers(SETTINGS, cluster, pods)
    handles = [handle_of(number) for number in range(MANY)]
    waiting = [asyncio.create_task(made.located(one)) for one in handles]
    await wait_for(lambda: pods.looks > LOOKS * MANY)
    for _ in range(LOOKS):
        said = await asyncio.gather(*map(made.held_back, handles))
        assert set(said) == {f"LocalQueue dure-vision: pending {MANY}, admitted 0"}
        assert not any(await asyncio.gather(*map(made.came_to, handles)))
    once = {"list pods": 1, "watch pods": 1, "list workloads": 1, "get dure-vision": 1}
    assert cluster.asked == once
    cluster.admitted.set()
    found = await asyncio.gather(*waiting)
    assert [made.address(one) for one in found] == [(f"10.0.0.{number}", 8888) for number in range(MANY)]
    assert cluster.asked == once
    pods.close()


async def test_what_kueue_says_is_asked_for_anew_after_a_while() -> None:
    now, cluster = 0.0, Many()
    holds = Holds(cluster, lambda _: _held(), lambda: now)
    for at in (0.0, 1.9, 2.0, 3.9, 4.0):
        now = at
        await holds.held_back(HANDLE)
    assert cluster.asked == {"list workloads": 3, "get dure-vision": 3}


async def _held() -> dict[str, Any]:
    return HELD


async def test_who_gives_up_has_asked_since_what_is_followed_may_be_old() -> None:
    await Holds(Said([LET_IN]), lambda _: _held()).until_admitted(HANDLE, 0.03)
    with pytest.raises(NotAdmitted):
        await Holds(Said([HELD]), lambda _: _held()).until_admitted(HANDLE, 0.03)


async def test_the_same_of_a_pod_that_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "TROUBLE_S", 0.05)
    waits = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    status = {"containerStatuses": [{"name": CONTAINER, "state": waits}]}
    pod = pod_of(7, held=False)
    stuck = pod | {"spec": {**pod["spec"], "nodeName": "n1"}, "status": status}
    found = await KubernetesServers(SETTINGS, Said([pod_of(7, held=False)]), Old(stuck)).located(handle_of(7))
    assert found.where["ip"] == "10.0.0.7"
    with pytest.raises(PodStuck, match="ErrImagePull: no such image"):
        await KubernetesServers(SETTINGS, Said([stuck]), Old(stuck)).located(handle_of(7))


async def test_a_pod_that_is_not_followed_yet_is_asked_for_and_another_of_its_name_is_not_taken_for_it() -> None:
    asks = Said([pod_of(7, held=False)])
    for old in (pod_of(8, held=True), pod_of(7, held=True) | {"metadata": {**HELD["metadata"], "uid": "before"}}):
        found = await KubernetesServers(SETTINGS, asks, Old(old)).located(handle_of(7))
        assert found.where["ip"] == "10.0.0.7"


async def test_an_api_server_that_is_away_is_no_verdict_about_a_pod() -> None:
    away = [ClusterAway(why="refused")] * 5
    await Holds(Said([HELD, *away, LET_IN])).until_admitted(HANDLE, 0.03)
    await Holds(Said([HELD, *away, None])).until_admitted(HANDLE, 0.03)


async def test_what_is_held_back_for_too_long_is_refused_in_somebodys_words() -> None:
    with pytest.raises(NotAdmitted, match=r"dure-vision: LocalQueue dure-vision: pending 0") as refused:
        await Holds(Said([HELD])).until_admitted(HANDLE, 0.03)
    assert isinstance(refused.value, HeldBack), "the one error that puts a request back"
    with pytest.raises(NotAdmitted, match="it is gated"):
        await Holds(Said([HELD], ["workloads"])).until_admitted(HANDLE, 0.03)
    assert await Holds(Said([HELD], ["workloads"])).held_back(HANDLE) == "it is gated"
    assert await Holds(Said([LET_IN])).held_back(HANDLE) is None

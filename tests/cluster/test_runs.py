"""Runs as pods on a real kubelet: every way to end, and what is known of it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, Kind, Phase, Reason, Seen
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.connecting import connect
from dure_hub.backends.kubernetes.errors import ClusterAway, ClusterRefused, NameTaken
from dure_hub.backends.kubernetes.numbered import resources_of
from dure_hub.backends.kubernetes.runs import PodRuns
from dure_hub.backends.kubernetes.spec import PodSpec
from tests.cluster.asking import ApiServer
from tests.cluster.control_plane import ControlPlane
from tests.cluster.given import PROBE, PULL, GivenNode
from tests.cluster.names import named
from tests.cluster.node import SLICE, Node
from tests.cluster.objects import make_namespace

pytestmark = pytest.mark.anywhere

NAMESPACE = named("training")
Spec = Callable[..., PodSpec]


@pytest.fixture(scope="module")
def namespace(cluster: ApiServer, node: Node | GivenNode) -> str:
    """One on a cluster with a real node."""
    return make_namespace(cluster, NAMESPACE)


@pytest.fixture
async def runs(cluster: ApiServer, namespace: str) -> AsyncIterator[PodRuns]:
    """The backend; nothing of it is left afterwards."""
    reached = Cluster(partial(connect, cluster.kubeconfig))
    made = PodRuns(reached, "p1", namespace, Kind.JOB)
    yield made
    for seen in await made.seen():
        await made.stop(seen.handle, 1)
        await made.forget(seen.handle)
    await gone(made)
    await reached.close()


async def gone(runs: PodRuns) -> None:
    """Wait until nothing is seen any more."""
    for _ in range(200):
        if not await runs.seen():
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"left: {await runs.seen()}")


@pytest.fixture
def spec(node: Node | GivenNode) -> Spec:
    """A pod of the probe that does this, on the real node."""

    def make(*words: str, **changes: Any) -> PodSpec:
        lease = new_id()
        made = PodSpec(
            portal="p1",
            name=f"job-{lease.lower()}",
            namespace=NAMESPACE,
            lease=lease,
            kind=Kind.JOB,
            owner="ana",
            image=PROBE,
            command=["/program", *words],
            cores=0.1,
            memory_mb=64,
            node=node.name,
            pull_policy=PULL,
            shm_mb=1,
            grace_s=2,
        )
        return replace(made, **changes)

    return make


async def started(runs: PodRuns, one: PodSpec) -> Handle:
    """Its handle."""
    return [handle async for handle in runs.launch(one)][-1]


async def until(runs: PodRuns, handle: Handle, what: Any) -> Seen:
    """What is seen once that is true."""
    for _ in range(400):
        seen = await runs.poll(handle)
        if what(seen):
            return seen
        await asyncio.sleep(0.1)
    pytest.fail(f"not within 40 s: {await runs.poll(handle)}")


def is_over(seen: Seen) -> bool:
    return seen.phase is Phase.EXITED


def is_up(seen: Seen) -> bool:
    return seen.started is not None


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["exit", "0"], 0, Reason.FINISHED),
        (["exit", "3"], 3, Reason.FAILED),
        (["eat"], -9, Reason.OUT_OF_MEMORY),
    ],
)
async def test_how_it_ended_is_known(
    runs: PodRuns, spec: Spec, words: list[str], code: int, reason: Reason
) -> None:
    handle = await started(runs, spec(*words))
    seen = await until(runs, handle, is_over)
    assert (seen.exit_code, seen.reason, seen.exact) == (code, reason, True)
    assert seen.ended_ago_s is not None


async def test_what_cannot_be_executed_says_so(runs: PodRuns, spec: Spec) -> None:
    handle = await started(runs, spec(command=["/nowhere"]))
    seen = await until(runs, handle, is_over)
    assert (seen.exit_code, seen.reason) == (None, Reason.NOT_EXECUTABLE)


@pytest.mark.parametrize(("word", "code"), [("wait", 0), ("stubborn", -9)])
async def test_what_is_stopped_ends_and_is_known_until_it_is_forgotten(
    runs: PodRuns, spec: Spec, word: str, code: int
) -> None:
    handle = await started(runs, spec("begun", word))
    await until(runs, handle, is_up)
    await runs.stop(handle, 1)
    seen = await runs.poll(handle)
    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.EXITED, code, Reason.STOPPED)
    await runs.stop(handle, 1)  # which changes nothing
    assert [one.handle.lease for one in await runs.seen()] == [handle.lease]
    await runs.forget(handle)
    await gone(runs)
    assert (await runs.poll(handle)).phase is Phase.GONE
    await runs.stop(handle, 1)
    await runs.forget(handle)


async def test_what_others_delete_is_known_too(cluster: ApiServer, runs: PodRuns, spec: Spec) -> None:
    """A preemption by Kueue, a drained node, somebody's kubectl: all of them delete the pod."""
    handle = await started(runs, spec("wait"))
    await until(runs, handle, is_up)
    cluster.api.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/{handle.where['name']}").raise_for_status()
    seen = await until(runs, handle, is_over)
    assert (seen.exit_code, seen.reason) == (0, Reason.KILLED)


async def test_a_second_start_is_the_first_one(runs: PodRuns, spec: Spec) -> None:
    one = spec("wait")
    first, second = await asyncio.gather(started(runs, one), started(runs, one))
    assert first.where["uid"] == second.where["uid"]
    assert len(await runs.seen()) == 1


async def test_a_later_pod_of_the_same_name_is_another(runs: PodRuns, spec: Spec) -> None:
    one = spec("exit", "0")
    handle = await started(runs, one)
    await until(runs, handle, is_over)
    await runs.forget(handle)
    await gone(runs)
    later = await started(runs, replace(one, command=["/program", "wait"]))
    assert (await runs.poll(handle)).phase is Phase.GONE
    await runs.stop(handle, 1)
    await runs.forget(handle)
    assert (await runs.poll(later)).phase is Phase.RUNNING


async def test_the_name_of_another_pod_is_refused_and_that_pod_left_alone(runs: PodRuns, spec: Spec) -> None:
    one = spec("wait")
    first = await started(runs, one)
    with pytest.raises(NameTaken, match=one.name):
        await started(runs, replace(one, lease=new_id()))
    stranger = replace(first, lease=new_id())
    await runs.stop(stranger, 1)
    await runs.forget(stranger)
    assert (await runs.poll(stranger)).phase is Phase.GONE
    assert (await runs.poll(first)).phase is Phase.RUNNING


async def test_one_that_was_stopped_before_it_began_has_an_empty_log(
    runs: PodRuns, spec: Spec, tmp_path: Path
) -> None:
    handle = await started(runs, spec("wait", image="localhost/nowhere:1"))
    await runs.stop(handle, 1)
    await runs.keep_log(handle, tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == b""
    seen = await until(runs, handle, is_over)
    assert seen.reason == Reason.STOPPED


async def test_its_log_is_read_in_pieces_and_kept(runs: PodRuns, spec: Spec, tmp_path: Path) -> None:
    handle = await started(runs, spec("하나", "two", "exit", "0"))
    assert (await runs.log(handle, 0, 100)).text == ""
    await until(runs, handle, is_over)
    whole = "하나\ntwo\n"
    first = await runs.log(handle, 0, 7)
    assert (first.text, first.next_offset) == ("하나\n", 7)
    assert (await runs.log(handle, first.next_offset, 100)).text == "two\n"
    assert (await runs.log(handle, 100, 100)).text == ""
    assert (await runs.log(handle, -4, 100)).text == "two\n"
    assert await runs.tail(handle, 4) == "two\n"
    await runs.keep_log(handle, tmp_path / "log")
    assert (tmp_path / "log").read_text() == whole
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


async def test_it_has_the_slice_of_its_lease(runs: PodRuns, spec: Spec, mig: Node, cluster: ApiServer) -> None:
    device = f"{mig.name}/{SLICE}/1"
    node, resources = resources_of([device])
    handle = await started(runs, spec("wait", node=node, resources=resources, devices=[device]))
    await until(runs, handle, is_up)
    pod = cluster.get(f"/api/v1/namespaces/{NAMESPACE}/pods/{handle.where['name']}")
    assert pod["spec"]["containers"][0]["resources"]["limits"][SLICE] == "1"
    assert (pod["spec"]["nodeName"], pod["status"]["qosClass"]) == (mig.name, "Guaranteed")
    assert pod["status"]["podIP"].startswith("10.66.")


async def test_a_refusal_says_why(runs: PodRuns, spec: Spec) -> None:
    with pytest.raises(ClusterRefused, match="Not_A_Name"):
        await started(runs, spec("wait", team="x", name="Not_A_Name"))


async def test_a_silence_is_no_refusal_and_ends_nothing(mortal: ControlPlane, runs: PodRuns, spec: Spec) -> None:
    handle = await started(runs, spec("wait"))
    await until(runs, handle, is_up)
    with mortal.away():
        with pytest.raises(ClusterAway):
            await runs.poll(handle)
        with pytest.raises(ClusterAway):
            await runs.seen()
    assert (await until(runs, handle, is_up)).phase is Phase.RUNNING, "which it was all the time"

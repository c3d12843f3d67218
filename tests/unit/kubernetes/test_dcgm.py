"""What DCGM says of GPUs, by a real Prometheus that reads a small exporter, and by its answers alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.base import Inventory, Kind, Measures, Reading
from dure_hub.backends.kubernetes import prometheus as module
from dure_hub.backends.kubernetes import stock
from dure_hub.backends.kubernetes.dcgm import Sample, measured, read
from dure_hub.backends.kubernetes.errors import PrometheusAway
from dure_hub.backends.kubernetes.marks import DEVICES, make_labels
from dure_hub.backends.kubernetes.prometheus import Prometheus
from dure_hub.operations import checks
from dure_hub.settings import Settings
from tests.support import prometheus as real
from tests.unit.kubernetes.objects import Object, node, pod
from tests.unit.kubernetes.test_stock import H100

SPACE, THRESHOLD = "mlops-dev", 0.05
MIG, GPU, SHARED = "nvidia.com/mig-1g.10gb", "nvidia.com/gpu", "nvidia.com/gpu.shared"


def ours(name: str, lease: str, devices: str, phase: str = "Running") -> Object:
    """A pod of ours that holds these."""
    labels = make_labels(portal="p1", lease=lease, kind=Kind.SERVER, owner="ana")
    made = pod(labels=labels, annotations={DEVICES: devices}, phase=phase)
    made["metadata"] |= {"name": name, "namespace": SPACE}
    return made


def place(*nodes: Object, pods: tuple[Object, ...] = ()) -> Inventory:
    return Inventory.of(stock.read(nodes, pods, "p1"))


def said(metric: str, value: object, at: float = 100.0, every: float = 15.0, **labels: str) -> dict[str, Any]:
    """A series as Prometheus answers it, whose last sample is of `at`."""
    times = [at - 2 * every, at - every, at]
    return {"metric": {"__name__": metric, **labels}, "values": [[time, str(value)] for time in times]}


def gpu(uuid: str = "GPU-0", by: str | None = "a", util: object = 40, at: float = 100.0, **more: Any) -> list[Any]:
    """A whole GPU of node n1, held by this pod."""
    whose = {} if by is None else {"pod": by, "namespace": SPACE}
    labels: dict[str, Any] = {"UUID": uuid, "gpu": uuid[-1], "Hostname": "n1", **whose, **more}
    return [said("DCGM_FI_DEV_GPU_UTIL", util, at, **labels), said("DCGM_FI_DEV_FB_USED", 1024, at, **labels)]


def state(measures: Measures, lease: str, **piece: object) -> str:
    """What the idle check makes of it."""
    return checks.gpu_state([piece], lease, measures, THRESHOLD)


def test_a_whole_gpu_is_found_by_the_pod_that_holds_it() -> None:
    held = ours("a", "01A", f"n1/{GPU}/1")
    found = measured(read(gpu("GPU-7"), 105.0), [held], place(node(gpu="2", labels=H100)), "p1")
    assert found.devices == {f"n1/{GPU}/1": Reading(1024, 0.4)}
    assert state(found, "01A", device=f"n1/{GPU}/1") == checks.IN_USE
    assert state(found, "01B", device=f"n1/{GPU}/0") == checks.UNKNOWN, "of it nothing was said"


@pytest.mark.parametrize(
    "labels",
    [
        {"exported_pod": "a", "exported_namespace": SPACE, "pod": "dcgm-exporter-x", "namespace": "gpu-operator"},
        {"pod": "a", "namespace": SPACE},
    ],
)
def test_the_pod_is_named_in_either_form(labels: dict[str, Any]) -> None:
    (sample, *_) = read(gpu(by=None, **labels), 105.0)
    assert sample.pods == ((SPACE, "a"),)


def test_a_pod_of_the_same_name_elsewhere_is_another() -> None:
    samples = read(gpu(by=None, exported_pod="a", exported_namespace="other"), 105.0)
    held = ours("a", "01A", f"n1/{GPU}/0")
    assert measured(samples, [held], place(node(gpu="2", labels=H100)), "p1").devices == {}


def test_of_a_mig_instance_only_its_engine_is_believed() -> None:
    inside: dict[str, Any] = {
        "UUID": "GPU-0",
        "GPU_I_ID": "7",
        "GPU_I_PROFILE": "1g.10gb",
        "pod": "a",
        "namespace": SPACE,
    }
    silent = [said("DCGM_FI_DEV_GPU_UTIL", 0, Hostname="n1", **inside)]
    held, there = ours("a", "01A", f"n1/{MIG}/2"), place(node(mig_1g_10gb="7", labels=H100))
    piece = {"device": "n1/card/0", "mig": "1g.10gb", "visible": f"n1/{MIG}/2"}
    assert state(measured(read(silent, 105.0), [held], there, "p1"), "01A", **piece) == checks.UNKNOWN
    for busy, expected in ((0.93, checks.IN_USE), (0.0, checks.IDLE)):
        engine = [*silent, said("DCGM_FI_PROF_GR_ENGINE_ACTIVE", busy, Hostname="n1", **inside)]
        found = measured(read(engine, 105.0), [held], there, "p1")
        assert found.instances[f"n1/{MIG}/2"].utilisation == busy
        assert state(found, "01A", **piece) == expected


def test_a_whole_gpu_without_utilisation_is_judged_by_its_engine() -> None:
    labels: dict[str, Any] = {"UUID": "GPU-0", "Hostname": "n1", "pod": "a", "namespace": SPACE}
    (sample,) = read([said("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 0.5, **labels)], 105.0)
    assert sample.reading.utilisation == 0.5


@pytest.mark.parametrize(("late", "known"), [(0.0, True), (29.0, True), (31.0, False), (299.0, False)])
def test_what_is_older_than_two_scrapes_is_unknown_and_never_idle(late: float, known: bool) -> None:
    samples = read(gpu(util=0), 100.0 + late)
    found = measured(samples, [ours("a", "01A", f"n1/{GPU}/0")], place(node(gpu="1", labels=H100)), "p1")
    assert state(found, "01A", device=f"n1/{GPU}/0") == (checks.IDLE if known else checks.UNKNOWN)


def test_how_often_prometheus_reads_is_seen_of_the_samples() -> None:
    slow = [said("DCGM_FI_DEV_GPU_UTIL", 5, every=60.0, UUID="GPU-0")]
    assert read(slow, 219.0)
    assert not read(slow, 221.0)
    once = {"metric": {"__name__": "DCGM_FI_DEV_GPU_UTIL", "UUID": "GPU-1"}, "values": [[100.0, "5"]]}
    assert len(read([*slow, once], 219.0)) == 2, "one sample says nothing of that: others do"
    assert read([once], 159.0)
    assert not read([once], 161.0)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "101", "9223372036854775794", "x"])
def test_a_number_that_is_no_reading_is_unknown(value: str) -> None:
    (sample,) = read(gpu(util=value), 105.0)
    assert sample.reading == Reading(1024, None)


def test_two_jobs_that_read_one_exporter_say_one_thing_and_the_younger_counts() -> None:
    (sample,) = read([*gpu(util=0, at=90.0, job="old"), *gpu(util=80, job="new")], 105.0)
    assert sample.reading.utilisation == 0.8


def test_of_several_gpus_of_one_pod_less_than_all_is_unknown_but_for_use() -> None:
    held = ours("a", "01A", f"n1/{GPU}/0,n1/{GPU}/1")
    there = place(node(gpu="2", labels=H100))
    pieces = [{"device": f"n1/{GPU}/0"}, {"device": f"n1/{GPU}/1"}]

    def all_of(*series: list[Any]) -> str:
        samples = read([one for some in series for one in some], 105.0)
        return checks.gpu_state(pieces, "01A", measured(samples, [held], there, "p1"), THRESHOLD)

    assert all_of(gpu("GPU-0", util=0), gpu("GPU-1", util=0)) == checks.IDLE
    assert all_of(gpu("GPU-0", util=0), gpu("GPU-1", util=90)) == checks.IN_USE
    assert all_of(gpu("GPU-0", util=0)) == checks.UNKNOWN
    assert all_of(gpu("GPU-0", util=90)) == checks.IN_USE
    assert all_of() == checks.UNKNOWN


def test_on_a_shared_gpu_the_whole_bounds_each_and_nobody_is_idle_by_others() -> None:
    there = place(node(gpu_shared="4", labels={**H100, stock.REPLICAS: "4"}))
    held = [ours("a", "01A", f"n1/{SHARED}/0"), ours("b", "01B", f"n1/{SHARED}/0")]
    piece = {"device": f"n1/{SHARED}/0", "share": 250}
    found = measured(read(gpu(util=0), 105.0), held, there, "p1")
    assert state(found, "01A", **piece) == checks.IDLE
    assert state(found, "01B", **piece) == checks.UNKNOWN, "an exporter names one pod of a shared GPU"
    busy = measured(read(gpu(util=70), 105.0), held, there, "p1")
    assert state(busy, "01A", **piece) == checks.UNKNOWN, "it may be another's work"


def test_gpus_that_nobody_of_ours_holds_are_those_that_are_left() -> None:
    there = place(node(gpu="3", labels=H100))
    held = ours("a", "01A", f"n1/{GPU}/1")
    samples = read([*gpu("GPU-0", util=90), *gpu("GPU-1", by=None, util=1), *gpu("GPU-2", by=None, util=2)], 105.0)
    found = measured(samples, [held], there, "p1").devices
    assert {name: one.utilisation for name, one in found.items()} == {
        f"n1/{GPU}/1": 0.9,
        f"n1/{GPU}/0": 0.01,
        f"n1/{GPU}/2": 0.02,
    }
    fewer = measured(samples[:2], [held], there, "p1").devices
    assert set(fewer) == {f"n1/{GPU}/1"}, "which of two it is, nobody says"


def test_a_pod_that_has_ended_holds_nothing() -> None:
    over = ours("a", "01A", f"n1/{GPU}/0", phase="Succeeded")
    two = place(node(gpu="2", labels=H100))
    assert measured(read(gpu(), 105.0), [over], two, "p1").devices == {}


# -- with Prometheus itself

TEXT = """\
# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA H100",Hostname="n1",{whose}}} {util}
# TYPE DCGM_FI_DEV_FB_USED gauge
DCGM_FI_DEV_FB_USED{{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA H100",Hostname="n1",{whose}}} 20480
# TYPE DCGM_FI_DEV_GPU_TEMP gauge
DCGM_FI_DEV_GPU_TEMP{{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA H100",Hostname="n1",{whose}}} 61
# TYPE DCGM_FI_PROF_GR_ENGINE_ACTIVE gauge
DCGM_FI_PROF_GR_ENGINE_ACTIVE{{gpu="1",UUID="GPU-b",GPU_I_PROFILE="1g.10gb",GPU_I_ID="7",Hostname="n1",container="main",\
namespace="mlops-dev",pod="b"}} 0.25
"""
WHOSE = 'container="main",namespace="mlops-dev",pod="a"'


@pytest.fixture
def exporter() -> Iterator[real.Exporter]:
    with real.exporter() as made:
        made.text = TEXT.format(whose=WHOSE, util=87)
        yield made


async def until(asked: Prometheus, right: Callable[[list[Sample]], bool]) -> list[Sample]:
    """What it says once that is right."""
    deadline = asyncio.get_running_loop().time() + 60
    while not right(found := await asked.ask()):
        assert asyncio.get_running_loop().time() < deadline, found
        await asyncio.sleep(0.2)
    return found


@pytest.mark.parametrize("honor_labels", [False, True])
async def test_what_an_exporter_says_is_read_with_its_pod(exporter: real.Exporter, honor_labels: bool) -> None:
    with real.prometheus(exporter, honor_labels=honor_labels) as server:
        whole, part = await until(Prometheus(server.url), lambda found: len(found) == 2)
        assert (whole.uuid, whole.node, whole.pods) == ("GPU-a", "n1", ((SPACE, "a"),))
        assert whole.reading == Reading(20480, 0.87, 61.0)
        assert (part.card, part.pods, part.reading) == (
            ("GPU-b", "7"),
            ((SPACE, "b"),),
            Reading(utilisation=0.25),
        )


async def test_an_exporter_that_is_gone_is_unknown_after_two_scrapes_and_prometheus_at_once(
    exporter: real.Exporter, caplog: pytest.LogCaptureFixture
) -> None:
    with real.prometheus(exporter) as server:
        asked = Prometheus(server.url)
        await until(asked, lambda found: len(found) == 2)
        exporter.text = None
        await until(asked, lambda found: not found)
        exporter.text = TEXT.format(whose=WHOSE, util=0)
        (idle, _) = await until(asked, lambda found: len(found) == 2)
        assert idle.reading.utilisation == 0.0
        server.kill()
        with pytest.raises(PrometheusAway, match=r"127\.0\.0\.1"):
            await asked.ask()
        now = iter(float(number) for number in range(0, 1000, 10))
        later = Prometheus(server.url, monotonic=lambda: next(now))
        with caplog.at_level(logging.WARNING):
            assert [await later.samples() for _ in range(3)] == [[], [], []]
        assert len(caplog.records) == 1, "said once, however often it is asked"


async def test_a_token_is_shown_as_its_file_has_it_and_an_error_is_no_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, shown = tmp_path / "token", []
    token.write_text("first\n")
    with real.exporter() as exporter:
        exporter.text = TEXT.format(whose=WHOSE, util=1)
        with real.prometheus(exporter) as server:
            asked = Prometheus(server.url, token)
            shown.append(dict(asked._headers()))
            token.write_text("second\n")
            shown.append(dict(asked._headers()))
            assert await asked.ask() is not None, "a token it does not need is no matter"
            monkeypatch.setattr(module, "QUERY", "]")
            with pytest.raises(PrometheusAway, match=r"400 .*parse error"):
                await asked.ask()
    assert shown == [{"Authorization": "Bearer first"}, {"Authorization": "Bearer second"}]
    token.unlink()
    with pytest.raises(PrometheusAway, match="No such file"):
        await Prometheus("http://127.0.0.1:1", token).ask()
    token.write_text("sécret")
    with pytest.raises(PrometheusAway, match="holds no token") as refused:
        await Prometheus("http://127.0.0.1:1", token).ask()
    assert "cret" not in str(refused.value).replace("secrets", "")
    with pytest.raises(PrometheusAway):
        await Prometheus("http://127.0.0.1:909O").ask()


@pytest.mark.parametrize("text", ["", "[]", "null", "<html>", '{"status": "success", "data": 1}'])
async def test_what_is_no_answer_of_prometheus_is_away(text: str) -> None:
    with real.exporter() as anything:
        anything.text = text
        with pytest.raises(PrometheusAway):
            await Prometheus(f"http://127.0.0.1:{anything.port}").ask()


def test_an_address_is_one_or_is_refused() -> None:
    assert Settings(prometheus_url="https://thanos.example.com/prometheus").prometheus_url
    for wrong in ("prometheus:9090", "http://a b", "ftp://x", "http://x?query=1", "http://ana:secret@x"):
        with pytest.raises(ValueError, match="prometheus_url"):
            Settings(prometheus_url=wrong)

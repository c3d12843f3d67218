"""What each lease uses of a shared GPU: real processes, the real pynvml, a C library in NVML's place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.base import OwnUse, Reading
from dure_hub.backends.embedded import measuregpus
from dure_hub.backends.embedded.nvmlprocesses import OnGpu, Sample
from dure_hub.backends.embedded.processes import marks
from dure_hub.settings import Settings
from tests.unit.embedded.conftest import Ask
from tests.unit.embedded.test_nvml import FIRST, SECOND

INSTANCE = os.urandom(6).hex()
WAIT = "print(flush=True)\ninput()"
# starts a child without a mark, as who clears the environment does, and says its number
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {WAIT!r}], env={{}}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
input()
child.communicate(b"\\n")
"""
NAMED = f"open('/proc/self/comm', 'w').write('nvidia-cuda-mps-server')\n{WAIT}"
MEASURE = f"""
import asyncio, dataclasses, json
from dure_hub.backends.embedded import EmbeddedInventory
from dure_hub.settings import Settings
seen = asyncio.run(EmbeddedInventory(Settings(data="unused", instance="{INSTANCE}")).measure())
print(json.dumps({{
    device: {{lease: dataclasses.asdict(use) for lease, use in parts.items()}}
    for device, parts in seen.own.items()
}}))
"""
UNKNOWN = OwnUse()
NOTHING = OwnUse(0, 0.0, 0.0, 0.0)


@contextmanager
def process(lease: str | None, code: str = WAIT) -> Iterator[tuple[int, str]]:
    """A process with the mark of this lease, or without any: its number, and what it says once it is up."""
    environment = {**os.environ, **(marks(INSTANCE, lease, "server") if lease else {})}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        said = started.stdout.readline().decode().strip()
        try:
            yield started.pid, said
        finally:
            started.communicate(b"\n")


@pytest.fixture
def pids() -> Iterator[dict[str, int]]:
    """Ann's process and its child, and ben's, by name."""
    with ExitStack() as running:
        ann, child = running.enter_context(process("ann", PARENT))
        ben, _ = running.enter_context(process("ben"))
        yield {"ann": ann, "child": int(child), "ben": ben}


Measured = Callable[..., Mapping[str, Mapping[str, OwnUse]]]


@pytest.fixture
def measured(ask: Ask) -> Measured:
    """What each lease uses of each GPU, with NVML set up by these words."""

    def asked(**stub: object) -> Mapping[str, Mapping[str, OwnUse]]:
        found: dict[str, Any] = ask(MEASURE, **{"kinds": "h100,h100", **stub})
        return {device: {lease: OwnUse(**use) for lease, use in parts.items()} for device, parts in found.items()}

    return asked


def test_a_lease_uses_what_all_its_processes_use_and_the_other_what_its_own_do(
    measured: Measured, pids: dict[str, int]
) -> None:
    found = measured(
        samples="0:{ann}:30:500,0:{ann}:10:600,0:{child}:15:500,0:{ben}:2:500".format(**pids),
        running="0:{ann}:300,0:{child}:200,0:{ben}:1000".format(**pids),
        works=0,
    )
    assert found[FIRST] == {"ann": OwnUse(500, 0.35, 0.45, 0.45), "ben": OwnUse(1000, 0.02, 0.02, 0.02)}
    assert found[SECOND]["ann"] in (NOTHING, OwnUse(None, 0.0, 0.0, 0.0)), "in a container its memory is unknown"


def test_who_computed_and_now_rests_shows_nothing_and_was_not_idle(
    measured: Measured, pids: dict[str, int]
) -> None:
    found = measured(samples="0:{ann}:80:30000,0:{ben}:3:100".format(**pids), works=3)
    assert (found[FIRST]["ann"].utilisation, found[FIRST]["ann"].least) == (0.0, 0.8)


def test_whose_processes_do_nothing_beside_those_of_another_is_idle(
    measured: Measured, pids: dict[str, int]
) -> None:
    found = measured(samples="0:{ann}:100:100".format(**pids), running="0:{ann}:70000".format(**pids), works=100)
    assert found[FIRST] == {"ann": OwnUse(70000, 1.0, 1.0, 1.0), "ben": NOTHING}


def test_where_nobody_computes_and_the_gpu_rests_all_are_idle(measured: Measured, pids: dict[str, int]) -> None:
    running = "0:{ann}:300,0:{ben}:100".format(**pids)
    assert measured(works=0, running=running)[FIRST] == {
        "ann": OwnUse(300, 0.0, 0.0, 0.0),
        "ben": OwnUse(100, 0.0, 0.0, 0.0),
    }


def test_a_gpu_at_work_of_which_nobody_is_sampled_is_nobodys_idleness(
    measured: Measured, pids: dict[str, int]
) -> None:
    found = measured(works=60, samples="1:{ann}:10:30000".format(**pids))
    assert {(one.utilisation, one.least, one.most) for one in found[FIRST].values()} == {(None, 0.0, 0.6)}
    assert (found[SECOND]["ann"].utilisation, found[SECOND]["ann"].most) == (None, 0.7)


def test_numbers_of_another_namespace_make_all_unknown_and_none_idle(
    measured: Measured, pids: dict[str, int]
) -> None:
    nobody = 2**31 - 1
    found = measured(samples=f"0:{nobody}:100:100", running=f"0:{nobody}:900", works=100)
    assert set(found[FIRST].values()) == {UNKNOWN}
    if measuregpus.sees_all():
        return  # a stranger's number is a stranger's here, and says nothing of the others
    found = measured(samples=f"0:{nobody}:10:100,0:{pids['ann']}:50:100", works=60)
    assert {(one.utilisation, one.least, round(one.most, 3)) for one in found[FIRST].values()} == {
        (None, 0.0, 0.6)
    }, "that a number is also one of ours means nothing"


def test_who_takes_turns_uses_a_part(measured: Measured, pids: dict[str, int]) -> None:
    turns = (
        "0:{ann}:80:500,0:{ben}:0:510,0:{ann}:0:1500,0:{ben}:80:1500,0:{ann}:0:2500,0:{ben}:0:2500,0:{ben}:0:3500"
    )
    found = measured(samples=turns.format(**pids), works=80)[FIRST]
    assert {lease: (one.utilisation, one.least) for lease, one in found.items()} == {
        "ann": (0.2, 0.8),
        "ben": (0.2, 0.8),
    }


def test_samples_of_nothing_on_a_gpu_at_work_are_no_idleness(measured: Measured, pids: dict[str, int]) -> None:
    found = measured(samples="0:{ann}:0:500,0:{ben}:0:500".format(**pids), works=60)[FIRST]
    assert {(one.utilisation, one.least, one.most) for one in found.values()} == {(None, 0.0, 0.6)}


@pytest.mark.parametrize("stub", [{"sampling": 3}, {"sampling": 13}, {"sampling": 999}, {"grows": 99}])
def test_what_the_driver_does_not_sample_is_bounded_by_the_whole_alone(
    measured: Measured, pids: dict[str, int], stub: dict[str, int]
) -> None:
    samples = "0:{ann}:100:100".format(**pids)
    for works, most in ((40, 0.4), (0, 0.0)):
        found = measured(samples=samples, works=works, **stub)[FIRST]
        assert {(one.utilisation, one.least, one.most) for one in found.values()} == {(None, 0.0, most)}


@pytest.mark.parametrize("more", [{}, {"mig_says": 0}])
def test_with_mig_on_nobodys_part_of_the_whole_is_known(
    measured: Measured, pids: dict[str, int], tmp_path: Path, more: dict[str, int]
) -> None:
    (tmp_path / "mig").touch()
    assert len(pids) == 3
    found = measured(kinds="a100", mig=tmp_path / "mig", **more)
    assert found[FIRST] == {"ann": UNKNOWN, "ben": UNKNOWN}


def test_memory_that_is_not_said_of_one_process_is_unknown_of_its_lease(
    measured: Measured, pids: dict[str, int]
) -> None:
    found = measured(running="0:{ann}:300,0:{child}:-1,0:{ben}:100".format(**pids), works=0)
    assert (found[FIRST]["ann"].memory_used_mb, found[FIRST]["ben"].memory_used_mb) == (None, 100)


def test_whose_a_process_is() -> None:
    with process("late") as (late, _), process(None) as (outside, _), process(None, NAMED) as (server, _):
        with process("ann") as (ended, _):
            pass
        leases, asked = {4: "gone since"}, [4, late, outside, server, ended]
        assert measuregpus.owners(Settings(instance=INSTANCE), leases, asked, sees_all=True) == {
            4: "gone since",
            late: "late",
            outside: measuregpus.OUTSIDE,
            server: None,
            ended: None,
        }
        assert measuregpus.owners(Settings(instance=INSTANCE), leases, [4, late], sees_all=False) == {
            4: "gone since",
            late: "late",
        }
        foreign = measuregpus.owners(Settings(instance=INSTANCE), leases, [4, late, outside], sees_all=False)
        assert foreign == {4: None, late: None, outside: None}, "numbers of the machine outside"


def use(sees_all: bool, memory: dict[int, int | None], *samples: Sample) -> OwnUse:
    """Ann's use: process 1 is hers, 2 another lease's, 3 outside."""
    whose = {1: "ann", 2: "ben", 3: measuregpus.OUTSIDE}
    return measuregpus.own(OnGpu(100.0, samples, memory), Reading(utilisation=0.0), ["ann"], whose, sees_all)[
        "ann"
    ]


@pytest.mark.parametrize(
    ("sees_all", "memory", "expected"),
    [
        (True, {}, 0),
        (True, {3: 9 << 20}, 0),
        (True, {4: 9 << 20}, None),
        (True, {1: 5 << 20, 4: 9 << 20}, None),
        (False, {}, None),
        (False, {2: 9 << 20}, 0),
        (False, {1: 5 << 20}, 5),
    ],
)
def test_in_a_container_a_list_without_any_of_ours_says_nothing(
    sees_all: bool, memory: dict[int, int | None], expected: int | None
) -> None:
    assert use(sees_all, memory).memory_used_mb == expected


def test_a_figure_that_cannot_be_leaves_only_its_own_lease_unknown() -> None:
    impossible = [Sample(1, None, 99.0), Sample(1, 0.02, 98.0)]
    assert use(True, {}, *impossible) == OwnUse(0, None, 0.02, 1.0)
    assert use(True, {}, Sample(2, None, 99.0)) == NOTHING
    assert use(True, {}, Sample(3, None, 99.0)) == NOTHING


def test_nobody_uses_more_than_all_of_a_gpu() -> None:
    assert use(True, {}, Sample(1, 0.9, 99.0), Sample(1, 0.2, 98.0), Sample(4, 0.9, 1.0)) == OwnUse(
        0, 0.55, 0.9, 1.0
    )

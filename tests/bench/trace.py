"""The Alibaba "openb" trace (1,213 nodes, 6,212 GPUs; 8,152 tasks), and the hub's own board as a packer of it.

From github.com/hkust-adsl/kubernetes-scheduler-simulator (Apache-2.0); it is no part of this project. Its tasks
ask for 98 % of the GPUs, so arrivals are drawn from them with replacement, as its authors do. Nothing ever ends.
"""

from __future__ import annotations

import csv
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dure_hub.catalogue.machine import Gpu, Machine
from dure_hub.catalogue.mig import MigGrid, MigProfile
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.policies.board import Board
from tests.bench.packers import WHOLE, Box, Task
from tests.bench.record import ROOT, ReferenceMissing

MODEL = "any"
A100_80 = MigGrid(
    "A100 80GB",
    8,
    (
        MigProfile("1g.10gb", 19, 1, 1, (0, 1, 2, 3, 4, 5, 6), 7),
        MigProfile("1g.20gb", 15, 1, 2, (0, 2, 4, 6), 4),
        MigProfile("2g.20gb", 14, 2, 2, (0, 2, 4), 3),
        MigProfile("3g.40gb", 9, 3, 4, (0, 4), 2),
        MigProfile("4g.40gb", 5, 4, 4, (0,), 1),
        MigProfile("7g.80gb", 0, 7, 8, (0,), 1),
    ),
)
COVERS = {"1g.10gb": 125, "2g.20gb": 250, "3g.40gb": 428, "4g.40gb": 500, "7g.80gb": 1000}
"""The most `gpu_milli` that a MIG profile covers: the smaller of its parts of compute (of 7) and memory (of 8)."""


class Places(Protocol):
    """Whatever places tasks."""

    def place(self, kind: int) -> bool:
        """Place a task of this kind; False if it fits nowhere."""


@dataclass(frozen=True)
class Trace:
    """Nodes, the kinds of tasks, and how many of each kind there are."""

    boxes: Sequence[Box]
    kinds: Sequence[Task]
    weights: Sequence[int]

    @property
    def capacity(self) -> int:
        """Thousandths of GPUs."""
        return sum(box.gpus for box in self.boxes) * WHOLE

    def arrivals(self, seed: int) -> Iterator[int]:
        """Kinds of tasks without end, drawn by their weights."""
        dice = random.Random(seed)
        numbers = range(len(self.kinds))
        while True:
            yield from dice.choices(numbers, self.weights, k=1000)


def read() -> Trace:
    """The trace; raises `ReferenceMissing`."""
    folder = Path(os.environ.get("DURE_TEST_DATA") or ROOT.parent / "shared" / "data") / "openb"
    nodes, tasks = folder / "openb_node_list_gpu_node.csv", folder / "openb_pod_list_default.csv"
    if not (nodes.is_file() and tasks.is_file()):
        rule = "Put openb_node_list_gpu_node.csv and openb_pod_list_default.csv there, or set DURE_TEST_DATA."
        raise ReferenceMissing(f"The openb trace is not in {folder}. {rule}")
    with nodes.open(newline="") as file:
        boxes = [
            Box(int(row["cpu_milli"]), int(row["memory_mib"]), int(row["gpu"])) for row in csv.DictReader(file)
        ]
    with tasks.open(newline="") as file:
        columns = ("cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
        found = Counter(Task(*(int(row[column]) for column in columns)) for row in csv.DictReader(file))
    return Trace(boxes, list(found), list(found.values()))


def replay(packer: Places, trace: Trace, seed: int, points: Sequence[int] = (100, 130)) -> list[float]:
    """The part of all GPUs allocated (%) when arrivals have asked for these parts (%) of them."""
    asked = placed = 0
    found: list[float] = []
    for kind in trace.arrivals(seed):
        asked += trace.kinds[kind].asked
        if packer.place(kind):
            placed += trace.kinds[kind].asked
        while asked * 100 >= trace.capacity * points[len(found)]:
            found.append(100 * placed / trace.capacity)
            if len(found) == len(points):
                return found
    raise AssertionError("arrivals have no end")


class Ours:
    """The board that the portal decides with. `profiles` are the kinds of tasks."""

    def __init__(
        self, machines: Sequence[Machine], profiles: Sequence[ProfileSpec], weights: Sequence[int]
    ) -> None:
        self._profiles = profiles
        self._board = Board(machines, (), zip(profiles, weights, strict=True))

    def place(self, kind: int) -> bool:
        """Place a task of this kind; False if it fits nowhere."""
        placed = self._board.place(self._profiles[kind])
        self._board.take(placed.slices)
        return placed.verdict.allowed


def whole_or_shared(trace: Trace) -> Ours:
    """The trace as it is: every GPU may be shared, by thousandths. Nothing is kept for GPUs of a node's cores."""
    profiles = [
        _profile(task, gpus=task.gpus) if task.milli in {0, WHOLE} else _profile(task, share=task.milli)
        for task in trace.kinds
    ]
    return Ours(_machines(trace, None), profiles, trace.weights)


def as_mig(trace: Trace) -> tuple[Trace, list[str | None]]:
    """The trace without tasks of several GPUs, and each kind's MIG profile: the smallest that covers it."""
    kept = [(task, weight) for task, weight in zip(trace.kinds, trace.weights, strict=True) if task.gpus < 2]
    names = [
        next(name for name, most in COVERS.items() if most >= task.milli) if task.gpus else None
        for task, _ in kept
    ]
    return Trace(trace.boxes, [task for task, _ in kept], [weight for _, weight in kept]), names


def cut(trace: Trace, names: Sequence[str | None]) -> Ours:
    """The trace on A100 80GB that are all cut as needed."""
    profiles = [_profile(task, mig=name) for task, name in zip(trace.kinds, names, strict=True)]
    return Ours(_machines(trace, A100_80), profiles, trace.weights)


def _machines(trace: Trace, grid: MigGrid | None) -> list[Machine]:
    found = []
    for number, box in enumerate(trace.boxes):
        uuids = (f"{number}-{gpu}" for gpu in range(box.gpus))
        gpus = tuple(Gpu(uuid, MODEL, grid=grid, dynamic=True, replicas=0 if grid else WHOLE) for uuid in uuids)
        found.append(Machine(box.cpu / 1000, box.memory, gpus, f"node-{number}", kept=0))
    return found


def _profile(task: Task, *, gpus: int = 0, mig: str | None = None, share: int = 0) -> ProfileSpec:
    sharing = "time-slice" if share else ""
    name = "-".join(map(str, task))
    return ProfileSpec(
        name, {}, {}, task.cpu / 1000, task.memory, 0, 0, gpus=gpus, mig=mig, share=share, sharing=sharing
    )

"""Packers to compare placement with, on nodes of cores, memory and GPUs that tasks may share by thousandths.

`FirstFit` and `BestFit` are the textbook's. `Fgd` is written after Weng et al., "Beware of Fragmentation:
Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent" (USENIX ATC'23): the fragmentation of a node
is F_n(M) = sum of p_m F_n(m) over the tasks m of the target workload M, where F_n(m) is all that is free on the
node's GPUs if m cannot run there, else what is free on those of its GPUs that m cannot use; a task goes where it
makes F grow least. Nothing of it is sampled or cut: every kind of task of the trace is in the target workload.
Ties go by best fit, which on this trace is about 0.3 points better than the first node.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dure_hub.catalogue.mig import MigGrid
from dure_hub.policies.mig import MigGraph

WHOLE = 1000
Array = np.ndarray[Any, Any]


class Task(NamedTuple):
    """What a task asks for: cores in thousandths, memory in MiB, GPUs, and of each GPU how many thousandths."""

    cpu: int
    memory: int
    gpus: int
    milli: int

    @property
    def asked(self) -> int:
        """All it asks of GPUs, in thousandths."""
        return self.gpus * self.milli


class Box(NamedTuple):
    """A node: cores in thousandths, memory in MiB, GPUs."""

    cpu: int
    memory: int
    gpus: int


class Packer(ABC):
    """Places tasks that never end; one that does not fit is refused. `weights` say how often each kind comes."""

    def __init__(self, boxes: Sequence[Box], kinds: Sequence[Task], weights: Sequence[float]) -> None:
        self.kinds = kinds
        self.weights = np.array(weights) / sum(weights)
        self.task_cpu, self.task_memory, self.task_gpus, self.task_milli = np.array(kinds).T
        self.largest = np.array(boxes).max(axis=0)
        self.cpu, self.memory, count = np.array(boxes).T.copy()
        self.gpus = np.where(np.arange(self.largest[2]) < count[:, None], WHOLE, 0)
        # for each node, how little each kind of task speaks for it; infinite where it does not fit
        same = {box: self._scored(node) for node, box in reversed(list(enumerate(boxes)))}
        self._scores = np.array([same[box] for box in boxes])

    def place(self, kind: int) -> bool:
        """Place a task of this kind; False if it fits nowhere."""
        node = int(self._scores[:, kind].argmin())
        if np.isinf(self._scores[node, kind]):
            return False
        task = self.kinds[kind]
        if 0 < task.milli < WHOLE:
            self.gpus[node, self.gpu(node, kind)] -= task.milli
        else:
            self.gpus[node, np.flatnonzero(self.gpus[node] == WHOLE)[: task.gpus]] = 0
        self.cpu[node] -= task.cpu
        self.memory[node] -= task.memory
        self._scores[node] = self._scored(node)
        return True

    @abstractmethod
    def scores(self, node: int) -> Array:
        """What speaks against this node, for each kind of task that fits there."""

    @abstractmethod
    def gpu(self, node: int, kind: int) -> int:
        """The GPU of this node for a task that shares one."""

    def _scored(self, node: int) -> Array:
        room = (self.gpus[node] >= np.maximum(self.task_milli, 1)[:, None]).sum(axis=1) >= self.task_gpus
        fits = room & (self.task_cpu <= self.cpu[node]) & (self.task_memory <= self.memory[node])
        return np.where(fits, self.scores(node), np.inf)


class FirstFit(Packer):
    """The first node, and on it the first GPU."""

    def __init__(self, boxes: Sequence[Box], kinds: Sequence[Task], weights: Sequence[float]) -> None:
        super().__init__(boxes, kinds, weights)
        self._scores = np.where(np.isinf(self._scores), np.inf, np.arange(len(boxes))[:, None])

    def scores(self, node: int) -> Array:
        return np.full(len(self.kinds), node)

    def gpu(self, node: int, kind: int) -> int:
        return int(np.flatnonzero(self.gpus[node] >= self.kinds[kind].milli)[0])


class BestFit(Packer):
    """The node with least left of cores and GPUs, each as part of the largest node's; on it, the fullest GPU."""

    def scores(self, node: int) -> Array:
        cpu = (self.cpu[node] - self.task_cpu) / self.largest[0]
        left = self.gpus[node].sum() - self.task_gpus * self.task_milli
        return np.asarray(cpu + left / (WHOLE * self.largest[2]))

    def gpu(self, node: int, kind: int) -> int:
        free = self.gpus[node]
        return int(np.where(free >= self.kinds[kind].milli, free, WHOLE + 1).argmin())


class Fgd(BestFit):
    """Fragmentation gradient descent, ties by best fit."""

    def __init__(self, boxes: Sequence[Box], kinds: Sequence[Task], weights: Sequence[float]) -> None:
        # what counts is from where on a GPU is of use to a task; one without GPUs can use none
        self._levels, self._level_of = np.unique(
            [task.milli if task.gpus else WHOLE + 1 for task in kinds], return_inverse=True
        )
        super().__init__(boxes, kinds, weights)

    def scores(self, node: int) -> Array:
        # growth is rounded to a millionth, so a tie is exact; best fit's score is below 10
        return np.asarray(self._growth(node).min(axis=1) + super().scores(node) / 1e8)

    def gpu(self, node: int, kind: int) -> int:
        return int(self._different(node)[self._growth(node, [kind])[0].argmin()])

    def _growth(self, node: int, kinds: Sequence[int] | None = None) -> Array:
        """By how much F grows for each of these kinds of task, on each different GPU where it shares one."""
        chosen = np.arange(len(self.kinds)) if kinds is None else np.array(kinds)
        width = len(self.gpus[node])
        at = self._different(node)
        after = np.repeat(self.gpus[node][None, None], len(chosen), axis=0).repeat(len(at), axis=1)
        milli = np.where(self.task_milli < WHOLE, self.task_milli * self.task_gpus, 0)[chosen]
        after[:, np.arange(len(at)), at] -= milli[:, None]
        illegal = (after < 0).any(axis=2)
        rank = np.cumsum(self.gpus[node] == WHOLE) * (self.gpus[node] == WHOLE)
        whole = np.where(self.task_milli == WHOLE, self.task_gpus, 0)[chosen]
        taken = (rank > 0) & (rank <= whole[:, None])
        after = np.where(taken[:, None, :], 0, after)
        cpu = np.broadcast_to((self.cpu[node] - self.task_cpu[chosen])[:, None], illegal.shape)
        memory = np.broadcast_to((self.memory[node] - self.task_memory[chosen])[:, None], illegal.shape)
        now = self._fragments(self.gpus[node][None], self.cpu[node][None], self.memory[node][None])[0]
        then = self._fragments(after.reshape(-1, width), cpu.reshape(-1), memory.reshape(-1))
        # numbers that differ by rounding alone must not decide
        return np.where(illegal, np.inf, (then.reshape(illegal.shape) - now).round(6))

    def _different(self, node: int) -> Array:
        """One of the GPUs with each amount free: it does not matter which."""
        return np.asarray(np.unique(self.gpus[node], return_index=True)[1])

    def _fragments(self, gpus: Array, cpu: Array, memory: Array) -> Array:
        """F of nodes in these states."""
        useful = gpus[:, None, :] >= self._levels[None, :, None]
        total = gpus.sum(axis=1)[:, None]
        lost = (np.where(useful, 0, gpus[:, None, :]).sum(axis=2))[:, self._level_of]
        runs = useful.sum(axis=2)[:, self._level_of] >= self.task_gpus
        runs &= (self.task_cpu <= cpu[:, None]) & (self.task_memory <= memory[:, None]) & (self.task_gpus > 0)
        return np.asarray(np.where(runs, lost, total) @ self.weights)


class MigBestFit:
    """Best fit for tasks of one MIG instance: the node with least left, its fullest GPU, the first start."""

    def __init__(
        self, boxes: Sequence[Box], kinds: Sequence[Task], names: Sequence[str | None], grid: MigGrid
    ) -> None:
        self.kinds, self.names, self._cuts = kinds, names, MigGraph(grid)
        self._largest = max(box.cpu for box in boxes), max(box.gpus for box in boxes) * grid.units
        self._cpu, self._memory = [box.cpu for box in boxes], [box.memory for box in boxes]
        self._gpus = [[self._cuts.empty] * box.gpus for box in boxes]
        self._scores = np.full((len(boxes), len(kinds)), np.inf)
        for node in range(len(boxes)):
            self._score(node)

    def place(self, kind: int) -> bool:
        """Place a task of this kind; False if it fits nowhere."""
        node = int(self._scores[:, kind].argmin())
        if np.isinf(self._scores[node, kind]):
            return False
        name, gpus = self.names[kind], self._gpus[node]
        if name is not None:
            open_ = [gpu for gpu in range(len(gpus)) if self._cuts.starts(gpus[gpu], name)]
            gpu = min(open_, key=lambda gpu: self._cuts.free(gpus[gpu]))
            gpus[gpu] = self._cuts.after(gpus[gpu], name, self._cuts.starts(gpus[gpu], name)[0])
        self._cpu[node] -= self.kinds[kind].cpu
        self._memory[node] -= self.kinds[kind].memory
        self._score(node)
        return True

    def _score(self, node: int) -> None:
        states = set(self._gpus[node])
        room = {name: name is None or any(self._cuts.starts(one, name) for one in states) for name in self.names}
        free = sum(self._cuts.free(state) for state in self._gpus[node])
        for kind, (task, name) in enumerate(zip(self.kinds, self.names, strict=True)):
            fits = room[name] and task.cpu <= self._cpu[node] and task.memory <= self._memory[node]
            left = free - (self._cuts.size(name) if name is not None else 0)
            score = (self._cpu[node] - task.cpu) / self._largest[0] + left / self._largest[1]
            self._scores[node, kind] = score if fits else np.inf

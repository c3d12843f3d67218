"""The packers of the placement bench on clusters small enough to see through."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import placement, trace
from tests.bench.packers import BestFit, Box, Fgd, FirstFit, MigBestFit, Packer, Task
from tests.bench.record import ReferenceMissing
from tests.bench.trace import A100_80, Trace

HALF, WHOLE, CPU = Task(1000, 1024, 1, 500), Task(1000, 1024, 1, 1000), Task(4000, 1024, 0, 0)
PAIR = Task(2000, 2048, 2, 1000)
KINDS = [HALF, WHOLE, CPU, PAIR]
BOXES = [Box(64000, 65536, 2), Box(8000, 65536, 1)]


@pytest.mark.parametrize("packer", [FirstFit, BestFit, Fgd])
def test_a_packer_places_what_fits_and_refuses_what_does_not(packer: type[Packer]) -> None:
    cluster = packer(BOXES, KINDS, [1, 1, 1, 1])
    assert [cluster.place(kind) for kind in (1, 1, 1, 1, 0)] == [True, True, True, False, False]
    assert cluster.gpus.sum() == 0
    assert int(cluster.cpu.sum()) == 72000 - 3000
    assert [cluster.place(2) for _ in range(18)].count(True) == 16


def test_first_fit_takes_the_first_node_and_best_fit_the_one_with_least_left() -> None:
    assert FirstFit(BOXES, KINDS, [1, 1, 1, 1]).place(0)
    first, best = FirstFit(BOXES, KINDS, [1, 1, 1, 1]), BestFit(BOXES, KINDS, [1, 1, 1, 1])
    first.place(0)
    best.place(0)
    assert first.gpus.tolist() == [[500, 1000], [1000, 0]]
    assert best.gpus.tolist() == [[1000, 1000], [500, 0]]


def test_fgd_fills_the_gpu_that_is_no_use_to_most() -> None:
    cluster = Fgd([Box(64000, 65536, 3)], KINDS, [1, 8, 1, 0])
    for _ in range(3):
        cluster.place(0)
    assert sorted(cluster.gpus[0].tolist()) == [0, 500, 1000]


def test_fgd_keeps_together_what_is_asked_for_together() -> None:
    cluster = Fgd([Box(64000, 65536, 2), Box(64000, 65536, 3)], KINDS, [0, 1, 0, 9])
    cluster.place(1)
    assert cluster.gpus.sum(axis=1).tolist() == [2000, 2000]


def test_best_fit_on_mig_takes_the_first_legal_start() -> None:
    cluster = MigBestFit([Box(64000, 65536, 1)], [HALF, WHOLE], ["4g.40gb", "7g.80gb"], A100_80)
    assert [cluster.place(kind) for kind in (0, 0, 1)] == [True, False, False]


def test_ours_replays_a_trace_as_fgd_does_where_there_is_one_best() -> None:
    small = Trace([Box(64000, 65536, 2)] * 10 + [Box(8000, 65536, 1)] * 10, KINDS, [4, 2, 1, 1])
    ours = trace.replay(trace.whole_or_shared(small), small, 0)
    theirs = trace.replay(Fgd(small.boxes, small.kinds, small.weights), small, 0)
    assert ours == pytest.approx(theirs, abs=4)
    assert 80 < ours[0] <= ours[1] <= 100


def test_a_task_becomes_the_smallest_mig_profile_that_covers_it() -> None:
    kinds = [Task(1, 1, 1, milli) for milli in (100, 125, 126, 429, 501, 1000)] + [PAIR, CPU]
    single, names = trace.as_mig(Trace(BOXES, kinds, [1] * len(kinds)))
    assert names == ["1g.10gb", "1g.10gb", "2g.20gb", "4g.40gb", "7g.80gb", "7g.80gb", None]
    assert PAIR not in single.kinds
    assert trace.cut(single, names).place(0)


def test_a_figure_is_the_worse_of_both_points() -> None:
    figure = placement.against("x", [95.0, 96.0], [95.05, 95.0], 2, behind=0.1)
    assert (figure.ours, figure.baseline, figure.met) == (95.0, 95.05, True)
    assert not placement.against("x", [95.0, 96.0], [95.0, 95.0], 2).met


def test_a_missing_trace_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURE_TEST_DATA", str(tmp_path))
    with pytest.raises(ReferenceMissing, match="openb trace is not in"):
        trace.read()

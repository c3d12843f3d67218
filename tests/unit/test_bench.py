"""How figures are made and kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.proxy import Run, parse
from tests.bench.record import absolute, compared, keep, pairs


def test_pairs_are_taken_by_turns() -> None:
    order: list[str] = []

    def ours() -> float:
        order.append("ours")
        return 1.0

    def theirs() -> float:
        order.append("theirs")
        return 2.0

    found = pairs(ours, theirs, n=3)
    assert found == [(1.0, 2.0)] * 3
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]


def test_a_ratio_is_the_median_of_the_paired_ratios() -> None:
    # The machine was three times slower in the second pair; the ratio does not notice.
    figure = compared("x", "ms", [(1, 2), (3, 6), (9, 1)], at_most=0.5)
    assert (figure.ratio, figure.ours, figure.baseline, figure.met, figure.pairs) == (0.5, 3, 2, True, 3)
    assert not compared("x", "ms", [(1, 2)], at_least=3).met


def test_exactly_one_bound_is_given() -> None:
    with pytest.raises(ValueError, match="at_least or at_most"):
        compared("x", "ms", [(1, 2)])


def test_a_line_has_the_promised_fields(tmp_path: Path) -> None:
    keep(absolute("lost", "requests", [0], at_most=0), tmp_path / "build" / "bench.jsonl")
    line = json.loads((tmp_path / "build" / "bench.jsonl").read_text())
    assert set(line) == {
        "name",
        "unit",
        "ours",
        "baseline",
        "ratio",
        "target",
        "met",
        "pairs",
        "load_average",
        "time",
    }
    assert (line["baseline"], line["ratio"], line["target"], line["met"]) == (None, None, "<= 0", True)


def test_wrks_output_is_read() -> None:
    said = "  Latency Distribution\n     50%  900.00us\n     99%    8.12ms\nRequests/sec:  12345.67\n"
    assert parse(said) == Run(12345.67, 8.12)

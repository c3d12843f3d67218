"""How figures are made and kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import page
from tests.bench.__main__ import table
from tests.bench.proxy import Run, parse
from tests.bench.record import absolute, compared, keep, pairs, shown
from tests.bench.sdk import stricter
from tests.bench.spawn import without_hub


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


def test_a_figure_without_a_target_is_neither_met_nor_missed_in_the_table() -> None:
    figure = shown("x", "ms", [(3, 2), (6, 2), (4, 2)])
    assert (figure.ratio, figure.target, figure.met) == (2, "", True)
    assert "met" not in table([figure])
    assert "MISSED" in table([compared("x", "ms", [(3, 2)], at_most=1)])


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


@pytest.mark.parametrize(
    "line",
    [
        "  Socket errors: connect 0, read 3, write 0, timeout 0",
        "  Non-2xx or 3xx responses: 7",
    ],
)
def test_a_run_of_wrk_with_failures_counts_for_nothing(line: str) -> None:
    said = f"     99%    8.12ms\n{line}\nRequests/sec:  12345.67\n"
    with pytest.raises(RuntimeError, match="requests failed"):
        parse(said)


def test_an_interpreters_start_counts_only_where_that_is_the_worse_for_us() -> None:
    lighter = [((2.0, 1.0), (4.0, 1.0))]
    assert stricter(lighter) == ("s", [(2.0, 4.0)])
    heavier = [((4.0, 1.0), (2.0, 1.0))]
    assert stricter(heavier) == ("s, less Python's start", [(3.0, 1.0)])


def test_a_bare_lab_hears_nothing_of_the_hub() -> None:
    told = {"PATH": "/bin", "JUPYTER_CONFIG_PATH": "/lab", "JUPYTERHUB_API_TOKEN": "x", "DURE_LEASE": "y"}
    assert without_hub(told) == {"PATH": "/bin", "JUPYTER_CONFIG_PATH": "/lab"}


def test_the_page_shows_the_newest_line_of_each_figure(tmp_path: Path) -> None:
    lines, written = tmp_path / "bench.jsonl", tmp_path / "benchmarks.md"
    keep(absolute("lost", "requests", [7], at_most=0), lines)
    keep(absolute("lost", "requests", [0], at_most=0), lines)
    keep(compared("gone", "s", [(1, 2)], at_most=1), lines)
    keep(shown("speed", "s", [(3, 2)]), lines)
    page.write({"lost": "Requests lost.", "speed": "How fast.", "new": "Not measured yet."}, written, lines)
    rows = [line for line in written.read_text().splitlines() if line.startswith("| `")]
    assert [row.rpartition(" | ")[0] for row in rows] == [
        "| `lost` | requests | 0 | - | - | ≤ 0 | yes | 1",
        "| `speed` | s | 3 | 2 | 1.5 |  |  | 1",
    ]
    assert "- `speed`: How fast." in written.read_text()
    assert "`new`" not in written.read_text()

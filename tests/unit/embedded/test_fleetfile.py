"""The file of a simulated fleet: what it may say, and how it is told what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dure_hub.backends.embedded import fleetfile
from dure_hub.backends.embedded.errors import BadFleet
from dure_hub.catalogue import grids
from dure_hub.catalogue.mig import MigGrid
from dure_hub.policies.mig import graph

WHOLE = """
nodes:
  - name: a-{n}
    count: 2
    pool: training
    cpu_cores: 64
    memory_gb: 512
    gpus:
      - {model: h100-sxm-80, count: 3, nvlink: true}
      - {model: h100-sxm-80, mig: [3g.40gb@4, 1g.10gb+me@0]}
  - {name: plain, cpu_cores: 4, memory_gb: 16}
"""


def test_a_file_is_read_whole() -> None:
    first, second, plain = fleetfile.read(WHOLE, "f")
    assert (first.name, second.name, plain.name) == ("a-1", "a-2", "plain")
    assert (first.pool, first.cpu_cores, first.memory_mb) == ("training", 64, 512 * 1024)
    linked, cut = first.gpus
    assert (linked.count, linked.nvlink, linked.mig) == (3, True, None)
    assert cut.mig is not None
    assert [(profile.name, start) for profile, start in cut.mig] == [("3g.40gb", 4), ("1g.10gb+me", 0)]
    assert (plain.gpus, plain.pool) == ((), "")


@pytest.mark.parametrize(
    ("old", "new", "line", "value", "rule"),
    [
        ("cpu_cores: 64", "cpu_cores: many", 6, "many", "whole number"),
        ("cpu_cores: 64", "cpu_cores: 0", 6, "0", "from 1"),
        ("cpu_cores: 64", "cpu_cores: true", 6, "true", "whole number"),
        ("memory_gb: 512", "memory: 512", 7, "memory", "memory_gb"),
        ("memory_gb: 512", "cpu_cores: 1", 7, "cpu_cores", "once"),
        ("    memory_gb: 512\n", "", 3, "mapping", "memory_gb"),
        ("pool: training", "pool: play", 5, "play", "development, training, inference"),
        ("a-{n}", "a", 3, "a", "{n}"),
        ("name: plain", "name: a-1", 11, "a-1", "own name"),
        ("h100-sxm-80, count", "h900, count", 9, "h900", "h100-sxm-80"),
        ("nvlink: true", "nvlink: 3", 9, "3", "true or false"),
        ("count: 3", "count: 99999", 3, "mapping", "at most"),
        ("mig: [", "mig: [3g.40gb@2, ", 10, "3g.40gb@2", "0, 4"),
        ("mig: [", "mig: [3g.40gb, ", 10, "3g.40gb", "profile@start"),
        ("mig: [", "mig: [7g.80gb@0, ", 10, "3g.40gb@4", "taken by 7g.80gb"),
        ("mig: [", "mig: [1g.10gb+me@1, ", 10, "1g.10gb+me@0", "at most 1"),
        ("mig: [3g.40gb@4, 1g.10gb+me@0]", "mig: yes", 10, "yes", "list"),
        ("{model: h100-sxm-80, mig", "{model: rtx-4090, mig", 10, "list", "cannot be cut"),
        ("nodes:", "node:", 2, "node", "nodes"),
    ],
)
def test_what_is_wrong_is_named_by_line_value_and_rule(
    old: str, new: str, line: int, value: str, rule: str
) -> None:
    assert WHOLE.count(old) == 1, "the test changes one place"
    with pytest.raises(BadFleet) as told:
        fleetfile.read(WHOLE.replace(old, new), "f.yaml")
    facts = told.value.facts
    assert (facts["line"], facts["value"]) == (line, value)
    assert rule in facts["rule"]["en"]
    for language in ("en", "ko"):
        assert facts["rule"][language] in told.value.text(language)


def test_a_file_may_cut_a_gpu_in_every_way_that_placement_may() -> None:
    """Two instances without media engines beside a larger one: a limit counts only where more would fit."""
    text = WHOLE.replace(
        "{model: h100-sxm-80, mig: [3g.40gb@4, 1g.10gb+me@0]}",
        "{model: rtx-pro-6000, mig: [1g.24gb-me@0, 1g.24gb-me@3, 2g.48gb-me@6]}",
    )
    cut = fleetfile.read(text, "f")[0].gpus[1]
    assert cut.mig is not None
    assert [start for _, start in cut.mig] == [0, 3, 6]


@pytest.mark.parametrize("grid", [grids.A30, grids.H100_80, grids.RTX_PRO_6000], ids=lambda grid: grid.name)
def test_what_is_refused_beside_one_is_what_the_graph_of_the_grid_refuses(grid: MigGrid) -> None:
    cuts = graph(grid)
    for first in grid.profiles:
        for begin in first.starts:
            state = cuts.after(cuts.empty, first.name, begin)
            for second in grid.profiles:
                free = {
                    at for at in second.starts if fleetfile.refusal(grid, [(first, begin)], second, at) is None
                }
                assert free == set(cuts.starts(state, second.name)), (first.name, begin, second.name)


@pytest.mark.parametrize(("text", "line"), [("", 1), ("- a", 1), ("a: [", 1), ("nodes:\n - {name: [}\n", 2)])
def test_what_is_no_such_file_is_refused(text: str, line: int) -> None:
    with pytest.raises(BadFleet) as told:
        fleetfile.read(text, "f.yaml")
    assert told.value.facts["line"] in (line, line + 1)


def test_a_file_that_is_not_there_names_the_presets(tmp_path: Path) -> None:
    with pytest.raises(BadFleet, match="campus"):
        fleetfile.load(str(tmp_path / "none.yaml"))
    with pytest.raises(BadFleet):
        fleetfile.load(str(tmp_path))

"""docs/benchmarks.md: the newest line of each figure, and how it is measured in the words of its bench."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.bench.record import FILE, ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `python -m tests.bench --page` after `make bench`. Ours and the reference are measured by turns in
one run; a ratio is the median of the paired ratios (ours / reference), since a machine's other load moves an
absolute figure by more than any change of ours. The load is the machine's load average over the last minute
when a figure was taken.

"""


def write(what: Mapping[str, str], page: Path = PAGE, file: Path = FILE) -> None:
    """Write the page anew for the figures in `what` that have been measured."""
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    newest = {line["name"]: line for line in lines}
    page.write_text(text(what, [newest[name] for name in what if name in newest]))


def text(what: Mapping[str, str], lines: list[dict[str, Any]]) -> str:
    """The page: machine, table, and a sentence for each figure."""
    memory = psutil.virtual_memory().total / (1 << 30)
    machine = f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB of memory"
    date = max((line["time"] for line in lines), default="")[:10]
    taken = f"Machine: {machine}, Python {platform.python_version()}. Newest figure: {date or 'none yet'}.\n\n"
    rows = ["| figure | unit | ours | reference | ratio | target | met | pairs | load |", "|---" * 9 + "|"]
    rows += [_row(line) for line in lines]
    sentences = [f"- `{line['name']}`: {what[line['name']]}" for line in lines]
    return HEAD + taken + "\n".join([*rows, "", "## What each compares", "", *sentences]) + "\n"


def _row(line: dict[str, Any]) -> str:
    met = ("yes" if line["met"] else "**no**") if line["target"] else ""
    numbers = ("-" if line[key] is None else f"{line[key]:g}" for key in ("ours", "baseline", "ratio"))
    cells = [f"`{line['name']}`", line["unit"], *numbers, line["target"].replace("<=", "≤").replace(">=", "≥")]
    return "| " + " | ".join([*cells, met, str(line["pairs"]), f"{line['load_average']:g}"]) + " |"

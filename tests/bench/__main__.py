"""`python -m tests.bench [names]`: run benches, print their figures, add them to build/bench.jsonl.

A bench is a module here with `run() -> list[Figure]`; `WHAT` in it says of each figure how it is measured. A name
is a module's or a figure's; without names all run but those that are `ALONE`, which take many minutes; with
`--all` those run too. A target that is missed is shown, and is no failure of the run: a busy machine may do that.
A bench that could not be run is one. `--page` measures nothing, and writes docs/benchmarks.md from the newest
figures.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback
from types import ModuleType

import tests.bench
from tests.bench import page
from tests.bench.record import FILE, Figure, ReferenceMissing, keep

NOT_BENCHES = {"__main__", "record", "page", "packers", "trace"}


def main(names: list[str]) -> int:
    """Run the named benches; 0 if every one of them could be measured."""
    benches = find()
    if names == ["--page"]:
        page.write({name: said for module in benches.values() for name, said in _what(module).items()})
        return 0
    usual = {name for name, module in benches.items() if not getattr(module, "ALONE", False)}
    if names == ["--all"]:
        names = sorted(benches)
    chosen = [
        name for name in benches if (name in usual and not names) or _names(name, benches[name]) & set(names)
    ]
    known = {*benches, *(figure for module in benches.values() for figure in _what(module))}
    if unknown := sorted(set(names) - known):
        print(f"There is no bench named {', '.join(unknown)}; there are {', '.join(sorted(known))}.")
        return 2
    figures: list[Figure] = []
    failed: list[str] = []
    for name in chosen:
        print(f"{name} …", flush=True)
        try:
            for figure in benches[name].run():
                keep(figure)
                figures.append(figure)
        except ReferenceMissing as missing:
            failed.append(f"{name}: not measured, its reference is missing. {missing}")
        except Exception as error:  # noqa: BLE001 - the other benches still run, and the exit code tells
            traceback.print_exc()
            failed.append(f"{name}: not measured. {type(error).__name__}: {error}")
    print(table(figures))
    print("\n".join(failed))
    print(f"Added to {FILE.relative_to(FILE.parents[1])}.")
    return 1 if failed else 0


def find() -> dict[str, ModuleType]:
    """Every bench by its module's name."""
    names = sorted(found.name for found in pkgutil.iter_modules(tests.bench.__path__))
    modules = {name: importlib.import_module(f"tests.bench.{name}") for name in names if name not in NOT_BENCHES}
    return {name: module for name, module in modules.items() if hasattr(module, "run")}


def table(figures: list[Figure]) -> str:
    """The figures as aligned text."""
    rows: list[tuple[str, ...]] = [("figure", "unit", "ours", "reference", "ratio", "target", "", "pairs", "load")]
    for one in figures:
        met = ("met" if one.met else "MISSED") if one.target else ""
        values = (_text(value) for value in (one.ours, one.baseline, one.ratio))
        rows.append((one.name, one.unit, *values, one.target, met, str(one.pairs), str(one.load_average)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _names(name: str, module: ModuleType) -> set[str]:
    return {name, *_what(module)}


def _what(module: ModuleType) -> dict[str, str]:
    return dict(getattr(module, "WHAT", {}))


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

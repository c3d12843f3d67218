"""What may be given to a notebook, as a table."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dure_hub.policies.parameters import CELL_LIMIT, Parameter, check, declared

CELL = """
import os  # runs nowhere here
epochs = 3
rate: float = 0.1
name: str = "digits"
fast = False
seed: int | None = None
tags: list[str] = [
    "a",  # over several lines
]
extra: "Optional[dict]" = {}
path: Path = Path("x")
free = None
made = os.getpid()
given: int
first = second = 1
a, b = 1, 2
epochs += 1
"""


def notebook(cell: str | None = CELL, **more: Any) -> bytes:
    """A notebook with this parameters cell."""
    cells: list[dict[str, Any]] = [{"cell_type": "markdown", "metadata": {"tags": ["x"]}, "source": "#"}]
    if cell is not None:
        lines = cell.splitlines(keepends=True)
        cells += [{"cell_type": "code", "metadata": {"tags": ["x", "parameters"]}, "source": lines}]
    cells += [{"cell_type": "code", "metadata": {}, "source": "hidden = 1"}]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells, **more}).encode()


def test_the_cell_says_names_defaults_and_types() -> None:
    kinds = {
        "epochs": (3, True, {"int"}),
        "rate": (0.1, True, {"float"}),
        "name": ("digits", True, {"str"}),
        "fast": (False, True, {"bool"}),
        "seed": (None, True, {"int", "None"}),
        "tags": (["a"], True, {"list"}),
        "extra": ({}, True, {"dict", "None"}),
        "path": (None, False, set()),
        "free": (None, True, {"None"}),
        "made": (None, False, set()),
        "given": (None, False, {"int"}),
        "first": (1, True, {"int"}),
        "second": (1, True, {"int"}),
    }
    expected = {name: Parameter(name, v, known, frozenset(types)) for name, (v, known, types) in kinds.items()}
    expected["free"] = Parameter("free", None, True)
    assert declared(CELL) == expected


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"epochs": 5, "rate": 0.5, "name": "x", "fast": True},
        {"rate": 1},
        {"seed": None},
        {"seed": 7},
        {"tags": []},
        {"extra": None},
        {"extra": {"a": 1}},
        {"path": "x", "free": [1], "made": {"a": None}},
    ],
)
def test_what_fits_is_let_through(given: dict[str, Any]) -> None:
    assert check(notebook(), given).allowed


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ({"x=1\nimport os": 1}, "parameter_name", {"name": r"'x=1\nimport os'"}),
        ({"epochs ": 1}, "parameter_name", {"name": "epochs "}),
        ({"class": 1}, "parameter_name", {"name": "class"}),
        ({"None": 1}, "parameter_name", {"name": "None"}),
        ({"": 1}, "parameter_name", {"name": ""}),
        ({"epoch": 1}, "parameter_unknown", {"name": "epoch"}),
        ({"hidden": 1}, "parameter_unknown", {"name": "hidden"}),
        ({"os": 1}, "parameter_unknown", {"name": "os"}),
        ({"ｎame": "x"}, "parameter_unknown", {"name": "ｎame"}),
        ({"epochs": "many"}, "parameter_type", {"value": "many", "type": "str", "wanted": "int"}),
        ({"epochs": 3.0}, "parameter_type", {"value": "3.0", "type": "float", "wanted": "int"}),
        ({"epochs": True}, "parameter_type", {"value": "True", "type": "bool", "wanted": "int"}),
        ({"epochs": None}, "parameter_type", {"wanted": "int"}),
        ({"rate": True}, "parameter_type", {"wanted": "float"}),
        ({"fast": 1}, "parameter_type", {"wanted": "bool"}),
        ({"name": ["x"]}, "parameter_type", {"wanted": "str"}),
        ({"tags": {"a": 1}}, "parameter_type", {"wanted": "list"}),
        ({"seed": "x"}, "parameter_type", {"wanted": "int | None"}),
        ({"rate": float("nan")}, "parameter_number", {"value": "nan"}),
        ({"free": [1.0, float("-inf")]}, "parameter_number", {}),
        ({"free": {"a": float("inf")}}, "parameter_number", {}),
    ],
)
def test_what_does_not_fit_is_named(given: dict[str, Any], code: str, says: dict[str, str]) -> None:
    verdict = check(notebook(), given)
    assert (verdict.allowed, verdict.code) == (False, code)
    assert {name: verdict.facts[name] for name in says} == says


def cells(*of: tuple[str, list[str], str]) -> bytes:
    """A notebook of these cells: type, tags, source."""
    made = [{"cell_type": kind, "metadata": {"tags": tags}, "source": text} for kind, tags, text in of]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made}).encode()


def test_a_first_tagged_cell_that_is_no_code_is_refused_since_the_runner_would_paste_behind_it() -> None:
    text, code = ("markdown", ["parameters"], "# Parameters"), ("code", ["parameters"], "epochs = 3")
    verdict = check(cells(("code", [], "x = 1"), text, code), {"epochs": 5})
    assert (verdict.allowed, verdict.code, dict(verdict.facts)) == (False, "parameters_cell", {"cell": 2})
    assert check(cells(code, text), {"epochs": 5}).allowed, "the first one counts"


def test_what_an_earlier_run_put_in_declares_nothing() -> None:
    put_in = ("code", ["parameters", "injected-parameters"], "old = 1")
    verdict = check(cells(put_in, ("code", ["parameters"], "epochs = 3")), {"old": 5})
    assert (verdict.code, verdict.facts["declared"]) == ("parameter_unknown", "epochs")


def test_a_tag_that_is_a_text_counts_as_the_runner_counts_it() -> None:
    text = {"cell_type": "markdown", "metadata": {"tags": "parameters"}, "source": "# Parameters"}
    code = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "epochs = 3"}
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [text, code]}
    assert check(json.dumps(content).encode(), {"epochs": 5}).code == "parameters_cell"


def test_a_notebook_without_a_parameters_cell_takes_none() -> None:
    assert check(notebook(None), {}).allowed
    verdict = check(notebook(None), {"hidden": 1})
    assert (verdict.code, verdict.facts["declared"]) == ("parameter_unknown", "")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "notebook_json"),
        (b"\xff\xfe", "notebook_json"),
        (b"print('no notebook')", "notebook_json"),
        (b"[" * 100_000, "notebook_json"),
        (b'{"nbformat": ' + b"9" * 5000 + b"}", "notebook_json"),
        (b"[]", "notebook_format"),
        (b'{"nbformat": 3, "worksheets": []}', "notebook_format"),
        (b'{"nbformat": 4, "cells": [1]}', "notebook_format"),
        (b'{"nbformat": 4, "cells": {}}', "notebook_format"),
        (notebook(metadata={"kernelspec": {"language": "julia", "name": "julia"}}), "notebook_language"),
        (notebook(metadata={"language_info": {"name": "R"}}), "notebook_language"),
    ],
)
def test_what_is_no_python_notebook_is_refused_even_without_parameters(content: bytes, code: str) -> None:
    assert check(content, {}).code == code
    assert check(content, {"epochs": 1}).code == code


@pytest.mark.parametrize(
    "cell",
    [
        "epochs = ",
        "%matplotlib inline\nepochs = 3",
        "x = '\x00'",
        "x = " + "(" * 5000,
        "x = " + "-" * 19_000 + "1",
        "x = " + "1+" * 9_000 + "1",
        "#" * (CELL_LIMIT + 1),
    ],
    ids=["half", "magic", "nul", "brackets", "signs", "sums", "long"],
)
def test_a_cell_that_cannot_be_read_takes_no_parameters_and_still_runs(cell: str) -> None:
    assert check(notebook(cell), {}).allowed
    verdict = check(notebook(cell), {"epochs": 1})
    assert not verdict.allowed
    assert verdict.code in ("parameters_syntax", "parameters_large", "parameter_unknown")


@pytest.mark.parametrize("about", [None, 1, [], {"kernelspec": 1}, {"kernelspec": {"language": 3}}])
def test_odd_metadata_is_no_obstacle(about: Any) -> None:
    assert check(notebook(metadata=about), {"epochs": 1}).allowed

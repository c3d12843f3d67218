"""A notebook's function as a file of its own."""

from __future__ import annotations

import builtins
import functools
import linecache
from typing import Any

import pytest

import dure
from dure.errors import BadRequest
from dure.sdk_errors import NotSelfContained, NotTrainable
from dure.source import as_module, check_parameters

LIMIT = 3


def whole(ctx: dure.Context, rows: int = 2, *, name: str = "a") -> list[int]:
    """Uses only what is its own."""
    import math

    def twice(value: int) -> int:
        return value * 2 if value else whole(ctx, value)[0]

    class Box:
        size = rows

    found = [twice(number) for number in range(rows)]
    dure.context().log(loss=math.pi, size=Box.size)
    return sorted(found, key=lambda value: -value)


def borrows(rows: int) -> Any:
    """Uses names of its notebook."""

    def inner() -> int:
        return LIMIT

    return pytest, rows, inner


def test_a_whole_function_runs_as_a_module_of_its_own() -> None:
    space: dict[str, Any] = {}
    source = as_module(whole)
    exec(compile(source, "entry.py", "exec"), space)  # noqa: S102 - our own text, as the worker would import it
    assert space["whole"].__name__ == "whole"
    assert "import dure" in source


def test_borrowed_names_are_named_with_the_rule() -> None:
    with pytest.raises(NotSelfContained, match="LIMIT, pytest") as problem:
        as_module(borrows)
    assert "own body" in str(problem.value)
    assert "LIMIT" in problem.value.text("ko")


def test_a_name_of_an_enclosing_function_is_borrowed_too() -> None:
    rate = 0.1

    def inner() -> float:
        return rate

    with pytest.raises(NotSelfContained, match="rate"):
        as_module(inner)


def test_defaults_and_decorators_count_annotations_do_not() -> None:
    def with_default(rows: int = LIMIT) -> None: ...

    def with_annotation(rows: NotSelfContained) -> None: ...

    with pytest.raises(NotSelfContained, match="LIMIT"):
        as_module(with_default)
    assert "with_annotation" in as_module(with_annotation)


@pytest.mark.parametrize("entry", [lambda: None, len, dict, "".join])
def test_what_is_no_plain_function_is_refused(entry: Any) -> None:
    with pytest.raises(NotTrainable):
        as_module(entry)


def in_a_notebook(code: str) -> Any:
    """The function `train` of a cell with this code."""
    name, space = "<cell>", dict[str, Any]()
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    exec(compile(code, name, "exec"), space)  # noqa: S102 - as a kernel runs a cell
    return space["train"]


def test_what_only_a_kernel_has_is_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("get_ipython", "display"):
        monkeypatch.setattr(builtins, name, print, raising=False)
    with pytest.raises(NotSelfContained, match=r"display, get_ipython .*magic"):
        as_module(in_a_notebook("def train():\n    get_ipython().run_line_magic('time', '')\n    display(1)\n"))


def test_a_decorator_that_hides_the_function_is_named() -> None:
    with pytest.raises(NotTrainable, match="lru_cache") as problem:
        as_module(functools.lru_cache(whole))
    assert "데코레이터" in problem.value.text("ko")


def test_asynchronous_functions_are_refused() -> None:
    async def later() -> None: ...

    with pytest.raises(NotTrainable, match="asynchronous"):
        as_module(later)


def test_parameters_are_checked_before_anything_is_sent() -> None:
    check_parameters(whole, {"rows": 3})
    with pytest.raises(BadRequest, match="epochs"):
        check_parameters(whole, {"epochs": 3})
    with pytest.raises(BadRequest, match="rows"):
        check_parameters(borrows, {})
    with pytest.raises(BadRequest, match="ctx"):
        check_parameters(whole, {"ctx": 1})

"""Forms from signatures: of functions as they are, of files by reading only."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Any, Literal, Optional

import numpy as np
import pytest

from dure.errors import BadRequest
from dure.sdk_errors import MissingFile, NotTrainable
from dure_widgets.entries import Parameter, read_entry, value_of

FILE = """
import this_module_is_nowhere
raise SystemExit("a file that is read must not run")

def main(ctx, epochs: int, lr: float = 1e-3, kind: "Literal['a', 'b']" = "b", deep: bool = False,
         seed: Optional[int] = None, where: str | None = "here", *, sizes=(1, 2), plain=3, **more):
    pass
"""


def train(  # type: ignore[no-untyped-def] # one parameter has no hint, as in many notebooks
    ctx: Any,
    epochs: int,
    lr: float = 1e-3,
    kind: Literal["a", "b"] = "b",
    deep: bool = False,
    seed: Optional[int] = None,  # noqa: UP045 - the older spelling is what is tested
    where: str | None = "here",
    *,
    sizes: Any = (1, 2),
    plain=3,
    **more: Any,
) -> None:
    """One of everything."""


EXPECTED = (
    Parameter("epochs", "int", required=True),
    Parameter("lr", "float", default=1e-3),
    Parameter("kind", "choice", default="b", choices=("a", "b")),
    Parameter("deep", "bool", default=False),
    Parameter("seed", "int", optional=True),
    Parameter("where", "str", default="here", optional=True),
    Parameter("plain", "int", default=3),
)


def test_a_function_and_a_file_give_the_same_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    assert read_entry(train).parameters == EXPECTED
    assert read_entry("train.py:main").parameters == EXPECTED
    assert read_entry(train).free
    assert read_entry("train.py:main").free


def test_a_file_without_a_function_takes_whatever_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(FILE)
    signature = read_entry(tmp_path / "train.py")
    assert signature.free
    assert signature.parameters == ()


def test_what_cannot_be_read_is_an_error_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(FILE)
    (tmp_path / "broken.py").write_text("def (")
    with pytest.raises(MissingFile):
        read_entry(str(tmp_path / "gone.py"))
    with pytest.raises(NotTrainable, match="defines no function other"):
        read_entry(f"{tmp_path}/train.py:other")
    with pytest.raises(NotTrainable, match="not Python"):
        read_entry(f"{tmp_path}/broken.py:main")


@pytest.mark.parametrize(
    ("parameter", "given", "value"),
    [
        (Parameter("n", "int"), " 20 ", 20),
        (Parameter("n", "float"), "1e-3", 0.001),
        (Parameter("n", "float"), "2", 2.0),
        (Parameter("n", "bool"), True, True),
        (Parameter("n", "choice", choices=(1, 2)), "2", 2),
        (Parameter("n", "str", default="x"), "", ""),
        (Parameter("n", "str"), " kept ", " kept "),
        (Parameter("n", "int", optional=True), "", None),
        (Parameter("n", "any"), "7", 7),
        (Parameter("n", "any"), "0.5", 0.5),
        (Parameter("n", "any"), "true", True),
        (Parameter("n", "any"), "adam", "adam"),
    ],
)
def test_a_field_stands_for_a_value(parameter: Parameter, given: Any, value: Any) -> None:
    found = value_of(parameter, given)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("parameter", "given", "rule"),
    [
        (Parameter("n", "int"), "1.5", "whole number"),
        (Parameter("n", "int"), "many", "whole number"),
        (Parameter("n", "int", default=3), "", "needs a value"),
        (Parameter("n", "float"), "nan", "finite"),
        (Parameter("n", "float"), "1e999", "finite"),
        (Parameter("n", "choice", choices=("a",)), "b", "one of the choices"),
        (Parameter("n", "str", required=True), "", "needs a value"),
        (Parameter("n", "any", required=True), None, "needs a value"),
    ],
)
def test_a_value_that_breaks_a_rule_is_refused_by_name(parameter: Parameter, given: Any, rule: str) -> None:
    with pytest.raises(BadRequest, match=rf"n = .* is not accepted: .*{rule}"):
        value_of(parameter, given)


class Mode(enum.IntEnum):
    """A number by name."""

    FAST = 1


class Colour(str, enum.Enum):  # noqa: UP042 - the older spelling is what is tested
    """A text by name."""

    RED = "red"


RATE, COUNT, TABLE = np.float64(0.5), np.int64(3), np.zeros(3)


def odd(  # type: ignore[no-untyped-def] # the kind is that of the default
    rate=RATE,
    count=COUNT,
    mode=Mode.FAST,
    colour=Colour.RED,
    flag: Literal[True, False] = True,
    big=2**63 - 1,
    limit=float("inf"),
    table=TABLE,
) -> None:
    """Defaults that are scalars of a kind of their own."""


def test_a_default_of_a_kind_of_its_own_is_the_scalar_that_it_is() -> None:
    fields = [one.as_field() for one in read_entry(odd).parameters]
    assert [(one["name"], one["kind"], one["default"]) for one in fields] == [
        ("rate", "float", 0.5),
        ("count", "int", 3),
        ("mode", "int", 1),
        ("colour", "str", "red"),
        ("flag", "bool", True),
        ("big", "int", "9223372036854775807"),
        ("limit", "float", "inf"),
    ]
    assert json.loads(json.dumps(fields, allow_nan=False)) == [{**one, "choices": []} for one in fields]
    assert value_of(read_entry(odd).parameters[5], "9223372036854775807") == 2**63 - 1

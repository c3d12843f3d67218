"""What an entry takes, read from its own signature. A file is parsed and never imported."""

from __future__ import annotations

import ast
import enum
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from dure.errors import BadRequest, Text
from dure.sdk_errors import MissingFile, NotTrainable
from dure.source import CONTEXT

Kind = Literal["int", "float", "bool", "choice", "str", "any"]
PLAIN: dict[type, Kind] = {bool: "bool", int: "int", float: "float", str: "str"}
NAMED: dict[str, Kind] = {"int": "int", "float": "float", "bool": "bool", "str": "str"}
SCALARS = (bool, int, float, str)
EXACT = 2**53
"""A browser's numbers are whole up to here; a larger one goes there as text."""
_NOTHING = object()


@dataclass(frozen=True)
class Parameter:
    """One parameter. `default` is None where it is required, or where None is the default itself."""

    name: str
    kind: Kind
    required: bool = False
    default: Any = None
    choices: tuple[Any, ...] = ()
    optional: bool = False
    """Whether None may be given, which an empty field stands for."""

    def as_field(self) -> dict[str, Any]:
        """For the browser."""
        plain = None if self.default is None else plain_of(self.default)
        if self.choices and plain is not None:
            plain = shown(self.default)  # as the choice itself is shown
        elif isinstance(plain, float) and not math.isfinite(plain):
            plain = str(plain)  # JSON has no word for it
        elif isinstance(plain, int) and not isinstance(plain, bool) and abs(plain) > EXACT:
            plain = str(plain)
        return asdict(self) | {"default": plain, "choices": [shown(choice) for choice in self.choices]}


def plain_of(value: Any) -> Any:
    """A scalar of a kind of its own (an enumeration's, NumPy's) as the scalar that it is."""
    if isinstance(value, enum.Enum):
        value = value.value
    kind = next((kind for kind in SCALARS if isinstance(value, kind)), None)
    return value if kind is None else kind(value)


def shown(value: Any) -> str:
    """A value as its field shows it; nothing for None, as an empty field stands for it."""
    return "" if value is None else str(plain_of(value))


@dataclass(frozen=True)
class Signature:
    """The parameters of an entry; `free` where it takes others too, or where they cannot be known."""

    label: str
    parameters: tuple[Parameter, ...] = ()
    free: bool = False


def read_entry(entry: Callable[..., Any] | str | Path) -> Signature:
    """The signature of a function, of `file.py:function`, or of a file (whose arguments nobody can know)."""
    if callable(entry):
        return _of_function(entry)
    text, _, function = str(entry).partition(":")
    if not Path(text).is_file():
        raise MissingFile(path=text, folder=str(Path.cwd()))
    if not function:
        return Signature(str(entry), free=True)
    try:
        tree = ast.parse(Path(text).read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise NotTrainable(entry=str(entry), why=NO_PYTHON) from error
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return Signature(str(entry), tuple(_of_arguments(node.args)), free=node.args.kwarg is not None)
    raise NotTrainable(entry=str(entry), why={k: v.format(name=function) for k, v in NO_FUNCTION.items()})


def _of_function(function: Callable[..., Any]) -> Signature:
    label = getattr(function, "__name__", repr(function))
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return Signature(label, free=True)
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # noqa: BLE001 - a hint may name anything; without hints the defaults still tell the kind
        hints = {}
    found = []
    for name, parameter in signature.parameters.items():
        if name == CONTEXT or parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            continue
        default = _NOTHING if parameter.default is inspect.Parameter.empty else parameter.default
        found.append(_parameter(name, *_of_hint(hints.get(name, _NOTHING)), default))
    free = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    return Signature(label, tuple(one for one in found if one is not None), free)


def _parameter(
    name: str, kind: Kind | None, choices: tuple[Any, ...], optional: bool, default: Any
) -> Parameter | None:
    """None for one that no form can give: its default is no scalar, and the job uses it as it is."""
    required = default is _NOTHING
    if not required and not isinstance(default, SCALARS) and hasattr(default, "item"):
        default = _item(default)
    if not required and default is not None and not isinstance(default, SCALARS):
        return None
    if kind is None:
        kind = "any" if required or default is None else _kind_of(default)
    if choices and all(isinstance(choice, bool) for choice in choices):
        kind, choices = "bool", ()
    if choices and not required and default not in choices:
        choices = (default, *choices)
    optional = optional or (not required and default is None)
    return Parameter(name, kind, required, None if required else default, choices, optional)


def _kind_of(default: Any) -> Kind:
    return next(kind for plain, kind in PLAIN.items() if isinstance(default, plain))


def _item(default: Any) -> Any:
    try:
        return default.item()  # a NumPy number is a number to whoever wrote it
    except (TypeError, ValueError, RuntimeError):
        return default  # an array of several, which no field can give


def _of_hint(hint: Any) -> tuple[Kind | None, tuple[Any, ...], bool]:
    """Kind, choices and whether None is allowed, of an annotation."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(hint) if part is not type(None)]
        kind, choices, _ = _of_hint(inner[0]) if len(inner) == 1 else (None, (), False)
        return kind, choices, len(inner) < len(typing.get_args(hint))
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        return "choice", tuple(one for one in choices if one is not None), None in choices
    return (PLAIN.get(hint) if isinstance(hint, type) else None), (), False


def _of_arguments(arguments: ast.arguments) -> Iterator[Parameter]:
    plain = arguments.args
    defaults: list[ast.expr | None] = [None] * (len(arguments.posonlyargs) + len(plain) - len(arguments.defaults))
    defaults = [*defaults, *arguments.defaults][len(arguments.posonlyargs) :]
    pairs = [*zip(plain, defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    for argument, given in pairs:
        if argument.arg == CONTEXT:
            continue
        default = _NOTHING if given is None else _literal(given)
        if (found := _parameter(argument.arg, *_of_node(argument.annotation), default)) is not None:
            yield found


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return node  # computed in the file: no scalar that a form could show


def _of_node(node: ast.expr | None) -> tuple[Kind | None, tuple[Any, ...], bool]:
    """As `_of_hint`, of an annotation that is only text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return _of_node(ast.parse(node.value, mode="eval").body)
        except SyntaxError:
            return None, (), False
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        sides = [side for side in (node.left, node.right) if ast.unparse(side) != "None"]
        return (*_of_node(sides[0])[:2], True) if len(sides) == 1 else (None, (), False)
    if isinstance(node, ast.Subscript):
        outer = ast.unparse(node.value).rpartition(".")[2]
        if outer == "Optional":
            return (*_of_node(node.slice)[:2], True)
        if outer == "Literal":
            value = _literal(node.slice)
            choices = value if isinstance(value, tuple) else (value,)
            return "choice", tuple(one for one in choices if isinstance(one, SCALARS)), None in choices
    return (NAMED.get(node.id) if isinstance(node, ast.Name) else None), (), False


def value_of(parameter: Parameter, given: Any) -> Any:
    """The value that a field stands for. Raises `BadRequest` with the rule that it breaks.

    An empty field is None where that is allowed, and refused where a value is needed.
    """
    if isinstance(given, str) and parameter.kind != "str":
        given = given.strip()
    if given in ("", None) and (parameter.kind != "str" or parameter.required or parameter.optional):
        if parameter.optional and not parameter.required:
            return None
        raise BadRequest(field=parameter.name, value=repr(given or ""), rule=NEEDED)
    try:
        return _READERS[parameter.kind](parameter, given)
    except ValueError as error:
        raise BadRequest(field=parameter.name, value=repr(given)[:80], rule=RULES[parameter.kind]) from error


def _boolean(_parameter: Parameter, given: Any) -> bool:
    if isinstance(given, bool):
        return given
    if str(given).lower() not in ("true", "false"):
        raise ValueError(given)
    return str(given).lower() == "true"


def _number(_parameter: Parameter, given: Any) -> float:
    number = float(given)
    if not math.isfinite(number):
        raise ValueError(given)
    return number


def _choice(parameter: Parameter, given: Any) -> Any:
    for choice in parameter.choices:
        if shown(choice) == str(given):
            return choice
    raise ValueError(given)


def _guess(parameter: Parameter, given: Any) -> Any:
    for reader in (_whole, _number, _boolean):
        try:
            return reader(parameter, given)
        except ValueError:
            continue
    return str(given)


def _whole(_parameter: Parameter, given: Any) -> int:
    return int(str(given), 10)


_READERS: dict[Kind, Callable[[Parameter, Any], Any]] = {
    "int": _whole,
    "float": _number,
    "bool": _boolean,
    "choice": _choice,
    "str": lambda _parameter, given: str(given or ""),
    "any": _guess,
}
NEEDED: Text = {"en": "it needs a value", "ko": "값이 필요합니다"}
RULES: dict[Kind, Text] = {
    "int": {"en": "it is a whole number", "ko": "정수여야 합니다"},
    "float": {"en": "it is a finite number", "ko": "유한한 수여야 합니다"},
    "bool": {"en": "it is true or false", "ko": "true 또는 false여야 합니다"},
    "choice": {"en": "it is one of the choices", "ko": "목록에 있는 값이어야 합니다"},
    "str": {"en": "it is a text", "ko": "문자열이어야 합니다"},
    "any": {"en": "it is a number or a text", "ko": "수 또는 문자열이어야 합니다"},
}
NO_PYTHON: Text = {"en": "it is not Python", "ko": "파이썬 코드가 아닙니다"}
NO_FUNCTION: Text = {"en": "it defines no function {name}", "ko": "{name} 함수가 정의되어 있지 않습니다"}

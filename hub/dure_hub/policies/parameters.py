"""Which parameters a notebook takes, and whether these may be given to it. Nothing of it is ever executed.

The runner pastes names into the notebook as they are, so a name is let through only if the notebook's own
`parameters` cell assigns it. That cell is read as a syntax tree. It is the first that is tagged so, whatever its
type, since the runner pastes behind that one; what an earlier run has pasted is taken out before.
"""

from __future__ import annotations

import ast
import json
import keyword
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dure_hub.policies.verdict import Verdict

TAG, INJECTED = "parameters", "injected-parameters"
NOTEBOOK_LIMIT = 32 << 20
"""Bytes of a notebook that is read at all."""
CELL_LIMIT = 20_000
"""Characters of a parameters cell; the parser's memory and depth grow with them."""
SHOWN = 80
_NONE = "None"
_SCALARS = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict, _NONE: type(None)}
_NAMES = {**{name: name for name in _SCALARS}, "List": "list", "Dict": "dict"}


@dataclass(frozen=True)
class Parameter:
    """A name that the parameters cell assigns.

    `default` is its value if `known`; an expression is not. `types` are names out of int, float, str, bool, list,
    dict and None; empty where any value will do.
    """

    name: str
    default: Any = None
    known: bool = False
    types: frozenset[str] = frozenset()


class Unreadable(ValueError):
    """A notebook whose parameters cannot be read; `verdict` says why."""

    def __init__(self, code: str, **facts: Any) -> None:
        super().__init__(code)
        self.verdict = Verdict.no(code, **facts)


def check(notebook: bytes, given: Mapping[str, Any]) -> Verdict:
    """Whether this notebook can be run with these parameters."""
    try:
        cell = parameters_cell(notebook)
        if not given:
            return Verdict.yes("parameters_fit")
        return judge(declared(cell) if cell is not None else {}, given)
    except Unreadable as error:
        return error.verdict


def judge(known: Mapping[str, Parameter], given: Mapping[str, Any]) -> Verdict:
    """Whether each given value has a declared name and a type that its declaration allows."""
    for name, value in given.items():
        if not name.isidentifier() or keyword.iskeyword(name):
            return Verdict.no("parameter_name", name=_shown(name))
        parameter = known.get(name)
        if parameter is None:
            return Verdict.no("parameter_unknown", name=name, declared=", ".join(known))
        if not _finite(value):
            return Verdict.no("parameter_number", name=name, value=_shown(value))
        if parameter.types and not any(_is(value, kind) for kind in parameter.types):
            wanted = " | ".join(sorted(parameter.types, key=list(_SCALARS).index))
            return Verdict.no(
                "parameter_type", name=name, value=_shown(value), type=type(value).__name__, wanted=wanted
            )
    return Verdict.yes("parameters_fit")


def parameters_cell(notebook: bytes) -> str | None:
    """The source of the first cell tagged `parameters`; None without one. Raises `Unreadable`."""
    if len(notebook) > NOTEBOOK_LIMIT:
        raise Unreadable("notebook_large", limit_mb=NOTEBOOK_LIMIT >> 20)
    try:
        content = json.loads(notebook)
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number without end, too deep
        raise Unreadable("notebook_json") from error
    if not isinstance(content, dict) or content.get("nbformat") != 4 or not _cells(content):
        found = content.get("nbformat") if isinstance(content, dict) else None
        raise Unreadable("notebook_format", found=_shown(found))
    for language in _languages(content):
        if language.lower() != "python":
            raise Unreadable("notebook_language", language=_shown(language))
    for number, cell in enumerate(content["cells"], 1):
        tags = _dict(cell.get("metadata")).get("tags")
        tags = tags if isinstance(tags, list | str) else ()  # the runner looks into a text as into a list
        if TAG not in tags or INJECTED in tags:
            continue
        if cell.get("cell_type") != "code":
            raise Unreadable("parameters_cell", cell=number)
        return _source(cell.get("source"))
    return None


def declared(cell: str) -> dict[str, Parameter]:
    """What a parameters cell assigns, in its order; the last assignment of a name counts. Raises `Unreadable`."""
    if len(cell) > CELL_LIMIT:
        raise Unreadable("parameters_large", limit=CELL_LIMIT)
    try:
        body = ast.parse(cell).body
    except SyntaxError as error:
        raise Unreadable("parameters_syntax", line=error.lineno) from error
    except (ValueError, RecursionError, MemoryError) as error:  # a NUL; brackets or signs beyond all reason
        raise Unreadable("parameters_syntax", line=None) from error
    found: dict[str, Parameter] = {}
    for statement in body:
        for parameter in _assigned(statement):
            found[parameter.name] = parameter
    return found


def _assigned(statement: ast.stmt) -> list[Parameter]:
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        default, known = _literal(statement.value)
        types = _annotated(statement.annotation)
        if types and known and default is None:
            types |= {_NONE}
        return [Parameter(statement.target.id, default, known, types)]
    if isinstance(statement, ast.Assign):
        default, known = _literal(statement.value)
        types = _type_of(default) if known else frozenset()
        names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
        return [Parameter(name, default, known, types) for name in names]
    return []


def _literal(value: ast.expr | None) -> tuple[Any, bool]:
    if value is None:
        return None, False
    try:
        return ast.literal_eval(value), True
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None, False


def _type_of(default: Any) -> frozenset[str]:
    """The type that a default stands for; none says nothing, nor does one that no parameter can have."""
    name = type(default).__name__
    return frozenset({name}) if name in _SCALARS else frozenset()


def _annotated(annotation: ast.expr) -> frozenset[str]:
    """The types an annotation allows; empty (any) where it says something that is not known here."""
    try:
        return _named(annotation)
    except (_AnyType, SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()


class _AnyType(Exception):
    """An annotation that is not one of the known types."""


def _named(node: ast.expr) -> frozenset[str]:
    if isinstance(node, ast.Constant) and node.value is None:
        return frozenset({_NONE})
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _named(ast.parse(node.value, mode="eval").body)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _named(node.left) | _named(node.right)
    outer = node.value if isinstance(node, ast.Subscript) else node
    name = outer.attr if isinstance(outer, ast.Attribute) else outer.id if isinstance(outer, ast.Name) else ""
    if isinstance(node, ast.Subscript) and name in ("Optional", "Union"):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        parts = [_named(part) for part in inner]
        return frozenset({_NONE} if name == "Optional" else ()).union(*parts)
    if name not in _NAMES:
        raise _AnyType
    return frozenset({_NAMES[name]})


def _is(value: Any, kind: str) -> bool:
    """Whether a value has this type: true is no number, and a whole number is one with decimals too."""
    if isinstance(value, bool):
        return kind == "bool"
    if kind == "float":
        return isinstance(value, int | float)
    return isinstance(value, _SCALARS[kind])


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(_finite(inner) for inner in value.values())
    return not isinstance(value, list) or all(_finite(inner) for inner in value)


def _languages(content: Mapping[str, Any]) -> list[str]:
    """What a notebook says of its language; nothing is Python."""
    about = _dict(content.get("metadata"))
    said = (_dict(about.get("kernelspec")).get("language"), _dict(about.get("language_info")).get("name"))
    return [language for language in said if isinstance(language, str)]


def _cells(content: Mapping[str, Any]) -> bool:
    cells = content.get("cells")
    return isinstance(cells, list) and all(isinstance(cell, dict) for cell in cells)


def _source(source: Any) -> str:
    """A cell's text: one string, or its lines."""
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        return "".join(source)
    if isinstance(source, str):
        return source
    raise Unreadable("notebook_format", found="4")


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _shown(value: Any) -> str:
    """A value as it stands in a sentence: on one line, cut short."""
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"

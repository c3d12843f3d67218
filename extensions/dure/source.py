"""A notebook's function as a file of its own.

The job gets the function's source and nothing of the notebook around it. So a function may use what it defines
and imports itself, its parameters, Python's own names, and `dure`; any other name is an error before sending.
"""

from __future__ import annotations

import builtins
import inspect
import symtable
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dure.errors import BadRequest
from dure.sdk_errors import NotSelfContained, NotTrainable

HEADER = "from __future__ import annotations\n\nimport dure\n\n"
PROVIDED = frozenset({"dure"})
KERNELS_OWN = {
    "get_ipython": "get_ipython (a magic, as %time or !ls)",
    "display": "display",
    "__IPYTHON__": "__IPYTHON__",
}
"""What a kernel adds to Python's own names, as an error should say it; a job has none of them."""
CONTEXT = "ctx"
"""The parameter that gets the job's context instead of a value."""


def as_module(function: Callable[..., Any]) -> str:
    """The text of a module that holds just this function. Raises where it would not run by itself."""
    name = getattr(function, "__name__", repr(function))
    if hasattr(function, "__wrapped__") and not inspect.isfunction(function):
        raise NotTrainable(entry=name, why=HIDDEN)
    if not inspect.isfunction(function) or name == "<lambda>":
        raise NotTrainable(entry=name, why="it is not a function written with `def`")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise NotTrainable(entry=name, why="it is asynchronous or a generator")
    try:
        source = HEADER + textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise NotTrainable(entry=name, why="its source is not known here") from error
    try:
        foreign = foreign_names(source, name)
    except SyntaxError as error:
        raise NotTrainable(entry=name, why=NO_PYTHON) from error
    if foreign:
        raise NotSelfContained(function=name, names=", ".join(KERNELS_OWN.get(one, one) for one in foreign))
    return source


HIDDEN = {
    "en": "a decorator such as lru_cache hides the function; define it without the decorator",
    "ko": "lru_cache 같은 데코레이터가 함수를 가립니다. 데코레이터 없이 정의하세요",
}
NO_PYTHON = {
    "en": "its source is not plain Python (a magic, as %time or !ls, works in a notebook only)",
    "ko": "순수한 파이썬 코드가 아닙니다(%time, !ls 같은 매직은 노트북에서만 동작합니다)",
}


def foreign_names(source: str, function: str) -> list[str]:
    """Names that the function in this module uses and that neither it nor the module defines."""
    top = symtable.symtable(source, "entry.py", "exec")
    defined = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    known = defined | {function} | PROVIDED | (set(dir(builtins)) - set(KERNELS_OWN)) | {"__file__", "__name__"}
    used = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    for table in _below(top):
        used |= {s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced()}
    return sorted(used - known)


def _below(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        # Annotations are never evaluated in the job (see HEADER), so what they name need not be there.
        if "annotation" not in str(child.get_type()).lower():
            yield child
            yield from _below(child)


def check_parameters(function: Callable[..., Any], parameters: Mapping[str, Any]) -> None:
    """Find a missing or unknown parameter now, not minutes later in the job."""
    signature = inspect.signature(function)
    given = dict(parameters)
    if CONTEXT in given:
        raise BadRequest(field="parameters", value=CONTEXT, rule="this name is kept for the job's context")
    if CONTEXT in signature.parameters:
        given[CONTEXT] = None
    try:
        signature.bind(**given)
    except TypeError as error:
        rule = f"{function.__name__}{signature}: {error}"
        raise BadRequest(field="parameters", value=sorted(parameters), rule=rule) from None

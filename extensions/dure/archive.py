"""Whether a `.pt2` archive can be loaded without running what somebody put into it.

`torch.export.load` unpickles what the archive marks as pickled, looks graph targets up by name in `torch`, and
hands shape expressions to a parser that evaluates Python. So before it is loaded every record must be one of:
raw tensor bytes, JSON whose targets and expressions are plain, a short text, or a pickle that torch's restricted
reader takes (tensors and plain containers only).
"""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dure.sdk_errors import BadModelFolder

CONFIG = re.compile(r"data/(?:weights|constants)/[^/]+_config\.json")
PAYLOAD = re.compile(r"(?:weight|tensor)_\d+")
GRAPH = re.compile(r"models/[^/]+\.json")
SAMPLE = re.compile(r"data/sample_inputs/[^/]+\.pt")
SHORT = frozenset({"version", "archive_format", "archive_version", "byteorder", "serialization_id"})
# An operator may begin with one underscore and then names its overload; `_dir` is the namespace's own list.
TARGET = re.compile(
    r"torch\.ops\.(?:aten|prims|prim|higher_order|quantized_decomposed)\."
    r"(?:[A-Za-z]\w*(?:\.[A-Za-z]\w*)?|_(?!dir\b)[A-Za-z]\w*\.[A-Za-z]\w*)"
    r"|torch\.sym_[a-z]+|math\.[a-z0-9]+"
    r"|_operator\.(?:add|sub|mul|floordiv|truediv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem)"
)
# sympy classes with their keywords, symbols such as s31, numbers, operators: nothing that Python could call.
# What has matched stays matched (`*+`): a text made to be tried in every way costs one look all the same.
EXPRESSION = re.compile(
    r"(?![\s\S]*__)(?:[A-Z]\w*+|[a-z]\w*+(?=\s*+=)|[a-z]{1,2}+\d++|floor|ceiling|'\w++'"
    r"|\d++(?:\.\d*+)?+|[\s()+\-*/,<>=!&|~%])*+"
)


def check(file: Path) -> None:
    """Raise `BadModelFolder` where a record of this archive could do more than hold a model."""
    try:
        with zipfile.ZipFile(file) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            if len({info.filename for info in infos}) != len(infos):
                raise _bad(file, "two records share a name")
            if len({info.filename.partition("/")[0] for info in infos}) != 1:
                raise _bad(file, "its records do not lie in one folder")
            configs = {_inner(i): archive.read(i) for i in infos if CONFIG.fullmatch(_inner(i))}
            raw = _raw_tensors(configs)
            for info in infos:
                if _inner(info) not in raw and not _harmless(_inner(info), archive.read(info)):
                    raise _bad(file, f"its record {info.filename} could run code")
    except zipfile.BadZipFile as error:
        raise _bad(file, "it is not a model archive") from error


def _inner(info: zipfile.ZipInfo) -> str:
    return info.filename.partition("/")[2]  # the archive's own name comes first


def _bad(file: Path, why: str) -> BadModelFolder:
    return BadModelFolder(folder=str(file), why=why)


def _harmless(name: str, content: bytes) -> bool:
    if name.rsplit("/", 1)[-1] in SHORT:
        return re.fullmatch(rb"[A-Za-z0-9._-]{1,64}\n?", content) is not None
    if CONFIG.fullmatch(name):
        return _entries(content) is not None
    if GRAPH.fullmatch(name):
        graph = _parsed(content)
        return graph is not None and all(_plain_node(node) for node in _objects(graph))
    if SAMPLE.fullmatch(name) or name.startswith(("data/weights/", "data/constants/")):
        return _restricted(content)
    return False


def _raw_tensors(configs: Mapping[str, bytes]) -> set[str]:
    """Records that are bytes of tensors wherever they are named. What any entry would unpickle is none of them."""
    raw: set[str] = set()
    pickled: set[str] = set()
    for name, content in configs.items():
        for path, use_pickle in _entries(content) or ():
            (pickled if use_pickle else raw).add(f"{name.rpartition('/')[0]}/{path}")
    return raw - pickled


def _entries(content: bytes) -> list[tuple[str, bool]] | None:
    """Record and whether it is unpickled, of each entry of a config; None where one is of no kind we know."""
    config = (_parsed(content) or {}).get("config")
    if not isinstance(config, dict):
        return None
    found = []
    for entry in config.values():
        path = entry.get("path_name") if isinstance(entry, dict) else None
        # Other names are those of objects, and of an old format that is unpickled whatever the entry says.
        if not isinstance(path, str) or not PAYLOAD.fullmatch(path):
            return None
        found.append((path, entry.get("use_pickle") is not False))
    return found


def _plain_node(node: Mapping[str, Any]) -> bool:
    if "target" in node and "outputs" in node and not TARGET.fullmatch(str(node["target"])):
        return False
    # An operator as an argument is looked up as a target is.
    if "as_operator" in node and not TARGET.fullmatch(str(node["as_operator"])):
        return False
    expression = node.get("expr_str")
    return expression is None or EXPRESSION.fullmatch(str(expression)) is not None


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _restricted(content: bytes) -> bool:
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle's version; what matters is whether it is taken
            torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, TypeError, AttributeError):
        return False
    return True

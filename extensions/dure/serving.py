"""A saved model, loaded for predictions: no MLflow and no pickle needed."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dure import archive
from dure.sdk_errors import BadModelFolder, BadRows, ModelFailed, NeedsTorch

FLAVOUR_FILE = Path("data") / "model.pt2"


class Model:
    """One version of a model in memory. Calls may come from several threads."""

    def __init__(self, folder: Path, name: str, version: str) -> None:
        self.name, self.version = name, version
        described = _described(folder)
        self.dtype, self.shape = _input(folder, described)
        self.classes: Sequence[Any] | None = (described.get("metadata") or {}).get("dure_classes")
        self._module, self._device = _load(folder / FLAVOUR_FILE)
        self.predict(
            [_zeros(self.shape)]
        )  # the first person's request must not pay for warming up, nor find it broken

    @property
    def example(self) -> str:
        """What a request looks like, for messages."""
        size = "×".join(str(part) for part in self.shape)
        return f"[[… {size} numbers …], …]" if self.shape else "[number, …]"

    def rows(self, given: Any) -> Any:
        """What was sent as an array of rows; `BadRows` names the rule it breaks."""
        import numpy

        if not isinstance(given, list) or not given:
            raise self.bad(_brief(given), "rows are a list with at least one entry")
        try:
            # A text that looks like a number would be taken as one; it is more likely a mistake.
            array = numpy.asarray(given)
        except (ValueError, OverflowError, RecursionError, TypeError) as error:
            raise self.bad(_brief(given), f"every row has {self._size()}") from error
        if array.dtype.kind not in "iufb":
            raise self.bad(_brief(given), f"every row has {self._size()}, all of them numbers of one length")
        if array.shape[1:] != self.shape:
            raise self.bad(f"shape {[*array.shape]}", f"every row has {self._size()}")
        with numpy.errstate(all="ignore"):
            cast = array.astype(self.dtype)
        if cast.dtype.kind == "f" and not numpy.isfinite(cast).all():
            raise self.bad(_brief(given), f"values must be finite numbers of type {self.dtype}")
        return cast

    def outputs(self, given: Any) -> Any:
        """The model's raw outputs for rows as they were sent, as an array."""
        import torch

        array = self.rows(given)
        try:
            with torch.inference_mode():
                out = self._module(torch.from_numpy(array).to(self._device))
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
            why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise ModelFailed(model=self.name, version=self.version, why=why) from error
        return out.cpu().numpy()

    def predict(self, given: Any) -> list[Any]:
        """One prediction a row: its class where the model has classes, else the outputs."""
        out = self.outputs(given)
        if self.classes is None:
            return [_finite(row) for row in out.tolist()]
        return [self.classes[index] for index in out.argmax(axis=1).tolist()]

    def bad(self, value: str, rule: str) -> BadRows:
        """The error for something this model does not take."""
        return BadRows(value=value, rule=rule, example=self.example)

    def _size(self) -> str:
        return f"shape {[*self.shape]}" if self.shape else "one number"


def _described(folder: Path) -> dict[str, Any]:
    import yaml

    try:
        loaded = yaml.safe_load((folder / "MLmodel").read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadModelFolder(folder=str(folder), why="it has no readable MLmodel file") from error
    if not isinstance(loaded, dict) or "pytorch" not in (loaded.get("flavors") or {}):
        raise BadModelFolder(folder=str(folder), why="its MLmodel file names no pytorch flavour")
    return loaded


def _input(folder: Path, described: dict[str, Any]) -> tuple[str, tuple[int, ...]]:
    try:
        inputs = json.loads(described["signature"]["inputs"])
        spec = inputs[0]["tensor-spec"]
        shape = tuple(int(part) for part in spec["shape"][1:])
        if len(inputs) != 1 or spec["shape"][0] != -1 or any(part < 1 for part in shape):
            raise ValueError(spec)
        return str(spec["dtype"]), shape
    except (KeyError, IndexError, TypeError, ValueError) as error:
        why = "its signature must name one tensor with a free first dimension and fixed others"
        raise BadModelFolder(folder=str(folder), why=why) from error


def _load(file: Path) -> tuple[Any, str]:
    try:
        import torch
    except ImportError as error:
        raise NeedsTorch() from error
    if not file.is_file():
        raise BadModelFolder(folder=str(file.parent.parent), why=f"it has no {FLAVOUR_FILE}")
    archive.check(file)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(str(file))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    # Guards are Python text in the archive; shapes and types are checked here before each call instead.
    return program.module(check_guards=False), device


def _zeros(shape: Sequence[int]) -> Any:
    return 0 if not shape else [_zeros(shape[1:]) for _ in range(shape[0])]


def _brief(value: Any) -> str:
    text = repr(value) if not isinstance(value, list) else f"a list of {len(value)}"
    return text if len(text) <= 60 else text[:57] + "…"


def _finite(value: Any) -> Any:
    """JSON has no NaN: what is not a finite number is null."""
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

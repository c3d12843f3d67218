"""Checkpoints: written whole or not at all, and read without unpickling code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def save(state: Mapping[str, Any], file: Path) -> None:
    """Write to a file beside it, bring it to the disk, then rename: a crash leaves the previous one."""
    import torch

    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    with temporary.open("wb") as out:
        torch.save(dict(state), out)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)


def load(file: Path) -> dict[str, Any] | None:
    """The state in this file, on the CPU; None where there is no file."""
    if not file.exists():
        return None
    import torch

    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return state

"""Turns at a person's folder: two servers of one person may start at once, each in a thread of the hub."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from threading import Lock

_turns: defaultdict[Path, Lock] = defaultdict(Lock)


def turn_at(folder: Path) -> Lock:
    """Whoever lays out something there holds this meanwhile. Of one process: only the hub lays out homes."""
    return _turns[folder]

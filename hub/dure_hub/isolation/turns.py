"""Turns at a person's folder: two servers of one person may start at once, each in a thread of the hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

_guard = Lock()
_turns: WeakValueDictionary[Path, Lock] = WeakValueDictionary()


@contextmanager
def turn_at(folder: Path) -> Iterator[None]:
    """Whoever lays out something there does so in this. Of one process: only the hub lays out homes."""
    with _guard:
        lock = _turns.setdefault(folder, Lock())
    with lock:
        yield

"""Time is injected: everything that asks for "now" is given a `Clock`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

Clock = Callable[[], datetime]
"""Answers with an aware UTC time."""


def system_clock(offset_file: Path | None = None) -> Clock:
    """The machine's time, moved by the seconds that `offset_file` holds.

    The file is read at each call, so that one file moves every process of a portal together. It need not exist.
    """
    if offset_file is None:
        return lambda: datetime.now(UTC)

    def now() -> datetime:
        try:
            text = offset_file.read_text()
        except FileNotFoundError:
            text = ""
        return datetime.now(UTC) + timedelta(seconds=float(text.strip() or 0))

    return now

"""Logs: services append by themselves; here they are read and rotated by copy and truncate."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def tail(path: Path, lines: int = 20, limit: int = 64 * 1024) -> str:
    """The last lines of a log; empty where there is none."""
    try:
        with path.open("rb") as source:
            source.seek(max(0, source.seek(0, os.SEEK_END) - limit))
            text = source.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def rotate(path: Path, limit_bytes: int) -> bool:
    """Copy a log beyond its limit to `<name>.1` and truncate it; its writer goes on appending to the same file.

    What is written between copy and truncation is lost: a few lines of a log, never data. Where there is no room
    for the copy, all of it is: a log that grows on would take the last room from the databases.
    """
    copy = path.with_name(path.name + ".1")
    try:
        if path.stat().st_size <= limit_bytes:
            return False
        try:
            shutil.copyfile(path, copy)
        except OSError as why:
            if why.errno not in NO_ROOM:
                raise
            copy.unlink(missing_ok=True)
        os.truncate(path, 0)
    except FileNotFoundError:
        return False
    return True


def follow(path: Path, poll_s: float = 0.3) -> Iterator[str]:
    """New text of a log as it is written, across rotations, until the caller stops asking."""
    offset = path.stat().st_size if path.exists() else 0
    while True:
        size = path.stat().st_size if path.exists() else 0
        offset = min(offset, size) if size >= offset else 0
        if size > offset:
            with path.open("rb") as source:
                source.seek(offset)
                text = source.read(size - offset)
            offset += len(text)
            yield text.decode(errors="replace")
        time.sleep(poll_s)

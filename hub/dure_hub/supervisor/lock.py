"""The lock that means "up". The kernel drops it with the process, however that ends."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dure_hub.settings import Settings
from dure_hub.supervisor.errors import AlreadyUp


@contextmanager
def held(settings: Settings) -> Iterator[None]:
    """Hold run/lock, or raise `AlreadyUp` with the address and pid of who does.

    The descriptor is close-on-exec (Python's default), so no child keeps the portal "up" after its supervisor.
    """
    descriptor = os.open(settings.folder.run / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            about = holder(settings.folder.run)
            raise AlreadyUp(folder=str(settings.folder.root), url=about.get("url"), pid=about.get("pid")) from None
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    # A few tries: `is_held` of a `status` beside us holds the lock for an instant.
    for _ in range(10):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def is_held(run: Path) -> bool:
    """Whether some supervisor holds the lock now."""
    try:
        descriptor = os.open(run / "lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def write_holder(run: Path, url: str, phase: str) -> None:
    """Leave word of who holds the lock, where, since when, and whether it is `starting`, `up` or `closing`."""
    known = holder(run)
    since = known["since"] if known.get("pid") == os.getpid() else time.time()
    path = run / "services" / "supervisor.json"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"pid": os.getpid(), "url": url, "since": since, "phase": phase}))
    temporary.replace(path)


def holder(run: Path) -> dict[str, Any]:
    """What the last holder left word of; empty where none did."""
    try:
        found = json.loads((run / "services" / "supervisor.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

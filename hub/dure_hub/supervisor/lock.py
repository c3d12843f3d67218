"""The lock that means "up". The kernel drops it with the process, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dure_hub.settings import Settings
from dure_hub.supervisor import processes
from dure_hub.supervisor.errors import AlreadyUp
from dure_hub.supervisor.processes import Process


@contextmanager
def held(settings: Settings) -> Iterator[None]:
    """Hold run/lock, or raise `AlreadyUp` with the address and pid of who does.

    The descriptor is close-on-exec (Python's default), so no child keeps the portal "up" after its supervisor.
    """
    descriptor = os.open(settings.folder.run / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _take(descriptor):
            about = holder(settings.folder.run)
            # Who shares it (`beside`) has left no word of itself.
            url, pid = about.get("url", settings.address), about.get("pid", "?")
            raise AlreadyUp(folder=str(settings.folder.root), url=url, pid=pid)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    # A few tries: `is_held` of a `status` beside us shares the lock for an instant.
    for _ in range(10):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def is_held(run: Path) -> bool:
    """Whether some supervisor holds the lock now. Who looks shares the lock, so two who look are none."""
    try:
        descriptor = os.open(run / "lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_shared(run: Path) -> bool:
    """Whether services share the lock that something else than a supervisor has started (`beside`)."""
    try:
        descriptor = os.open(run / "lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not is_held(run) and not _take(descriptor)
    finally:
        os.close(descriptor)


def write_holder(run: Path, url: str, phase: str) -> None:
    """Leave word of who holds the lock, where, since when, and whether it is `starting`, `up` or `closing`.

    With it how often a holder before this one ended without a word, since one last went down in order. On a full
    disk the word of before stays: the lock is what counts.
    """
    known, me = holder(run), processes.identify(os.getpid())
    mine = me is not None and _recorded(known) == me and "since" in known
    since = known["since"] if mine else time.time()
    lost = known.get("lost") if mine else _lost(known)
    path = run / "services" / "supervisor.json"
    identity = {"pid": os.getpid()} if me is None else asdict(me)
    temporary = path.with_suffix(".tmp")
    with contextlib.suppress(OSError):  # going down must not fail for want of room to say so
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary.write_text(json.dumps({**identity, "url": url, "since": since, "phase": phase, "lost": lost}))
        temporary.replace(path)


def _lost(known: Mapping[str, Any]) -> dict[str, Any] | None:
    """How often holders ended without a word, and why the last did; None where that one went down in order."""
    before = _recorded(known)
    if before is None or known.get("phase") not in ("starting", "up", "closing"):
        return None
    times = known["lost"]["times"] if isinstance(known.get("lost"), dict) else 0
    rebooted = before.boot_id != processes.boot_id()
    return {"times": times + 1, "why": "rebooted" if rebooted else "killed", "found_at": time.time()}


def holder(run: Path) -> dict[str, Any]:
    """What the last holder left word of; empty where none did."""
    try:
        found = json.loads((run / "services" / "supervisor.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def holder_process(run: Path) -> Process | None:
    """The very process that left word, while it lives; never a later one with its pid."""
    process = _recorded(holder(run))
    return process if process is not None and process.alive() else None


def _recorded(known: Mapping[str, Any]) -> Process | None:
    try:
        return Process(int(known["pid"]), int(known["start_time"]), str(known["boot_id"]))
    except (KeyError, TypeError, ValueError):
        return None  # no word, or a damaged one

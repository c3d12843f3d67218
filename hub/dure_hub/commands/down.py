"""`dure down`: ends a portal, whether its supervisor lives or not."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys

from dure.errors import reader_language as language
from dure_hub.settings import Settings
from dure_hub.supervisor import closing, lock, prepare, processes
from dure_hub.supervisor.errors import StillRunning
from dure_hub.supervisor.words import line

MARGIN_S = 60
"""What the kernel may take over a SIGKILL in each step."""
STEPS = 12
"""Executions, servers, model servers, six services, and three looks for what is left: each has the grace."""


def run(arguments: argparse.Namespace) -> int:
    """0 when nothing of the portal runs any more, also where nothing ran before."""
    return asyncio.run(down(prepare.last_settings(data=arguments.data)))


async def down(settings: Settings) -> int:
    """Ask the supervisor to close; where there is none, close in its stead."""
    run = settings.folder.run
    if lock.is_held(run):
        await _ask(settings)
    left = closing.marked(settings)
    if not left and not lock.is_held(run):
        _say("down" if lock.holder(run).get("phase") == "down" else "not_running", folder=settings.folder.root)
        _forget(settings)
        return 0
    with lock.held(settings):
        await closing.close(settings, closing.stopper(settings), _say, asyncio.Event())
        lock.write_holder(run, settings.listens_at, "down")
    _say("down")
    return 0


async def _ask(settings: Settings) -> None:
    """Signal the supervisor and wait until it is gone; its own graces bound that."""
    supervisor = lock.holder_process(settings.folder.run)
    if supervisor is None:
        return
    _say("closing")
    try:
        supervisor.signal(signal.SIGTERM)
    except PermissionError as why:
        raise StillRunning(pids=supervisor.pid) from why
    if await processes.until_gone([supervisor], longest_s(settings)):
        raise StillRunning(pids=supervisor.pid)


def longest_s(settings: Settings) -> float:
    """How long a portal may take to go down: every step's own grace, and something beside."""
    return settings.job_grace_s + settings.before_stop_s + STEPS * settings.stop_grace_s + MARGIN_S


def _forget(settings: Settings) -> None:
    for path in (settings.folder.run / "services").glob("*.json"):
        if path.stem != "supervisor":
            path.unlink(missing_ok=True)


def _say(key: str, **facts: object) -> None:
    # Whoever read this may be gone (`dure down | head`); the portal goes down all the same.
    with contextlib.suppress(OSError):
        print(line(key, language(), **facts), file=sys.stdout, flush=True)

"""The owner's own program before a server ends: `~/.config/dure/before-stop`, if there is one.

It has DURE_REASON and DURE_ENDS_AT in its environment, a time limit, and no say in whether the server ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import stat
import time
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any

PLACE = Path(".config", "dure", "before-stop")
TAIL = 4096
"""So many bytes of what it last said are kept."""
_DRAIN_S = 0.5
"""What it leaves in the background may hold its output open; no longer than this is waited for that to close."""


async def run(reason: str, ends_at: str, limit_s: float, log: logging.Logger) -> dict[str, Any] | None:
    """Run it; `exit` (null where it was killed or could not start), `seconds`, and the last of its `output`.

    None where there is no program, or no time for one.
    """
    program = Path.home() / PLACE
    if limit_s <= 0 or not runs(program):
        return None
    begun = time.monotonic()
    # A pipe of our own: that of asyncio's would have us wait for whoever holds its other end, too.
    ours, its = os.pipe()
    with os.fdopen(ours, "rb", 0) as pipe:
        try:
            process = await _start(program, {"DURE_REASON": reason, "DURE_ENDS_AT": ends_at}, its)
        except OSError as error:  # no interpreter of that name, a format that is none
            log.warning("dure: %s did not start: %s", program, error)
            return {"exit": None, "seconds": 0.0, "output": str(error)}
        finally:
            os.close(its)
        said = bytearray()
        reading = asyncio.create_task(_read(pipe, said))
        try:
            code = await _wait(process, limit_s, log)
            await asyncio.wait([reading], timeout=_DRAIN_S)
        finally:
            reading.cancel()
            await asyncio.wait([reading])
    seconds = round(time.monotonic() - begun, 3)
    return {"exit": code, "seconds": seconds, "output": said.decode(errors="replace")}


def runs(program: Path) -> bool:
    """Whether it is an executable file of this user's own, and no link to somebody else's."""
    try:
        found = program.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and bool(found.st_mode & stat.S_IXUSR)


async def _start(program: Path, told: Mapping[str, str], output: int) -> Process:
    return await asyncio.create_subprocess_exec(
        program,
        cwd=Path.home(),
        env={**os.environ, **told},
        stdin=DEVNULL,
        stdout=output,
        stderr=STDOUT,
        start_new_session=True,
    )


async def _wait(process: Process, limit_s: float, log: logging.Logger) -> int | None:
    try:
        return await asyncio.wait_for(process.wait(), limit_s)
    except TimeoutError:
        log.warning("dure: the program before the end took more than %s s and is killed", limit_s)
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        return None


async def _read(pipe: FileIO, said: bytearray) -> None:
    """Keep the last of what comes, until everybody who could say more has gone."""
    stream = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(stream)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    try:
        while piece := await stream.read(TAIL):
            said += piece
            del said[:-TAIL]
    finally:
        transport.close()

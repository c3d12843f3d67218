"""What servers, jobs and model servers share: the runner behind the interface of `backends.base.Runs`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import stat
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import IO, ClassVar

from dure_hub.backends.base import (
    LONGEST_CHARACTER,
    Handle,
    Kind,
    LogPiece,
    Phase,
    Runs,
    Seen,
    StillRuns,
    Work,
    begin,
    piece_of,
)
from dure_hub.backends.embedded.errors import CouldNotStart, WouldNotEnd
from dure_hub.backends.embedded.runner import Plan, Runner, Turn
from dure_hub.settings import Settings

SIMULATED = "-sim-"
"""In the UUID of everything simulated, behind NVIDIA's own `GPU` or `MIG`."""
_KEEPERS_SHARE_S = 5.0
"""How long a keeper may take, after the grace, to end everything, before it is ended itself."""

_HOLES = 1 << 20
"""Of a log whose length was set, and never written: at most so much of that is copied."""
log = logging.getLogger(__name__)


class EmbeddedRuns(Runs):
    """Processes of this machine. Everything that looks at /proc or waits does so in a thread."""

    kind: ClassVar[Kind]

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        grace_s = settings.job_grace_s if self.kind is Kind.JOB else settings.stop_grace_s
        self.runner = Runner(settings, self.kind, grace_s)
        self.unsupported = self.runner.isolation.gaps()

    async def stop(self, handle: Handle, grace_s: float) -> None:
        """Ask, wait for as long as the grace and the keeper need, then sweep. Two at once are fine."""
        reason, kept = await asyncio.to_thread(self.runner.ask_to_stop, handle, grace_s)
        deadline = time.monotonic() + grace_s + (_KEEPERS_SHARE_S if kept else 0)
        pause = 0.02
        while time.monotonic() < deadline and not await asyncio.to_thread(self.runner.is_over, handle):
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, 0.25)
        left = await asyncio.to_thread(self.runner.sweep, handle.lease)
        if left:
            raise WouldNotEnd(lease=handle.lease, pids=left)
        await asyncio.to_thread(self.runner.close, handle.lease, reason)

    async def seen(self) -> Sequence[Seen]:
        """One look at the processes and the run folders of this kind."""
        return await asyncio.to_thread(self.runner.look_all)

    async def poll(self, handle: Handle) -> Seen:
        """By pid and start time, and by the records; by marks only where those do not tell."""
        return await asyncio.to_thread(self.runner.look, handle)

    async def forget(self, handle: Handle) -> None:
        """End what an ended run left behind, and drop its folder; its log goes to the other leases' logs."""
        seen = await self.poll(handle)
        if seen.phase is Phase.RUNNING:
            raise StillRuns(lease=handle.lease)
        left = await asyncio.to_thread(self.runner.sweep, handle.lease)
        if left:
            raise WouldNotEnd(lease=handle.lease, pids=left)
        said = self.runner.folder(handle.lease).log
        await asyncio.to_thread(_leave, said, self.settings.folder.lease_logs / f"{handle.lease}.log")
        await asyncio.to_thread(self.runner.drop, handle.lease)

    async def log(self, handle: Handle, offset: int, limit: int) -> LogPiece:
        """At most `limit` bytes from `offset` on; a character is never cut in two."""
        return await asyncio.to_thread(self._log, handle, offset, limit)

    def _log(self, handle: Handle, offset: int, limit: int) -> LogPiece:
        file = _opened(self.runner.folder(handle.lease).log)
        if file is None:
            offset, data = max(offset, 0), b""
        else:
            with file:
                offset = begin(file, offset)
                file.seek(offset)
                data = file.read(max(limit, LONGEST_CHARACTER))
        return piece_of(data, offset)

    async def keep_log(self, handle: Handle, target: Path) -> None:
        """Copied in pieces: a log may be larger than memory."""
        await asyncio.to_thread(_copy, self.runner.folder(handle.lease).log, target)

    async def tail(self, handle: Handle, limit: int) -> str:
        """From the end, however long it is."""
        return await asyncio.to_thread(_end_of, self.runner.folder(handle.lease).log, limit)

    async def _run(self, plan: Plan) -> AsyncIterator[Handle]:
        try:
            handle = await self._start(plan)
        except OSError as error:
            raise CouldNotStart(why=error.strerror or str(error)) from error
        yield handle

    async def _start(self, plan: Plan) -> Handle:
        """Where this is cancelled, nothing starts afterwards: what had begun by then is on record."""
        turn = Turn()
        starting = asyncio.get_running_loop().run_in_executor(None, self.runner.start, plan, turn)
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(_unheard)
            if not turn.take():
                await _until_done(starting)
            raise


def _unheard(starting: asyncio.Future[Handle]) -> None:
    """What became of it is on record, if it began; asyncio itself must not tell of it as of a bug."""
    if not starting.cancelled():
        starting.exception()


async def _until_done(starting: asyncio.Future[Handle]) -> None:
    """However often we are cancelled meanwhile: it is a matter of milliseconds, and of a few seconds at most."""
    while not starting.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([starting])


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(f"{target.name}.new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:  # noqa: PTH123
        file = _opened(source)
        if file is not None:
            with file:
                shutil.copyfileobj(file, out, 1 << 20)
    temporary.replace(target)


def _leave(source: Path, target: Path) -> None:
    """Move a log to where it stays: on a full disk that takes no room. What the lease ran before comes first.

    It is renamed to say how long that is before it is appended: done again after a kill, nothing is there twice.
    """
    begun = next((one for one in source.parent.glob(f"{source.name}.after-*") if _after(one) is not None), None)
    if begun is None:
        try:
            about = source.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISREG(about.st_mode) or not about.st_size:
            return
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not target.exists():
            source.replace(target)
            target.chmod(0o600)
            os.utime(target)  # whose log it is may have said anything of when it was written
            return
        begun = source.with_name(f"{source.name}.after-{target.stat().st_size}")
        source.replace(begun)
    _append(begun, target, _after(begun) or 0)


def _append(begun: Path, target: Path, size: int) -> None:
    """To the first `size` bytes of `target`. Without room for it, these are all that stays."""
    file = _opened(begun)
    if file is None:
        return
    about = os.fstat(file.fileno())
    try:
        with file, open(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as out:  # noqa: PTH123
            out.truncate(min(size, os.fstat(out.fileno()).st_size))
            out.seek(0, os.SEEK_END)
            file.seek(max(about.st_size - about.st_blocks * 512 - _HOLES, 0))
            shutil.copyfileobj(file, out, 1 << 20)
    except OSError:
        log.exception("the log %s is not kept behind what was there before", begun)
        with contextlib.suppress(OSError):
            os.truncate(target, size)


def _after(begun: Path) -> int | None:
    number = begun.name.rpartition("-")[2]
    return int(number) if number.isascii() and number.isdigit() else None


def _end_of(log: Path, limit: int) -> str:
    file = _opened(log)
    if file is None:
        return ""
    with file:
        file.seek(max(os.fstat(file.fileno()).st_size - limit, 0))
        return file.read(limit).decode("utf-8", "replace")


def _opened(log: Path) -> IO[bytes] | None:
    """A log, to read. None where it never wrote a line, or has put a link, a pipe or a folder in its place."""
    try:
        if not stat.S_ISREG(log.lstat().st_mode):
            return None
        return os.fdopen(os.open(log, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    except FileNotFoundError:
        return None


def environment_of(work: Work) -> Mapping[str, str]:
    """The work's environment; it sees exactly the lease's GPUs, and none where it holds none."""
    found = {**work.environment, "CUDA_VISIBLE_DEVICES": ",".join(work.devices)}
    if work.mps is not None:
        share, memory_mb = work.mps
        found["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = f"{share / 10:g}"
        if memory_mb is not None:
            found["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"0={memory_mb}M"
    return found


def places_of(*places: Path | None, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """What of a work's places is its owner's own: these, and the home that it is given."""
    home = environment.get("HOME")
    return tuple(dict.fromkeys(place for place in (*places, Path(home) if home else None) if place is not None))


def is_real(uuid: str) -> bool:
    """Whether there may be a GPU behind this UUID. A simulated one is shown, too, and nothing is found there."""
    return SIMULATED not in uuid


def port_of(handle: Handle) -> int:
    """The loopback port that was chosen at the start."""
    return int(handle.where["port"])

"""Ends a portal in order, whether its supervisor lives or not: work first, then what the work leans on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from dure_hub.backends.base import Phase, Runs, ServerBackend, hook_s
from dure_hub.settings import Settings
from dure_hub.supervisor import processes
from dure_hub.supervisor.errors import StillRunning
from dure_hub.supervisor.keeper import end_leftovers

Say = Callable[..., None]
StopService = Callable[[str, float], Awaitable[object]]


async def close(settings: Settings, stop_service: StopService, say: Say, hurry: asyncio.Event) -> None:
    """Refuse new work; end jobs, executions, servers (which save first), hub, Voila, warm starts, model servers,
    portal, MLflow, Envoy; then all with our mark.

    With `hurry` set, now or later, nothing is waited for. Rows are not touched: the reconciler of the next `up`
    closes them with the reason that each run left behind. Whatever fails is said, and the rest is ended all the
    same; what then still lives is in `StillRunning`.
    """
    from dure_hub.backends.chosen import running_of

    has = running_of(settings)
    mark = settings.folder.closing
    with _going_on(say, "run/closing"):
        mark.touch(mode=0o600)
    say("closing")
    stop = settings.stop_grace_s
    with _going_on(say, "jobs"):
        await _end_runs(has.training, settings.job_grace_s, "closing_jobs", say, hurry)
    with _going_on(say, "executions"):
        await _end_runs(has.executions, stop, "closing_executions", say, hurry)
    with _going_on(say, "saving"):
        await _save(has.servers, settings.before_stop_s, say, hurry)
    with _going_on(say, "servers"):
        await _end_runs(has.servers, stop, "closing_servers", say, hurry)
    for name in ("hub", "voila", "warm"):
        with _going_on(say, name):
            await _within(hurry, stop_service, name, stop)
    with _going_on(say, "models"):
        await _end_runs(has.serving, stop, "closing_models", say, hurry)
    for name in ("portal", "mlflow", "envoy"):
        with _going_on(say, name):
            await _within(hurry, stop_service, name, stop)
    try:
        left = await sweep(settings, 0 if hurry.is_set() else stop)
    finally:
        with _going_on(say, "backends"):
            await has.close()
        with _going_on(say, "run/closing"):
            mark.unlink(missing_ok=True)
    if left:
        raise StillRunning(pids=", ".join(str(process.pid) for process in left))


async def sweep(settings: Settings, grace_s: float) -> list[processes.Process]:
    """End everything with this portal's mark, until a look finds nothing or three looks did not help."""
    left: list[processes.Process] = []
    for _ in range(3):
        found = marked(settings)
        if not found:
            return []
        left = await processes.end(found, grace_s, group=False)
    return left


def marked(settings: Settings) -> list[processes.Process]:
    """Everything of this portal: by its environment, by the command line where it was forked, and its children."""
    from dure_hub.backends.embedded import processes as runs

    ours = processes.ancestors()
    found = {process.pid: process for process in processes.marked(settings.instance)}
    for run in runs.marked(settings.instance):
        process = processes.identify(run.pid)
        if process is not None and process.pid not in ours:
            found.setdefault(process.pid, process)
    return list(found.values())


def stopper(settings: Settings) -> StopService:
    """Ends services whose supervisor is gone, by their records."""

    async def stop(name: str, grace_s: float) -> None:
        await end_leftovers(settings, name, grace_s)

    return stop


async def _save(servers: ServerBackend, limit_s: float, say: Say, hurry: asyncio.Event) -> None:
    """Have all servers save while the hub and the front still answer, which that needs; `hurry` waits for none."""
    running = [seen.handle for seen in await servers.seen() if seen.phase is Phase.RUNNING]
    if not running or not limit_s or hurry.is_set():
        return
    say("closing_saving", count=len(running), seconds=round(limit_s))
    ends_at = (datetime.now(UTC) + timedelta(seconds=limit_s)).isoformat()
    asks = {
        asyncio.create_task(servers.before_stop(one, "down", ends_at, hook_s(limit_s))): one for one in running
    }
    rushed = asyncio.ensure_future(hurry.wait())
    everybody = asyncio.ensure_future(asyncio.wait(asks))
    await asyncio.wait([everybody, rushed], timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    everybody.cancel()
    rushed.cancel()
    for ask, one in asks.items():
        if not ask.done():
            ask.cancel()
        elif (why := ask.exception()) is not None:
            _tell(say, one.lease, why)
    await asyncio.gather(*asks, return_exceptions=True)


async def _end_runs(backend: Runs, grace_s: float, key: str, say: Say, hurry: asyncio.Event) -> None:
    running = [seen.handle for seen in await backend.seen() if seen.phase is Phase.RUNNING]
    if not running:
        return
    say(key, count=len(running), seconds=round(grace_s))

    async def end(_: str, grace: float) -> None:
        stops = (backend.stop(handle, grace) for handle in running)
        for handle, why in zip(running, await asyncio.gather(*stops, return_exceptions=True), strict=True):
            if isinstance(why, Exception):
                _tell(say, handle.lease, why)

    await _within(hurry, end, "", grace_s)


@contextmanager
def _going_on(say: Say, what: str) -> Iterator[None]:
    """One step of closing: any failure of it is said and never keeps the next from its turn."""
    try:
        yield
    except Exception as why:  # noqa: BLE001 - a portal that stays up half is worse than any bug in one step
        _tell(say, what, why)


def _tell(say: Say, what: str, why: BaseException) -> None:
    say("trouble", what=what, why=str(why) or repr(why))


async def _within(hurry: asyncio.Event, stop: StopService, name: str, grace_s: float) -> None:
    """Stop with the grace, or, once `hurry` is set, again without."""
    if not hurry.is_set():
        calm = asyncio.ensure_future(stop(name, grace_s))
        rushed = asyncio.create_task(hurry.wait())
        await asyncio.wait({calm, rushed}, return_when=asyncio.FIRST_COMPLETED)
        rushed.cancel()
        if calm.done():
            calm.result()
            return
        calm.cancel()
        await asyncio.gather(calm, return_exceptions=True)
    await stop(name, 0)

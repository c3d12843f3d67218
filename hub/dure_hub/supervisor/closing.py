"""Ends a portal in order, whether its supervisor lives or not: work first, then what the work leans on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from dure_hub.backends.base import Phase, Runs
from dure_hub.settings import Settings
from dure_hub.supervisor import processes
from dure_hub.supervisor.errors import StillRunning
from dure_hub.supervisor.keeper import end_leftovers

Say = Callable[..., None]
StopService = Callable[[str, float], Awaitable[object]]


async def close(settings: Settings, stop_service: StopService, say: Say, hurry: asyncio.Event) -> None:
    """Refuse new work; end jobs, servers, hub, model servers, portal, MLflow, Envoy; then all with our mark.

    With `hurry` set, now or later, nothing is waited for. Rows are not touched: the reconciler of the next `up`
    closes them with the reason that each run left behind.
    """
    from dure_hub.backends.embedded import EmbeddedServers, EmbeddedServing, EmbeddedTraining

    mark = settings.folder.closing
    mark.touch(mode=0o600)
    say("closing")
    stop = settings.stop_grace_s
    await _end_runs(EmbeddedTraining(settings), settings.job_grace_s, "closing_jobs", say, hurry)
    await _end_runs(EmbeddedServers(settings), stop, "closing_servers", say, hurry)
    await _within(hurry, stop_service, "hub", stop)
    await _end_runs(EmbeddedServing(settings), stop, "closing_models", say, hurry)
    for name in ("portal", "mlflow", "envoy"):
        await _within(hurry, stop_service, name, stop)
    left = await sweep(settings, 0 if hurry.is_set() else stop)
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


async def _end_runs(backend: Runs, grace_s: float, key: str, say: Say, hurry: asyncio.Event) -> None:
    running = [seen.handle for seen in await backend.seen() if seen.phase is Phase.RUNNING]
    if not running:
        return
    say(key, count=len(running), seconds=round(grace_s))

    async def end(_: str, grace: float) -> None:
        await asyncio.gather(*(backend.stop(handle, grace) for handle in running))

    await _within(hurry, end, "", grace_s)


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

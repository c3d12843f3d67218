"""One life of a portal: prepare, start, watch, close."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from dure_hub.backends.base import Feature
from dure_hub.settings import Settings
from dure_hub.supervisor import closing, lock, prepare
from dure_hub.supervisor.keeper import Keeper, end_leftovers, log_path
from dure_hub.supervisor.logs import rotate
from dure_hub.supervisor.services import portal_services
from dure_hub.supervisor.spec import Service

Say = Callable[..., None]
MakeServices = Callable[[Settings], Sequence[Service]]
ROTATE_EVERY_S = 30


class Supervisor:
    """Starts the services in their order, keeps them alive, and ends them."""

    def __init__(self, settings: Settings, services: Sequence[Service], say: Say) -> None:
        self.settings = settings
        self.say = say
        self.keepers = {service.name: Keeper(settings, service, self.note) for service in services}

    def note(self, text: str) -> None:
        """Write a line into the supervisor's own log."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with contextlib.suppress(OSError), log_path(self.settings.folder, "supervisor").open("a") as log:
            log.write(f"{stamp} {text}\n")

    async def start(self) -> None:
        """Start all, each after those it names; returns when every one is ready, else `ServiceFailed`."""
        ready = {name: asyncio.Event() for name in self.keepers}

        async def one(keeper: Keeper) -> None:
            for name in keeper.service.after:
                await ready[name].wait()
            await keeper.begin()
            await keeper.until_ready()
            ready[keeper.service.name].set()

        async with _progress(self.say, lambda: self._pending(ready)):
            try:
                async with asyncio.TaskGroup() as group:
                    for keeper in self.keepers.values():
                        group.create_task(one(keeper))
            except ExceptionGroup as several:
                raise several.exceptions[0] from None

    def _pending(self, ready: dict[str, asyncio.Event]) -> str:
        return ", ".join(self.keepers[name].service.title for name, event in ready.items() if not event.is_set())

    async def watch(self) -> None:
        """Rotate the services' logs, for as long as the portal is up."""
        limit = self.settings.log_limit_mb * 2**20
        while True:
            for name in (*self.keepers, "supervisor"):
                await asyncio.to_thread(rotate, log_path(self.settings.folder, name), limit)
            await asyncio.sleep(ROTATE_EVERY_S)

    async def stop(self, name: str, grace_s: float) -> None:
        """End one service and do not start it again."""
        keeper = self.keepers.get(name)
        if keeper is not None:
            await keeper.stop(min(grace_s, keeper.service.stop_grace_s))

    async def abandon(self) -> None:
        """End what this supervisor started after a failure; what it adopted stays for the next one."""
        for keeper in reversed(list(self.keepers.values())):
            if keeper.adopted:
                await keeper.release()
            else:
                await keeper.stop()


class Stop:
    """What signals ask for: the first to stop, the second to stop at once."""

    def __init__(self) -> None:
        self.asked, self.hurry = asyncio.Event(), asyncio.Event()

    def listen(self, say: Say) -> None:
        """Take SIGINT, SIGTERM and SIGHUP (a lost terminal) as a wish to stop."""

        def on_signal() -> None:
            if self.asked.is_set() and not self.hurry.is_set():
                say("hurry")
                self.hurry.set()
            self.asked.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, on_signal)


async def up(
    flags: dict[str, Any], say: Say, ready: Callable[[], None], make: MakeServices = portal_services
) -> None:
    """Run the portal until a signal ends it. `ready` is called once, when everything answers.

    Ended by a signal, nothing of the portal runs when it returns. Where it fails instead, its services have ended
    when it raises, but people's servers and jobs, which an earlier run may have left, go on.
    """
    settings = prepare.settle(**flags)
    if prepare.make_folder(settings):
        say("made", folder=str(settings.folder.root))
    with lock.held(settings):
        settings = prepare.with_instance(settings)
        lock.write_holder(settings.folder.run, settings.front_url, "starting")
        stop = Stop()
        stop.listen(say)
        try:
            await _live(settings, say, ready, make, stop)
        finally:
            lock.write_holder(settings.folder.run, settings.front_url, "down")


async def _live(settings: Settings, say: Say, ready: Callable[[], None], make: MakeServices, stop: Stop) -> None:
    prepare.check(settings)
    settings.folder.closing.unlink(missing_ok=True)
    async with _progress(say, lambda: "", key="leftovers"):
        # Envoy may go on; the rest would hold ports and databases.
        for name in ("hub", "portal", "mlflow"):
            await end_leftovers(settings, name, settings.stop_grace_s)
    settings = await prepare.prepare(settings)
    supervisor = Supervisor(settings, make(settings), say)
    try:
        if await _unless(stop.asked, supervisor.start()):
            await greet(settings, say)
            lock.write_holder(settings.folder.run, settings.front_url, "up")
            ready()
            await _unless(stop.asked, supervisor.watch())
    except BaseException:
        await supervisor.abandon()
        raise
    lock.write_holder(settings.folder.run, settings.front_url, "closing")
    await closing.close(settings, supervisor.stop, say, stop.hurry)
    say("down")


async def greet(settings: Settings, say: Say) -> None:
    """Say where the portal is, and, the first time, who may log in."""
    from dure_hub.backends.embedded import EmbeddedServers

    say("ready", url=settings.public_url or settings.front_url)
    command = f"ssh -L {settings.port}:127.0.0.1:{settings.port} {getpass.getuser()}@{os.uname().nodename}"
    say("ssh", command=command, port=settings.port)
    login = await asyncio.to_thread(prepare.add_first_admin, settings)
    if login is not None:
        say("admin", name=login[0], password=login[1])
    if Feature.USER_ISOLATION in EmbeddedServers(settings).unsupported:
        say("trusting", user=getpass.getuser())


async def _unless(asked: asyncio.Event, work: Any) -> bool:
    """Await `work` to its end and return True, or cancel it when `asked` is set and return False."""
    task, asking = asyncio.ensure_future(work), asyncio.create_task(asked.wait())
    await asyncio.wait({task, asking}, return_when=asyncio.FIRST_COMPLETED)
    asking.cancel()
    if task.done():
        task.result()
        return True
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return False


@asynccontextmanager
async def _progress(say: Say, pending: Callable[[], str], key: str = "waiting") -> AsyncIterator[None]:
    """Say what is waited for: after two seconds, and again every ten."""

    async def tell() -> None:
        began = time.monotonic()
        await asyncio.sleep(2)
        while True:
            say(key, services=pending(), seconds=round(time.monotonic() - began))
            await asyncio.sleep(10)

    teller = asyncio.create_task(tell())
    try:
        yield
    finally:
        teller.cancel()
        await asyncio.gather(teller, return_exceptions=True)

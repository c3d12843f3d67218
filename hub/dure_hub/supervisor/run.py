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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dure_hub.backends.base import Feature, Kind
from dure_hub.dataplane import certificate
from dure_hub.dataplane.certificate import CertificateUnusable
from dure_hub.settings import Settings
from dure_hub.supervisor import closing, lock, prepare, reaching
from dure_hub.supervisor.errors import StillRunning
from dure_hub.supervisor.keeper import Keeper, end_leftovers, log_path
from dure_hub.supervisor.logs import rotate
from dure_hub.supervisor.renewal import LOOK_S, Renewal
from dure_hub.supervisor.services import portal_services
from dure_hub.supervisor.spec import Service
from dure_hub.supervisor.words import line

Say = Callable[..., None]
MakeServices = Callable[[Settings], Sequence[Service]]
ROTATE_EVERY_S = 30
LEAVE = signal.SIGUSR1
ENDLESS = (Kind.SERVER, Kind.MODEL)


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
        """Start all, each after those it names; returns when each essential one is ready, else `ServiceFailed`."""
        ready = {name: asyncio.Event() for name in self.keepers}

        async def one(keeper: Keeper) -> None:
            for name in keeper.service.after:
                await ready[name].wait()
            await keeper.begin()
            if keeper.service.essential:
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
        """Rotate logs, for as long as the portal is up."""
        while True:
            await asyncio.to_thread(self._rotate)
            await asyncio.sleep(ROTATE_EVERY_S)

    async def renew(self) -> None:
        """Serve what becomes of the certificate's files, for as long as the portal is up."""
        renewal = Renewal(self.settings, self.note)
        while True:
            await asyncio.to_thread(renewal.look)
            await asyncio.sleep(LOOK_S)

    def _rotate(self) -> None:
        """The services' logs and those of servers and models, which have no end. A job's is kept whole for it."""
        limit = self.settings.log_limit_mb * 2**20
        for log in (
            *(log_path(self.settings.folder, name) for name in (*self.keepers, "supervisor")),
            *self._work(),
        ):
            try:
                rotate(log, limit)
            except OSError as why:  # one log that is too long is no reason to end the portal
                self.note(f"cannot rotate {log}: {why}")

    def _work(self) -> list[Path]:
        run = self.settings.folder.run
        try:
            return [log for kind in ENDLESS for log in run.glob(f"{kind}/*/log")]
        except OSError as why:  # no file descriptors: the next look may have them
            self.note(f"cannot list the logs in {run}: {why}")
            return []

    async def stop(self, name: str, grace_s: float) -> None:
        """End one service and do not start it again."""
        keeper = self.keepers.get(name)
        if keeper is not None:
            await keeper.stop(min(grace_s, keeper.service.stop_grace_s))

    async def leave(self) -> None:
        """Look after nothing any more, and let all of it run."""
        await asyncio.gather(*(keeper.release() for keeper in self.keepers.values()))

    async def abandon(self) -> None:
        """End what this supervisor started after a failure; what it adopted stays for the next one."""
        for keeper in reversed(list(self.keepers.values())):
            try:
                await (keeper.release() if keeper.adopted else keeper.stop())
            except Exception as why:  # noqa: BLE001 - the others must end, and the first failure is the one to tell
                self.note(f"{keeper.service.name}: cannot end: {why!r}")


class Stop:
    """What signals ask for: the first to stop, the second to stop at once."""

    def __init__(self) -> None:
        self.asked, self.hurry = asyncio.Event(), asyncio.Event()
        self.leave = False
        """Whether all that runs is to run on, for the next supervisor to take over."""

    def listen(self, say: Say) -> None:
        """Take SIGINT, SIGTERM and SIGHUP (a lost terminal) as a wish to stop.

        SIGUSR1 is a wish to leave: a service manager restarts the portal, and people's work goes on meanwhile.
        SIGHUP is none where whoever started this ignores it (`nohup`, `--detach`): then it stays up.
        """

        def on_signal() -> None:
            if self.asked.is_set() and not self.hurry.is_set():
                say("hurry")
                self.hurry.set()
            self.asked.set()

        def on_leave() -> None:
            self.leave = not self.asked.is_set()
            self.asked.set()

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(LEAVE, on_leave)
        stays = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal)
        # Not ignored but taken without effect: what is ignored stays so in all children, also in people's shells,
        # which their servers end by it.
        loop.add_signal_handler(signal.SIGHUP, _nothing if stays else on_signal)


def _nothing() -> None:
    """What a hang-up does to who stays up."""


async def up(
    flags: dict[str, Any], say: Say, ready: Callable[[], None], make: MakeServices = portal_services
) -> None:
    """Run the portal until a signal ends it. `ready` is called once, when everything answers.

    Ended by a signal, nothing of the portal runs when it returns, but for `LEAVE`, after which all of it does.
    Where it fails instead, its services have ended when it raises, but people's servers and jobs, which an earlier
    run may have left, go on.
    """
    settings = prepare.settle_whole(say, **flags)
    if prepare.make_folder(settings):
        say("made", folder=str(settings.folder.root))
    with lock.held(settings):
        settings = prepare.with_instance(settings)
        lock.write_holder(settings.folder.run, settings.listens_at, "starting")
        stop = Stop()
        stop.listen(say)
        try:
            await _live(settings, say, ready, make, stop)
        finally:
            lock.write_holder(settings.folder.run, settings.listens_at, "left" if stop.leave else "down")
    if stop.leave:
        os._exit(0)  # asyncio's clean-up may kill the children that are to run on


def _drop_unrecorded(settings: Settings) -> None:
    from dure_hub.backends.embedded.isolating import drop_unrecorded

    drop_unrecorded(settings)


async def _live(settings: Settings, say: Say, ready: Callable[[], None], make: MakeServices, stop: Stop) -> None:
    prepare.check(settings)
    settings.folder.closing.unlink(missing_ok=True)
    async with _progress(say, lambda: "", key="leftovers"):
        # Envoy may go on; the rest would hold ports and databases.
        for name in ("hub", "portal", "mlflow", "voila", "warm", *(("envoy",) if settings.xds_port else ())):
            await end_leftovers(settings, name, settings.stop_grace_s)
        await asyncio.to_thread(_drop_unrecorded, settings)
    settings = await prepare.prepare(settings, say)
    supervisor = Supervisor(settings, make(settings), say)
    try:
        if await _unless(stop.asked, supervisor.start()):
            await greet(settings, say)
            lock.write_holder(settings.folder.run, settings.listens_at, "up")
            ready()
            await _unless(stop.asked, asyncio.gather(supervisor.watch(), supervisor.renew()))
    except BaseException:
        await supervisor.abandon()
        raise
    if stop.leave:
        await supervisor.leave()
        supervisor.note("leaves what runs to the next supervisor")
        return
    lock.write_holder(settings.folder.run, settings.listens_at, "closing")

    def told(key: str, **facts: object) -> None:
        supervisor.note(line(key, "en", **facts))  # in the background nobody hears what is said
        say(key, **facts)

    try:
        await closing.close(settings, supervisor.stop, told, stop.hurry)
    except StillRunning as left:
        supervisor.note(str(left))
        raise
    told("down")


async def greet(settings: Settings, say: Say) -> None:
    """Say where the portal is, and, the first time, who may log in."""
    from dure_hub.backends.chosen import running_of

    say("ready", url=settings.address)
    served = None
    with contextlib.suppress(CertificateUnusable):  # just being renewed: the log has what the next look finds
        served = certificate.load(settings)
    for key, facts in reaching.lines(settings, served, getpass.getuser(), os.uname().nodename, datetime.now(UTC)):
        say(key, **facts)
    login = await asyncio.to_thread(prepare.add_first_admin, settings)
    if login is not None:
        say("admin", name=login[0], password=login[1])
    if Feature.USER_ISOLATION in running_of(settings).servers.unsupported:
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

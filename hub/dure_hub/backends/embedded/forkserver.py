"""Forks runs from a process that has imported once what they need, so that nobody waits for imports.

Run as `python -P -m dure_hub.backends.embedded.forkserver <data folder> <program>`, with nobody's secrets in its
environment. For each connection it forks, and only the child reads what is asked: this process never holds
anything of anybody, so nothing can pass from one run to the next. The child becomes the run's keeper and forks
once more for the command, which is `python -P -m <program> ...` and nothing else.

What Python, a library or a module has read of the environment while it started or was imported is settled for
every fork (settled.py); who needs another value is refused, and starts the usual way. The program may define
`preload()`, which imports; `refresh()`, which makes good in the child what `preload()` took from this process's
environment; and `PERSONAL`, the variables this is about.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import setproctitle

from dure_hub.backends.embedded import keeper, processes, warm
from dure_hub.backends.embedded.records import RunFolder
from dure_hub.backends.embedded.settled import Packages, Settled, Unfit, differ, new_process, packages, recorded
from dure_hub.backends.embedded.warm import Order, Refused
from dure_hub.settings import Settings, load_settings

LOOK_S = 30.0
"""Time between two looks for other packages, where those that there are cannot be forked."""
ORDER_S = 5.0
"""How long a request may take to arrive."""


class Born(BaseException):
    """Raised in the command's process, so that it leaves everything of the fork server behind before it runs."""

    def __init__(self, command: list[str]) -> None:
        super().__init__()
        self.command = command


def main(data: str, program: str) -> None:
    """Be the fork server, or, in a child, a command that it has forked."""
    os.umask(0o077)
    settings = load_settings(data)
    warm.socket_path(settings).unlink(missing_ok=True)
    before = packages()
    try:
        module, settled = prepare(program, before)
    except Exception as why:  # noqa: BLE001 - whatever it is, starting again with the same packages will not help
        say(f"No warm starts: {why if isinstance(why, Unfit) else repr(why)}")
        await_others(before)
        return
    if settled.packages_changed():
        say("Packages have changed while they were imported: this process ends, for the next to import them anew")
        return
    listener = listen(warm.socket_path(settings))
    say(f"Ready with {len(sys.modules)} modules")
    try:
        serve(listener, settings, program, settled)
    except Born as born:
        command = born.command
    else:
        return
    run(program, module, settled, command)


def prepare(program: str, before: Packages) -> tuple[ModuleType, Settled]:
    """Import everything, once; `Unfit` where what that leaves behind cannot be forked.

    `before` is how the packages were then: what changes while it is imported may have been imported by halves.
    """
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # these three as Python itself has them at its start
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    gc.disable()  # no holes in the pages that the children share
    with recorded() as asked:
        module = importlib.import_module(program)
        if preload := getattr(module, "preload", None):
            preload()
    sys.modules.pop(program, None)  # each child runs it as its main module
    settled = Settled.now(asked - getattr(module, "PERSONAL", frozenset()), before)
    gc.collect()
    gc.freeze()
    rehearse(module, settled)
    return module, settled


def await_others(before: Packages) -> None:
    """Return once these packages have changed; until then everybody starts the usual way."""
    while not differ(before):
        time.sleep(LOOK_S)


def rehearse(module: ModuleType, settled: Settled) -> None:
    """Make a process new that nobody waits for: what cannot be done must not be learnt from somebody's start."""
    pid = os.fork()
    if pid == 0:
        try:
            make_new(module, settled)
        except BaseException:  # noqa: BLE001 - a forked copy must never run on as the fork server
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1] != 0:
        raise Unfit("a fork cannot be made a new process; the lines above say why")


def make_new(module: ModuleType, settled: Settled) -> None:
    """Forget the fork server, as far as anybody can see."""
    os.environ.update(settled.added)
    new_process(settled)
    if refresh := getattr(module, "refresh", None):
        refresh()


def listen(path: Path) -> socket.socket:
    """A socket that only this user may connect to."""
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(128)
    return listener


def serve(listener: socket.socket, settings: Settings, program: str, settled: Settled) -> None:
    """Fork for each that asks, until packages have changed. Raises `Born` in the children's children."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a keeper ended: it is buried at once
    while True:
        connection, _ = listener.accept()
        if warm.peer(connection) != os.geteuid():
            connection.close()
            continue
        if settled.packages_changed():
            say("Packages have changed: this process ends, for the next to import them anew")
            return
        try:
            pid = os.fork()
        except OSError as why:  # who asked sees the connection end, and starts the usual way
            say(f"Could not fork: {why}")
            pid = -1
        if pid == 0:
            listener.close()
            child(connection, settings, program, settled)
        connection.close()


def child(connection: socket.socket, settings: Settings, program: str, settled: Settled) -> NoReturn:
    """Read the order and be its keeper to the end; never returns."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        keep(connection, settings, program, settled)
    except Born:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, a forked copy must never run on as the fork server
        with contextlib.suppress(OSError):
            traceback.print_exc()
    os._exit(0)


def keep(connection: socket.socket, settings: Settings, program: str, settled: Settled) -> None:
    """Take the order, or refuse it; then keep the run."""
    connection.settimeout(ORDER_S)
    try:
        text = warm.received(connection)
        if not text:
            return  # somebody looked whether we are there
        order = warm.decoded(text)
        folder = RunFolder(settings.folder.run / order.kind, order.lease)
        check(order, folder, program, settled)
        mark(settings, order)
    except Refused as why:
        connection.sendall(json.dumps({"refused": str(why)}).encode())
        return
    null, log = (
        os.open(os.devnull, os.O_RDONLY),
        os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
    )
    say(f"Process {os.getpid()} keeps {order.lease}")
    with contextlib.suppress(OSError):  # who asked may have ended: what is recorded and ordered runs all the same
        connection.sendall(json.dumps({"pid": os.getpid()}).encode())
    connection.close()
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(order.environment)
    title = processes.title(settings.instance, order.lease, order.kind)
    keeper.main(str(folder.path), partial(fork, title))


def check(order: Order, folder: RunFolder, program: str, settled: Settled) -> None:
    """Raise `Refused` unless this run is recorded, and a fork of ours is as good as a new process."""
    spec = folder.read("spec") or {}
    if (spec.get("lease"), spec.get("kind")) != (order.lease, order.kind):
        raise Refused("no such run is recorded")
    if spec.get("command", [])[:4] != warm.command(program):
        raise Refused("another command")
    if other := settled.differing(order.environment):
        raise Refused(f"another value of {', '.join(other)}")


def mark(settings: Settings, order: Order) -> None:
    """Carry the lease's mark where all look for it, in place of the fork server's own; `Refused` if that fails."""
    title = processes.title(settings.instance, order.lease, order.kind, keeper=True)
    setproctitle.setproctitle(title)
    shown = Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").decode()
    if shown != title or b"DURE_SERVICE" in Path("/proc/self/environ").read_bytes():
        raise Refused("it could not be marked")


def fork(title: str, command: list[str], cwd: str, confined: keeper.Confined) -> tuple[int, str]:
    """What `keeper.execute` does, by a fork alone."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid:
        return pid, keeper.trouble_of(told, tell)
    try:
        setproctitle.setproctitle(title)
        keeper.lead(cwd, confined)
    except BaseException as error:  # noqa: BLE001 - a forked copy must never run on as the keeper
        os.write(tell, str(error).encode())
        os._exit(127)
    os.closerange(3, 1 << 16)  # the pipe and the keeper's lock, as an exec would
    raise Born(command)


def run(program: str, module: ModuleType, settled: Settled, command: list[str]) -> None:
    """Be `python -P -m <program> ...`."""
    sys.orig_argv[:] = command
    sys.argv = ["-m", *command[4:]]
    make_new(module, settled)
    gc.enable()
    runpy.run_module(program, run_name="__main__", alter_sys=True)


def say(text: str) -> None:
    """A line in the log. What cannot be said on a full disk must end nobody's start."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode(errors="replace"))


if __name__ == "__main__":
    main(*sys.argv[1:])

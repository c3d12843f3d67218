"""`dure up`, in the foreground or, with --detach, as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from functools import partial
from typing import Any, TextIO

from dure.cli import say_error
from dure.errors import DureError
from dure.errors import reader_language as language
from dure_hub.supervisor.words import line

READY = "\0ready"
"""The last line a background `up` reports. No sentence begins with a NUL."""


def run(arguments: argparse.Namespace) -> int:
    """Start; the exit code is 0 once it was up, 1 where it could not be."""
    os.umask(0o077)  # whatever is made from here on is the portal's own
    flags = {"data": arguments.data, "port": arguments.port, "host": arguments.host}
    flags["insecure_http"] = arguments.insecure_http or None  # not said is not "no"
    if arguments.detach:
        return _detach(flags)
    if arguments.report_fd is not None:
        return _in_background(flags, arguments.report_fd)
    return _up(flags, sys.stdout, _ready)


def _ready() -> None:
    from dure_hub.supervisor.notify import notify

    if not notify("READY=1"):
        _say(sys.stdout, "foreground")  # a service manager has no Ctrl-C


def _up(flags: dict[str, Any], out: TextIO, ready: Any) -> int:
    from dure_hub.supervisor.run import up

    asyncio.run(up(flags, lambda key, **facts: _say(out, key, **facts), ready))
    return 0


def _say(out: TextIO, key: str, **facts: object) -> None:
    # Whoever read this may be gone (a closed terminal, an ended `--detach`); the portal goes on.
    with contextlib.suppress(OSError, ValueError):
        print(line(key, language(), **facts), file=out, flush=True)


def _in_background(flags: dict[str, Any], descriptor: int) -> int:
    """The other half of `--detach`: reports to its starter until it is ready, and then to nobody.

    A password it may show goes through this pipe to the terminal, and never into a log.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it has no terminal to lose
    out = os.fdopen(descriptor, "w")

    def ready() -> None:
        with contextlib.suppress(OSError):
            print(READY, file=out, flush=True)
            out.close()

    try:
        return _up(flags, out, ready)
    except DureError as error:
        if not out.closed:
            say_error(error, out)
        return 1


def _open_standard() -> None:
    """Open input, output and errors where the starter closed them: else the next pipe gets their numbers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _words(flags: dict[str, Any]) -> list[str]:
    """The same flags as they are typed."""
    words: list[str] = []
    for name, value in flags.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words


def _detach(flags: dict[str, Any]) -> int:
    """Start again in a session of its own, pass on what it says until it is ready, and leave it."""
    from dure_hub.supervisor import prepare

    settings = prepare.settle_whole(partial(_say, sys.stdout), **flags)
    if prepare.make_folder(settings):
        _say(sys.stdout, "made", folder=settings.folder.root)
    _open_standard()
    words = _words(flags)
    read, write = os.pipe()
    log = os.open(settings.folder.log / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "dure.cli", "up", *words, "--report-fd", str(write)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(write,),
        )
    finally:
        os.close(write)
        os.close(log)
    with os.fdopen(read) as said:
        for text in said:
            if text.rstrip("\n") == READY:
                _say(sys.stdout, "detached")
                return 0
            print(text, end="", flush=True)
    return child.wait() or 1

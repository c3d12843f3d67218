"""What the tests of warm starts fork: it prints all that a new process could tell about itself, and ends.

It has imported what a person's server has, as the portal's fork server does it, or does it now. STRANGERS names
texts, with `|` between them, that must be nowhere in this process.
"""

from __future__ import annotations

import gc
import json
import locale
import logging
import mimetypes
import os
import random
import resource
import signal
import site
import socket
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

from dure_hub.spawners import jupyterhub_singleuser

OF_PYTHON = (1 << 31) - 1
"""Signals above these are the C library's own."""

PERSONAL = jupyterhub_singleuser.PERSONAL
preload, refresh = jupyterhub_singleuser.preload, jupyterhub_singleuser.refresh


def main() -> None:
    descriptors = opened()
    preload()  # nothing new where it was done before
    found = strangers()  # before `own`, which brings to light what nothing uses any more
    print(json.dumps({"open": descriptors, "same": same(), "own": own(), "strangers": found}), flush=True)


def same() -> dict[str, Any]:
    """What must not depend on how the process was started."""
    from jupyter_client.session import Session
    from jupyter_core import paths
    from jupyterhub.services.auth import HubAuth
    from jupyterlab.labapp import LabApp

    trash = vars(sys.modules["send2trash.plat_other"])
    status = dict(
        line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line
    )
    mask = os.umask(0o077)
    return {
        "environment": dict(os.environ),
        "path": sys.path,
        "argv": sys.argv,
        "orig_argv": sys.orig_argv,
        "main": [sys.modules["__main__"].__file__, sys.modules["__main__"].__spec__.name],  # type: ignore[union-attr]
        "flags": [*sys.flags],
        "cwd": str(Path.cwd()),
        "umask": mask,
        "alone": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), status["Threads"]],
        "signals": [int(status[name], 16) & OF_PYTHON for name in ("SigBlk", "SigIgn", "SigCgt")],
        "handlers": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)],
        "clock": [time.tzname, time.timezone],
        "locale": [locale.setlocale(locale.LC_ALL), sys.stdout.encoding, sys.getfilesystemencoding()],
        "buffered": [sys.stdin.line_buffering, sys.stdout.line_buffering, sys.stderr.line_buffering],
        "site": [site.USER_BASE, site.USER_SITE, site.ENABLE_USER_SITE],
        "jupyter": [paths.jupyter_config_path(), paths.jupyter_path(), paths.jupyter_runtime_dir()],
        "lab": [LabApp.user_settings_dir.default_value, LabApp().user_settings_dir, LabApp().workspaces_dir],
        "trash": [str(trash["HOMETRASH"]), str(trash["XDG_DATA_HOME"])],
        "hub": [HubAuth().api_url, HubAuth().base_url, HubAuth().api_token],
        "session": Session().username,
        "temporary": tempfile.gettempdir(),
        "garbage": [gc.isenabled(), gc.get_threshold(), gc.get_debug()],
        **of_the_system(status),
        **of_the_interpreter(),
    }


def of_the_system(status: dict[str, str]) -> dict[str, Any]:
    """What a process inherits of the one that started it."""
    names = sorted(name for name in vars(resource) if name.startswith("RLIMIT_"))
    rights = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
    return {
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in names},
        "nice": [os.nice(0), os.sched_getscheduler(0), sorted(os.sched_getaffinity(0))],
        "killed_first": Path("/proc/self/oom_score_adj").read_text(),
        "rights": [status.get(name) for name in rights],
        "terminal": Path("/proc/self/stat").read_text().rpartition(")")[2].split()[4],
        "timers": [signal.getitimer(signal.ITIMER_REAL), signal.getitimer(signal.ITIMER_PROF)],
        "memory_shared": [line for line in Path("/proc/self/maps").read_text().splitlines() if " rw-s " in line],
    }


def of_the_interpreter() -> dict[str, Any]:
    """What code that ran before may have set."""
    hooks = (sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook)
    return {
        "hooks": [str(hook) for hook in hooks] + [str(sys.gettrace()), str(sys.getprofile())],
        "pace": [sys.getswitchinterval(), sys.getrecursionlimit(), socket.getdefaulttimeout()],
        "warnings": [str(one) for one in warnings.filters],
        "logging": [logging.root.level, logging.root.manager.disable, [str(one) for one in logging.root.handlers]],
        "threads": [thread.name for thread in threading.enumerate()],
        "mimetypes": sorted(mimetypes.knownfiles),
        "waked": signal.set_wakeup_fd(-1),
        "said_before": [sys.stdout.tell(), sys.stderr.tell()] if sys.stdout.seekable() else [],
    }


def own() -> dict[str, Any]:
    """What no two processes may have in common.

    Not here, since no fork can help it: the secret in the hashes of texts, and where memory lies.
    """
    import secrets
    import ssl
    import uuid
    from multiprocessing.process import current_process

    from jupyter_client.session import Session, session_flags

    return {
        "random": random.random(),
        "session": Session().session,
        "secure": str(session_flags["secure"][0]["Session"]["key"]),
        "authkey": bytes(current_process().authkey).hex(),
        "ssl": ssl.RAND_bytes(16).hex(),
        "uuid": str(uuid.uuid4()),
        "uuid of the time": str(uuid.uuid1()),
        "secret": secrets.token_hex(),
        "temporary name": next(tempfile._get_candidate_names()),  # type: ignore[attr-defined]
        **generators(),
    }


def generators() -> dict[str, Any]:
    """Where each generator of random numbers stands, private ones of libraries too."""
    gc.unfreeze()  # what was there at the fork would not be found
    found = [one for one in gc.get_objects() if isinstance(one, random.Random)]
    kept = [one for one in found if not isinstance(one, random.SystemRandom)]
    return {f"generator {number}": one.getstate()[1][:4] for number, one in enumerate(kept)}


def opened() -> dict[str, str]:
    """Descriptors and what they lead to."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        if entry.exists():  # that by which the folder is read is gone
            found[entry.name] = str(entry.readlink())
    return found


def strangers() -> list[str]:
    """Texts in anything that Python can reach from its modules and hold a word of STRANGERS."""
    asked = os.environ.pop("STRANGERS", "")
    words = [word for word in asked.split("|") if word]
    seen, left, found = {id(words)}, [*gc.get_objects(), sys.modules], list[str]()
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, str | bytes):
            text = str(one)
            found += [text[:200] for word in words if word in text and text not in (word, asked)]
        elif not isinstance(one, int | float):
            left += gc.get_referents(one)
    return found


if __name__ == "__main__":
    main()

"""A server whose kernels or terminals are at work is in use, also with no page open and where nothing is said.

Jupyter counts what a kernel sends as activity, and what a terminal shows to a page. A kernel that trains in
silence and a program in a terminal whose tab was closed would look unused. So as often as the server reports to
the hub, and at least once a minute, this notes the time while any kernel is at work, while anything is written to
a terminal, and while a program other than its shell is in the foreground of one, be it one that waits (an editor,
`top`). What was sent to the background of a terminal counts only while it writes. The server reports the time with
the rest: every setting whose name ends with `_last_activity` counts. Requests count without our help, but for what
every visible page of JupyterLab asks every few seconds: an open tab alone is no use. Pages say when somebody last
typed, clicked or scrolled in them (`page_input`), and that moment counts, too.

The same is told to the portal, which shows it to the server's owner.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.serverapp import ServerApp
from tornado.ioloop import PeriodicCallback

from dure.errors import DureError
from dure_lab import page_input
from dure_lab.portal import Portal, Refused

log = logging.getLogger(__name__)

SETTING = "dure_busy_last_activity"
_EVERY_S = 60
_LISTS = re.compile(r"/api/(?:kernels|kernelspecs|me|sessions|terminals|workspaces)/?$")
_FOLDERS = re.compile(r"/api/contents(?:/|$)")
_LAYOUT = re.compile(r"^(?!.*/api/contents/).*/lab/api/workspaces/[^/]+/?$")
_STARTS_WITHIN = timedelta(minutes=10)
"""A kernel that no client ever spoke to is `starting` for as long as it lives, so that counts only for a while."""


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where Jupyter finds the function below."""
    return [{"module": "dure_lab.busy"}]


def _load_jupyter_server_extension(server_app: ServerApp) -> None:
    """Look from now on, for as long as the server's loop runs."""
    _leave_out_polls()
    portal = Portal.of_this_server()

    async def look() -> None:
        states = _note(server_app)
        if portal is not None:
            await _report(portal, states)

    PeriodicCallback(look, _every_s() * 1000).start()


def _note(server_app: ServerApp) -> dict[str, str]:
    """Note the time if a kernel or a terminal is at work; the state of these and of pages."""
    kernels: Any = server_app.kernel_manager
    settings = server_app.web_app.settings
    now = datetime.now(UTC)
    found = [kernels.get_kernel(kernel) for kernel in kernels.list_kernel_ids()]
    # where the server has no terminals, it has no manager of them
    terminals = getattr(settings.get("terminal_manager"), "terminals", {})
    working = {
        # a kernel has neither of the two before it was first heard of
        "kernels": any(
            at_work(getattr(kernel, "execution_state", None), getattr(kernel, "last_activity", None), now)
            for kernel in found
        ),
        "terminals": any(_terminal_at_work(terminal, now) for terminal in terminals.values()),
    }
    if any(working.values()):
        settings[SETTING] = now
    connected = any(kernels.kernel_model(kernel)["connections"] for kernel in kernels.list_kernel_ids())
    states = {check: "in_use" if busy else "idle" for check, busy in working.items()}
    return states | {"pages": page_input.state(settings, connected, now)}


async def _report(portal: Portal, states: Mapping[str, str]) -> None:
    """Tell the portal. One that is away, or is older than this, hears of it later or not at all."""
    try:
        await portal.ask("POST", "/activity", "en", states)
    except (DureError, Refused) as error:
        log.info("dure: the portal was not told what is at work: %s", error)


def _leave_out_polls() -> None:
    """Have Jupyter not count what pages ask by themselves; it has no other way to tell them from use."""
    counted = APIHandler.update_api_activity

    def update_api_activity(self: APIHandler) -> None:
        if not is_poll(self.request.method or "", self.request.path, self.request.arguments):
            counted(self)

    APIHandler.update_api_activity = update_api_activity  # type: ignore[method-assign]


def is_poll(method: str, path: str, arguments: Mapping[str, Sequence[bytes]]) -> bool:
    """Whether this is what a page asks again and again: its lists of what runs, and of the folder it shows.

    JupyterLab also writes down its layout every ten seconds while a text file is open in it, moved or not.
    """
    if _LAYOUT.search(path) is not None:
        return True
    if method not in ("GET", "HEAD"):
        return False
    kind = arguments.get("type", [b"directory"])[-1]
    return _LISTS.search(path) is not None or (_FOLDERS.search(path) is not None and kind == b"directory")


def at_work(state: str | None, heard_at: datetime | None, now: datetime) -> bool:
    """Whether a kernel in this state, last heard of then, is at work or about to be."""
    if state == "starting":
        return heard_at is not None and now - heard_at < _STARTS_WITHIN
    return state == "busy"


def _terminal_at_work(terminal: Any, now: datetime) -> bool:
    """Whether it was written to since the last look, or something besides its shell is in the foreground."""
    written_at: datetime | None = getattr(terminal, "last_activity", None)  # set with every output, seen or not
    if written_at is not None and now - written_at <= timedelta(seconds=_every_s()):
        return True
    try:
        group = os.tcgetpgrp(terminal.ptyproc.fd)
    except (OSError, ValueError):  # it has just ended
        return False
    return group not in (0, terminal.ptyproc.pid)


def _every_s() -> int:
    """As often as the server reports to the hub, so that no report is behind; at least once a minute."""
    told = os.environ.get("JUPYTERHUB_ACTIVITY_INTERVAL", "")
    return min(int(told), _EVERY_S) if told.isdecimal() and int(told) else _EVERY_S

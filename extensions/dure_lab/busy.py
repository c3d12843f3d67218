"""A server whose kernels compute is in use, also where they say nothing for hours.

Jupyter counts what a kernel sends as activity. One that trains in silence sends nothing and would look unused, so
once a minute this notes the time while any kernel is at work. The server reports it to the hub with the rest:
every setting whose name ends with `_last_activity` counts. Open terminals and requests count without our help.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from jupyter_server.serverapp import ServerApp
from tornado.ioloop import PeriodicCallback

SETTING = "dure_busy_last_activity"
_EVERY_S = 60
_STARTS_WITHIN = timedelta(minutes=10)
"""A kernel that no client ever spoke to is `starting` for as long as it lives, so that counts only for a while."""


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where Jupyter finds the function below."""
    return [{"module": "dure_lab.busy"}]


def _load_jupyter_server_extension(server_app: ServerApp) -> None:
    """Look from now on, for as long as the server's loop runs."""
    PeriodicCallback(lambda: _note(server_app), _every_s() * 1000).start()


def _note(server_app: ServerApp) -> None:
    kernels = server_app.kernel_manager
    now = datetime.now(UTC)
    found = [kernels.get_kernel(kernel) for kernel in kernels.list_kernel_ids()]
    # a kernel has neither of the two before it was first heard of
    if any(
        at_work(getattr(kernel, "execution_state", None), getattr(kernel, "last_activity", None), now)
        for kernel in found
    ):
        server_app.web_app.settings[SETTING] = now


def at_work(state: str | None, heard_at: datetime | None, now: datetime) -> bool:
    """Whether a kernel in this state, last heard of then, is at work or about to be."""
    if state == "starting":
        return heard_at is not None and now - heard_at < _STARTS_WITHIN
    return state == "busy"


def _every_s() -> int:
    """As often as the server reports to the hub, so that no report is behind; at least once a minute."""
    told = os.environ.get("JUPYTERHUB_ACTIVITY_INTERVAL", "")
    return min(int(told), _EVERY_S) if told.isdecimal() and int(told) else _EVERY_S

"""When somebody last typed, clicked or scrolled in a page of this server, as its pages say.

That moment is activity of the server, and never a later one: a page tells once a minute at most, and only of use.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError, authenticated

SETTING = "dure_input_last_activity"
CAN_TELL = "dure_pages_tell"
"""Set once any page has spoken: from then on, silence of pages means that nobody uses them."""
ACTIVE = timedelta(minutes=2)
"""A page in which somebody goes on typing tells once a minute, and its request takes a while."""
_LONGEST_S = 366 * 24 * 3600


def state(settings: Mapping[str, Any], connected: bool, now: datetime) -> str:
    """Whether somebody uses a page: `in_use`, `idle` or `unknown`. `connected`: anybody holds a kernel's socket.

    Unknown is only who is connected where no page ever spoke: it may be a page that cannot tell.
    """
    last: datetime | None = settings.get(SETTING)
    if last is not None and now - last < ACTIVE:
        return "in_use"
    return "unknown" if connected and not settings.get(CAN_TELL) else "idle"


class Input(APIHandler):
    """Told by pages. The request itself is no use of the server; what it tells of is."""

    auth_resource = "dure"
    _track_activity = False

    @authenticated
    @authorized
    def post(self) -> None:
        """Body {"seconds_ago"}: since the last input in this page; null where there was none yet."""
        body = self.get_json_body()
        seconds = body.get("seconds_ago", "") if isinstance(body, dict) else ""
        if seconds is not None:
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _LONGEST_S:
                raise HTTPError(400, f"seconds_ago is null or a number from 0 to {_LONGEST_S}")
            at = datetime.now(UTC) - timedelta(seconds=seconds)
            self.settings[SETTING] = max(at, self.settings.get(SETTING, at))
        self.settings[CAN_TELL] = True
        self.set_status(204)
        self.finish()

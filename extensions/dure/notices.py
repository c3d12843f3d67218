"""What you are told by itself: `dure.notices.list()`, `.seen()`, and how and where it is sent."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

from dure import wire
from dure.client import API, ask, client, read, read_all, said
from dure.display import Table
from dure.wire.ids import new_id

COLUMNS = ("made_at", "kind", "text", "seen_at", "id")
PATH = "/me/notices"


def list(  # noqa: A001 - dure.notices.list() reads well
    unseen: bool = False, limit: int = 50, before: str | None = None
) -> Table[wire.Notice]:
    """The newest first; with `unseen`, only what you have not read. `before` is an id to go on from."""
    answer = client().get(PATH, unseen="true" if unseen else None, limit=limit, before=before)
    return Table(read_all(wire.Notice, answer), COLUMNS)


def seen(*ids: str, through: str | None = None) -> None:
    """Mark these as read, or all up to and with `through`; all there are without either."""
    if not ids and through is None:
        newest = client().get(PATH, limit=1)
        through = next((one.id for one in read_all(wire.Notice, newest)), None)
        if through is None:
            return
    request = ask(wire.SeenRequest, ids=builtins.list(ids), through=through)
    client().post(f"{PATH}/seen", request.model_dump(mode="json"), repeatable=True)


def settings() -> wire.NoticeSettings:
    """How you are told, and where. Of an address only its scheme and host are shown."""
    return read(wire.NoticeSettings, client().get(f"{PATH}/settings"))


def set(  # noqa: A001 - dure.notices.set() reads well
    *,
    language: str | None = None,
    timezone: str | None = None,
    mail: bool | None = None,
    off: Sequence[str] | None = None,
) -> wire.NoticeSettings:
    """Change what is named; the rest stays. `language` and `timezone` are taken back by an empty text.

    `off` are kinds that are only listed; `mail` is whether the portal's own mail reaches you.
    """
    now = settings()
    values: dict[str, Any] = {
        "language": now.language if language is None else language or None,
        "timezone": now.timezone if timezone is None else timezone or None,
        "mail": now.mail if mail is None else mail,
        "off": now.off if off is None else builtins.list(off),
    }
    request = ask(wire.NoticeSettingsRequest, **values)
    body = request.model_dump(mode="json")
    answer = client().send("PUT", f"{API}{PATH}/settings", repeatable=True, json=body)
    return read(wire.NoticeSettings, said(answer))


def add(url: str) -> wire.NoticeChannel:
    """Have notices sent to this address, too, as Apprise writes it: `jsons://example.org/hook`."""
    request = ask(wire.NoticeChannelRequest, id=new_id(), url=url)
    answer = client().post(f"{PATH}/channels", request.model_dump(mode="json"), repeatable=True)
    return read(wire.NoticeChannel, answer)


def remove(channel: str) -> None:
    """Have nothing sent there any more; `channel` is the id that `settings()` shows."""
    client().delete(f"{PATH}/channels/{channel}")


def test() -> wire.Notice:
    """Send a notice everywhere it would go, once a minute at most."""
    return read(wire.Notice, client().post(f"{PATH}/test", None, repeatable=True))


def failures() -> Table[wire.NoticeFailure]:
    """What could not be sent so far, of everybody, the latest first; for administrators."""
    columns = ("error_at", "person", "scheme", "host", "error", "tries", "state")
    return Table(read_all(wire.NoticeFailure, client().get("/notices/failures")), columns)

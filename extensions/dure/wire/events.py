"""One change each."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dure.wire.base import Answer


class Event(Answer):
    """Who did what to which thing, on whose behalf, with which verdict, when (UTC).

    `seq` numbers them in the order in which they were written, with gaps; older portals do not say it.
    """

    id: str
    seq: int | None = None
    actor: str
    on_behalf_of: str | None = None
    verb: str
    object: str
    verdict: dict[str, Any] = {}
    at: datetime

"""Keys of machines, and what the login provider last said of people. Times are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from dure.wire.base import Answer, Ask, Name

KeyScope = Literal["read", "jobs", "predict", "full"]
DAY_S = 86400


class KeyRequest(Ask):
    """A key for a machine. Without `lifetime_s` it lives as long as the portal's setting says, never for ever.

    `read` sees what is its owner's and changes nothing; `jobs` submits and stops training as well; `predict` asks
    served models, those named in `endpoints` or any; `full` may what its owner may, but for tokens and keys.
    `admin` carries administrator's rights: only for an administrator, with `full`, and only where said.
    """

    name: Name
    scopes: list[KeyScope] = Field(min_length=1, max_length=4)
    endpoints: list[Name] = Field(default=[], max_length=50)
    lifetime_s: int | None = Field(default=None, ge=60, le=366 * DAY_S)
    admin: bool = False


class Key(Answer):
    """A key, without its text. `used_at` is its last use, to the minute; null is never."""

    id: str
    owner: str
    name: str
    scopes: list[str]
    endpoints: list[str] = []
    admin: bool = False
    made_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    revoked_at: datetime | None = None


class NewKey(Key):
    """`key` is shown this once and kept nowhere."""

    key: str


class Login(Answer):
    """A person's login as its provider last told it.

    `checked_at` is when it last confirmed them, `failing_since` since when it cannot be asked, and `why`. Whom it
    confirms no more since `gone_at` is warned, and out at `ends_at`; `ended_at` is when that was. `left_out` are
    groups that can be no team, each with why.
    """

    name: str
    checked_at: datetime | None = None
    failing_since: datetime | None = None
    why: str | None = None
    gone_at: datetime | None = None
    ends_at: datetime | None = None
    ended_at: datetime | None = None
    teams: list[str] = []
    left_out: list[tuple[str, str]] = []

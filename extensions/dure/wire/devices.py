"""GPUs that are kept from being granted: by a fault, by hand, or since something else uses them."""

from __future__ import annotations

from datetime import datetime

from pydantic import AwareDatetime, Field

from dure.wire.base import Answer, Ask

MESSAGE_PATTERN = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$"


class Outsider(Answer):
    """A process on a GPU that the portal did not start. `user` is null where its account has no name."""

    pid: int
    name: str
    user: str | None = None
    memory_mb: int | None = None


class Device(Answer):
    """One GPU and what it is to people.

    `state` is healthy, unhealthy, cordoned, draining (who holds it is asked to end), drained (nobody holds it any
    more) or used_outside; only what is healthy is granted. `since` is when that began, `code` and `why` say what
    for. `until` is when a cordon is thought to be over, or by when a drain is to be. `message` and `by` are those
    of the administrator. `holders` are leases; `outsiders` is what else is on it.
    """

    uuid: str
    name: str
    node: str = ""
    state: str
    code: str | None = None
    why: dict[str, str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    message: str | None = None
    by: str | None = None
    holders: list[str] = []
    outsiders: list[Outsider] = []


class CordonRequest(Ask):
    """Grant nothing of a GPU from now on. `until` is when that is thought to be over; it ends by hand."""

    until: AwareDatetime | None = None
    message: str | None = Field(default=None, max_length=300, pattern=MESSAGE_PATTERN)


class DrainRequest(Ask):
    """Grant nothing of a GPU, and have who holds it end by `until`; null is in ten minutes.

    Less notice than ten minutes needs `now` and a `message`.
    """

    until: AwareDatetime | None = None
    message: str | None = Field(default=None, max_length=300, pattern=MESSAGE_PATTERN)
    now: bool = False


class DiskFolder(Answer):
    """A folder and its size in bytes; `at_least` where not all of it could be counted in time."""

    folder: str
    size: int
    at_least: bool = False


class Disk(Answer):
    """The file systems that the portal writes to, the fullest first shown. Sizes are bytes; null is unknown.

    `starts` is whether anything new may start.
    `homes` are people's folders: all, for administrators; else one's own.
    """

    starts: bool
    place: str
    free: int
    total: int
    free_percent: float
    limit_percent: float
    minimum_mb: int
    folders: list[DiskFolder] = []
    homes: list[DiskFolder] = []
    measured_at: datetime | None = None

"""How long a lease may run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dure_hub.policies.verdict import Verdict

SHORTEST_S = 300


@dataclass(frozen=True)
class Bounds:
    """How long a server runs where nobody says, and at the longest, in seconds.

    `kind` and `name` are the user or team whose limit the longest is; None where it is the profile's.
    """

    default_s: int
    max_s: int
    kind: str | None = None
    name: str | None = None


def bounds(default_s: int, max_s: int, limits: Sequence[tuple[str, str, int | None]] = ()) -> Bounds:
    """A profile's bounds within what users and teams (kind, name, seconds; None is no limit) may have at most."""
    found = Bounds(min(default_s, max_s), max_s)
    for kind, name, limit_s in limits:
        if limit_s is not None and limit_s < found.max_s:
            found = Bounds(min(default_s, limit_s), limit_s, kind, name)
    return found


def lifetime(asked_s: int | None, *, default_s: int, max_s: int) -> tuple[Verdict, int]:
    """The lifetime in seconds, within bounds: the default where none is asked for, the longest at most."""
    if asked_s is None:
        return Verdict.yes("default_lifetime", seconds=min(default_s, max_s)), min(default_s, max_s)
    if asked_s < SHORTEST_S:
        return Verdict.no("lifetime_too_short", asked=asked_s, shortest=SHORTEST_S), SHORTEST_S
    if asked_s > max_s:
        return Verdict.no("lifetime_too_long", asked=asked_s, longest=max_s), max_s
    return Verdict.yes("lifetime_as_asked", seconds=asked_s), asked_s


def latest_end(until: datetime, *, max_s: int, now: datetime) -> datetime:
    """The latest end that may be asked for: the longest lifetime, counted from now; never less than there is."""
    return max(until, now + timedelta(seconds=max_s))


def extension(asked: datetime, until: datetime, *, max_s: int, now: datetime) -> Verdict:
    """Whether a lease that ends at `until` may end at `asked` instead. It may be extended again later.

    `end_as_is` changes nothing. Nothing is shortened in this way: who wants an earlier end stops the work.
    """
    if asked == until:
        return Verdict.yes("end_as_is", until=_text(until))
    if asked <= max(until, now):
        return Verdict.no("end_too_early", asked=_text(asked), earliest=_text(max(until, now)))
    latest = latest_end(until, max_s=max_s, now=now)
    if asked > latest:
        return Verdict.no("end_too_late", asked=_text(asked), latest=_text(latest), longest_s=max_s)
    return Verdict.yes("end_moved", until=_text(asked), before=_text(until))


def _text(time: datetime) -> str:
    """As in sentences and events: UTC, in whole seconds."""
    try:
        return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:  # a first or last hour of the calendar, in a zone where UTC has none
        return time.isoformat()


def waited_too_long(since: datetime, timeout_s: int, now: datetime) -> bool:
    """Whether a request that waits since then has come to the end of its time. Inclusive."""
    return now - since >= timedelta(seconds=timeout_s)


def is_expired(until: datetime | None, now: datetime) -> bool:
    """Expiry is inclusive: a lease is over at its end. One without an end never is."""
    return until is not None and now >= until

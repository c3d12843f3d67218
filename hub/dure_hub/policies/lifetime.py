"""How long a lease may run."""

from __future__ import annotations

from datetime import datetime

from dure_hub.policies.verdict import Verdict

SHORTEST_S = 300


def lifetime(asked_s: int | None, *, default_s: int, max_s: int) -> tuple[Verdict, int]:
    """The lifetime in seconds, within bounds: the default where none is asked for, the longest at most."""
    if asked_s is None:
        return Verdict.yes("default_lifetime", seconds=min(default_s, max_s)), min(default_s, max_s)
    if asked_s < SHORTEST_S:
        return Verdict.no("lifetime_too_short", asked=asked_s, shortest=SHORTEST_S), SHORTEST_S
    if asked_s > max_s:
        return Verdict.no("lifetime_too_long", asked=asked_s, longest=max_s), max_s
    return Verdict.yes("lifetime_as_asked", seconds=asked_s), asked_s


def is_expired(until: datetime | None, now: datetime) -> bool:
    """Expiry is inclusive: a lease is over at its end. One without an end never is."""
    return until is not None and now >= until

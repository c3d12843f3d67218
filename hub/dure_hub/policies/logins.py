"""What becomes of a login that its provider does not confirm any more, or cannot be asked about."""

from __future__ import annotations

from datetime import datetime, timedelta

from dure_hub.policies.verdict import Verdict


def unreachable(checked_at: datetime | None, failing_since: datetime, bound_s: int, now: datetime) -> Verdict:
    """Whether somebody goes on whose provider does not answer: up to `bound_s` after it last confirmed them.

    Who was never confirmed (a login of before there were checks) counts from the first failure on.
    """
    since = checked_at or failing_since
    if now - since < timedelta(seconds=bound_s):
        return Verdict.yes("unchecked", since=since.isoformat(), bound_s=bound_s)
    return Verdict.no("unchecked_too_long", since=since.isoformat(), bound_s=bound_s)


def end_of(until: datetime | None, notice_s: int, now: datetime) -> datetime:
    """When something ends whose owner is to be warned: after the notice, never later than it would anyway."""
    end = now + timedelta(seconds=notice_s)
    return end if until is None else min(until, end)


def is_due(checked_at: datetime | None, every_s: int, now: datetime) -> bool:
    """Whether somebody is to be asked about again; half a second early is no second question."""
    return checked_at is None or now - checked_at >= timedelta(seconds=every_s - 0.5)

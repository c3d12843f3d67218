"""When a server counts as unused for too long."""

from __future__ import annotations

from datetime import datetime, timedelta

from dure_hub.policies.verdict import Verdict


def idle(active_at: datetime | None, timeout_s: int, now: datetime, grace_s: int) -> Verdict:
    """Whether it may end for idleness. `active_at` is when it was last seen in use; a timeout of 0 ends nothing.

    Use is seen only with the server's next report. Who comes back just before `idle_end` is known some time after
    it, so nothing ends before `grace_s` more have passed: longer than a report takes to arrive.
    Inclusive, as an end is. Never seen in use is not idle: nobody has looked yet.
    """
    if not timeout_s:
        return Verdict.no("never_idle")
    if active_at is None:
        return Verdict.no("not_seen_yet", timeout_s=timeout_s)
    idle_s = max(int((now - active_at).total_seconds()), 0)
    if idle_s < timeout_s + grace_s:
        return Verdict.no("in_use", idle_s=idle_s, timeout_s=timeout_s)
    return Verdict.yes("idle", idle_s=idle_s, timeout_s=timeout_s)


def idle_end(active_at: datetime | None, timeout_s: int) -> datetime | None:
    """By when it must be used to live on; it ends soon after. None where nobody knows, or nothing ends idle."""
    return active_at + timedelta(seconds=timeout_s) if active_at is not None and timeout_s else None

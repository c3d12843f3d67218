"""When a schedule is due: the five fields of crontab(5), read in a time zone. The clock is an argument.

Where a zone's clocks are set forward or back, this does what Debian's cron does: a time of day that does not exist
is due when the clocks have jumped, one that comes twice is due once, and `*` goes on by real minutes and hours.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from dure_hub.policies.verdict import Verdict

FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")


def judge(cron: str, timezone: str, after: datetime) -> Verdict:
    """Whether this can be a schedule's time; what is wrong with it, if not. Reads no clock."""
    fields = cron.split()
    if len(fields) != len(FIELDS):
        return Verdict.no("cron_fields", cron=cron, count=len(fields))
    if _zone(timezone) is None:
        return Verdict.no("no_such_timezone", timezone=timezone)
    for number, text in enumerate(fields):
        alone = ["*"] * len(FIELDS)
        alone[number] = text
        if _sim(" ".join(alone), after) is None:
            return Verdict.no("cron_field", cron=cron, field=FIELDS[number], value=text)
    due = next_after(cron, timezone, after)
    if due is None:
        return Verdict.no("cron_never", cron=cron)
    return Verdict.yes("cron_fires", next_at=due.isoformat())


def next_after(cron: str, timezone: str, after: datetime) -> datetime | None:
    """The first time later than `after` at which it is due, in UTC; None if there is none within fifty years.

    Raises `ValueError` for what `judge` refuses as a zone or an expression.
    """
    zone = _zone(timezone)
    if zone is None:
        raise ValueError(f"{timezone!r} is no time zone")
    times = _sim(cron, after.astimezone(zone))
    if times is None:
        return None
    for due in times:
        found = due.astimezone(UTC)
        # Within an hour that comes twice the library begins at the first of the two.
        if found > after:
            return found
    return None


def _sim(cron: str, start: datetime) -> CronSim | None:
    try:
        return CronSim(cron, start)
    except CronSimError:
        return None  # also for a day that none of its months has


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, no name at all, a folder of the database
        return None

"""What people are told of a start, and what of it they may still be told later. The clock is an argument."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from dure_hub.policies.verdict import Verdict

ALLOWANCE, ALLOWANCE_S = 0.25, 1800
"""What a promise leaves for what nobody can know, who comes in a class above most of all: a part of the wait, and
so long."""
RESERVE = 0.25
"""The part of the time until a promised start that others may not use up."""
_MINUTE = timedelta(minutes=1)


def latest(start: datetime | None, now: datetime) -> datetime | None:
    """What may be promised of a start: with the allowance, and a whole minute, as people read it.

    A start that may be now gets it too: who has yet to be granted is not there.
    """
    if start is None:
        return None
    said = max(start, now) + ALLOWANCE * max(start - now, timedelta(0)) + timedelta(seconds=ALLOWANCE_S)
    return said + (datetime.min.replace(tzinfo=UTC) - said) % _MINUTE


def in_danger(promised: datetime, start: datetime | None, now: datetime) -> bool:
    """Whether a ticket with this latest start may be later than was promised: its allowance is being used up.

    One that nobody knows any more is in danger too.
    """
    said = latest(start, now)
    return said is None or said > promised


def spends_reserve(promised: datetime, start: datetime | None, now: datetime) -> bool:
    """Whether a ticket with this latest start has less left of the time that it was promised than stays its own.

    So much (`RESERVE`) stays where others use room that it cannot use yet.
    """
    return start is None or start - now > (1 - RESERVE) * (promised - now)


def told(promised: datetime | None, start: datetime | None, now: datetime, gives_up: datetime) -> datetime | None:
    """What a person reads of a ticket with this latest start: what was promised, for as long as it can be kept.

    None is unknown, and so is what lies behind `gives_up`: the ticket ends then, so it starts before or never.
    """
    if promised is not None and (promised > now if start is None else start <= promised):
        return promised
    said = latest(start, now)
    return None if said is None or said > gives_up else said


def extension(asked: datetime, allowed: datetime, put_off: Iterable[datetime]) -> Verdict:
    """Whether a lease may end at `asked`, where `allowed` is the latest end that puts off nobody's promised start.

    `put_off` are the starts that were promised to those whom a later end would put off.
    """
    promised = sorted(put_off)
    if asked <= allowed or not promised:
        return Verdict.yes("nobody_put_off", until=_text(asked))
    return Verdict.no(
        "others_wait",
        asked=_text(asked),
        waiting=len(promised),
        first=_text(promised[0]),
        latest=_text(allowed),
    )


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

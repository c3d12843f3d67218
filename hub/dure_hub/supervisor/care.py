"""What has become of a service since `up`: how often it ended, how the last time, and when it is started again."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict, dataclass, replace
from pathlib import Path

FIRST_DELAY_S, LONGEST_DELAY_S = 0.2, 30.0
CALM_S = 60.0
"""A service that answered and lived so long starts from the first delay again when it ends."""
EARLY_EXITS = 3
"""A service that ends this often in a row before it ever answered does not start: another try alone is no cure."""
JITTER = 0.25


@dataclass(frozen=True)
class End:
    """How a service ended: its exit code, or minus the number of the signal; None where nobody could learn it."""

    code: int | None
    at: float
    """Seconds since 1970, as `time.time` counts."""
    lived_s: float | None = None

    @property
    def signal(self) -> str | None:
        """The name of the signal that ended it, if one did."""
        if self.code is None or self.code >= 0:
            return None
        try:
            return signal.Signals(-self.code).name
        except ValueError:  # a real-time signal has no name of its own
            return f"signal {-self.code}"


@dataclass(frozen=True)
class Care:
    """One service's ends since `up`. `next_at` is when it is started again; None while it runs."""

    ends: int = 0
    in_a_row: int = 0
    """Ends since it last lived for long."""
    unanswered: int = 0
    """Ends in a row before it ever answered."""
    last: End | None = None
    next_at: float | None = None

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return self.ends - (self.next_at is not None)

    @property
    def failing(self) -> bool:
        """Whether it ends at every start: its log says why, and trying on alone is no cure."""
        return self.unanswered >= EARLY_EXITS

    def ended(self, end: End, answered: bool, draw: float) -> Care:
        """After this end, with the time of the next start. `draw` is a random number from 0 to 1."""
        calm = answered and end.lived_s is not None and end.lived_s > CALM_S
        in_a_row = 1 if calm else self.in_a_row + 1
        return Care(
            ends=self.ends + 1,
            in_a_row=in_a_row,
            unanswered=0 if answered else self.unanswered + 1,
            last=end,
            next_at=end.at + pause_s(in_a_row, draw),
        )

    def started(self) -> Care:
        """It is started again; whether that helps is not known yet."""
        return replace(self, next_at=None)

    def answers(self) -> Care:
        """It is ready."""
        return replace(self, unanswered=0)

    def save(self, path: Path) -> None:
        """Write it atomically."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self)))
        temporary.replace(path)


def pause_s(in_a_row: int, draw: float) -> float:
    """The delay after so many ends in a row: doubled each time, capped, and spread, so that several that end for
    one reason do not start in step."""
    # beyond the cap the power would only grow, until it no longer is a number
    delay = min(FIRST_DELAY_S * 2.0 ** min(in_a_row - 1, 30), LONGEST_DELAY_S)
    return delay * (1 - JITTER + 2 * JITTER * draw)


def load_care(path: Path) -> Care | None:
    """What is written at `path`; None where there is none that can be read."""
    try:
        found = json.loads(path.read_text())
        last = found.pop("last")
        return Care(**found, last=None if last is None else End(**last))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None

"""When something ended of which nobody may have seen the end. The clock is an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class End:
    """It ended at `at`, or up to `uncertain_s` seconds later: nobody is charged for what is not known."""

    at: datetime
    uncertain_s: int = 0


def end(looked_at: datetime, granted_at: datetime, ago_s: float | None, ran_at: datetime | None) -> End:
    """The end of a lease that a look has found to be over.

    `ago_s` is how long before the look that was at the latest; None is the look itself. `ran_at` is when it was
    last known to run, where the end itself was seen by nobody; None means that `ago_s` is exact.
    """
    latest = looked_at - timedelta(seconds=max(ago_s or 0.0, 0.0))
    latest = max(latest, granted_at)
    if ran_at is None:
        return End(latest)
    at = min(max(ran_at, granted_at), latest)
    return End(at, math.ceil((latest - at).total_seconds()))

"""How much a team or person has had lately, beside what it is entitled to: old use counts less and less.

Use is GPU-seconds, where a part of a GPU counts as its part. After one half-life it counts half. Normalised use
orders tickets: of two teams who wait, the one that had less beside its weight goes first, and so each comes to its
share in the long run.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

HALF_LIFE = timedelta(days=7)


def decay(value: float, age: timedelta, half_life: timedelta = HALF_LIFE) -> float:
    """What is left of it after some time. A clock that was set back makes nothing grow."""
    # the cast is for mypy: a power of floats may be complex to it
    return value * float(0.5 ** (max(age, timedelta()) / half_life))


def held(
    gpus: float, start: datetime, end: datetime | None, now: datetime, half_life: timedelta = HALF_LIFE
) -> float:
    """Decayed GPU-seconds of `gpus` held all the time from `start` to `end` (None: still held), as of `now`.

    The closed form of the integral over t in [start, end] of gpus * 0.5^((now - t) / h), with h the half-life:
    gpus * (h / ln 2) * (0.5^((now - end) / h) - 0.5^((now - start) / h)). It needs no samples, and any cutting of
    the interval sums to the same. Whoever holds one GPU for ever comes to h / ln 2 seconds, and no further.
    """
    last = now if end is None else min(end, now)
    if last <= start:
        return 0.0
    tau = half_life.total_seconds() / math.log(2)
    return gpus * tau * (decay(1.0, now - last, half_life) - decay(1.0, now - start, half_life))


def share(used: float, weight: float = 1.0) -> float:
    """Decayed use beside the entitlement's weight. Raises `ValueError` where the weight is not above 0.

    A weight is anything that entitlements can be compared by: the GPUs of a team's quota, or 1 for everyone.
    """
    if not weight > 0:
        raise ValueError(f"a weight of {weight} entitles to nothing: it must be above 0")
    return used / weight

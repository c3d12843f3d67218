"""What the API server says where a ResourceQuota has no room: pure functions of its sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dure_hub.backends.kubernetes.requests import number_of

_EXCEEDED = re.compile(r"exceeded quota: ([^\s,]+), (requested: (\S+), used: \S+, limited: (\S+))")
"""As its admission writes it: the first quota that is exceeded, and of each resource what it is about."""


@dataclass(frozen=True)
class Exceeded:
    """A quota by name, what it says, and whether it has room once others give theirs back."""

    quota: str
    why: str
    waits: bool


def exceeded(message: str) -> Exceeded | None:
    """The quota that this refusal is about; None where it is about something else."""
    found = _EXCEEDED.search(message)
    if found is None:
        return None
    asked, limited = _amounts(found[3]), _amounts(found[4])
    waits = all(amount <= limited.get(name, 0.0) for name, amount in asked.items())
    return Exceeded(found[1], found[2], waits)


def _amounts(said: str) -> Mapping[str, float]:
    """`limits.cpu=2,limits.memory=4Gi` as numbers."""
    return {name: number_of(amount) for name, _, amount in (one.partition("=") for one in said.split(","))}

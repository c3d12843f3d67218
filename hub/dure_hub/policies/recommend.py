"""How what was held could have cost less, with the arithmetic. Only measured use counts.

Prices compared are those of the leases (what was paid) and of today's offers. Memory is the fullest moment that
was seen, once a minute; a fifth of the smaller one's memory is kept free for what was not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dure_hub.policies.cost import HOUR_US, price

SMALLER, IDLE = "smaller_profile", "idle_held"
LEAST_US = 4 * HOUR_US
"""Whoever held less than four hours is told nothing: it says little, and saves little."""
_MEASURED = 0.5
"""The share of the time held that must have been measured."""
_ROOM = 0.8
"""The share of its memory that a smaller profile may have in use."""
_WORTH = 0.1
"""Savings below this share of the cost are not worth a sentence."""
_MOSTLY_IDLE = 0.5


@dataclass(frozen=True)
class Holding:
    """What one person held of one profile in a window, at known rates. Memory in MiB; None was not measured.

    Of `held_us` it was looked at in `seen_us`, and in `known_us` the GPU said how busy it was.
    """

    owner: str
    profile: str
    held_us: int
    cost: int
    seen_us: int = 0
    known_us: int = 0
    busy_us: int = 0
    memory_max_mb: int | None = None


@dataclass(frozen=True)
class Offer:
    """A profile as it is offered now: one GPU or part of one, of a `model`; `compute` is the part (0 to 1)."""

    profile: str
    model: str
    memory_mb: int | None
    rate: int | None
    compute: float | None = 1.0


@dataclass(frozen=True)
class Recommendation:
    """`code` and `facts` make the sentence; `saved` is in micro-units."""

    code: str
    owner: str
    profile: str
    saved: int
    facts: Mapping[str, Any]


def recommend(holdings: Iterable[Holding], offers: Mapping[str, Offer]) -> list[Recommendation]:
    """At most one for each holding: the one that saves the most. The largest saving comes first."""
    found = []
    for held in holdings:
        if held.held_us < LEAST_US or held.cost <= 0:
            continue
        both = [one for one in (_smaller(held, offers), _idle(held)) if one is not None]
        if both:
            found.append(max(both, key=lambda one: one.saved))
    return sorted(found, key=lambda one: (-one.saved, one.owner, one.profile))


def _smaller(held: Holding, offers: Mapping[str, Offer]) -> Recommendation | None:
    own = offers.get(held.profile)
    if own is None or own.memory_mb is None or held.memory_max_mb is None:
        return None
    if held.seen_us < held.held_us * _MEASURED:
        return None
    busy = _busy(held)
    fitting = [offer for offer in offers.values() if _fits(offer, own, held.memory_max_mb, busy)]
    if not fitting:
        return None
    best = min(fitting, key=lambda offer: (offer.rate or 0, offer.profile))
    would = price(best.rate or 0, held.held_us)
    saved = held.cost - would
    if saved < held.cost * _WORTH:
        return None
    facts = {
        "profile": held.profile,
        "hours": round(held.held_us / HOUR_US, 1),
        "memory_max_mb": held.memory_max_mb,
        "memory_mb": own.memory_mb,
        "memory_percent": -(-100 * held.memory_max_mb // own.memory_mb),
        "busy_percent": None if busy is None else round(100 * busy),
        "instead": best.profile,
        "instead_memory_mb": best.memory_mb,
        "instead_rate": best.rate,
        "cost": held.cost,
        "would_cost": would,
        "saved": saved,
        "saved_percent": 100 * saved // held.cost,
    }
    return Recommendation(SMALLER, held.owner, held.profile, saved, facts)


def _fits(offer: Offer, own: Offer, memory_mb: int, busy: float | None) -> bool:
    """Whether the work would have had room: in memory, and in compute where it is known how much it took."""
    if offer.profile == own.profile or offer.model != own.model or offer.rate is None or offer.memory_mb is None:
        return False
    if memory_mb > offer.memory_mb * _ROOM:
        return False
    if busy is None or own.compute is None or offer.compute is None:
        return True
    return busy * own.compute <= offer.compute


def _idle(held: Holding) -> Recommendation | None:
    busy = _busy(held)
    if busy is None or busy > 1 - _MOSTLY_IDLE:
        return None
    # what was measured may stand for itself only: the rest of the time is not called idle
    idle_us = held.known_us - held.busy_us
    saved = held.cost * idle_us // held.held_us
    facts = {
        "profile": held.profile,
        "hours": round(held.held_us / HOUR_US, 1),
        "measured_hours": round(held.known_us / HOUR_US, 1),
        "busy_percent": round(100 * busy),
        "idle_hours": round(idle_us / HOUR_US, 1),
        "cost": held.cost,
        "saved": saved,
        "saved_percent": 100 * saved // held.cost,
    }
    return Recommendation(IDLE, held.owner, held.profile, saved, facts)


def _busy(held: Holding) -> float | None:
    if not held.known_us or held.known_us < held.held_us * _MEASURED:
        return None
    return held.busy_us / held.known_us

"""The rules of who may hold what, written once more and plainly, and held against each commit of a week.

Told from the events alone. A person's quota is a ceiling of all they hold; a team's is one for everything but
training, which may go beyond it while nobody inside needs the room. Nobody whose GPU-hours are used up gets a GPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dure_hub.catalogue.machine import Machine
from dure_hub.operations.admission import TRAINING
from dure_hub.store.models import Event
from tests.support.replay import Picture
from tests.support.weekload import A100, H100, PERSON_GPUS, PERSON_HOURS, TEAMS

Holder = tuple[str, str]
LIMITS: Mapping[Holder, tuple[int, int | None]] = {
    **{("team", team): (gpus, hours) for team, (gpus, _, hours) in TEAMS.items()},
    ("user", "*"): (PERSON_GPUS, PERSON_HOURS),
}
"""GPUs at once and GPU-hours a month."""
COUNTED = {
    "cpu": 0,
    f"mig-1g.10gb-{A100}": 142,
    f"mig-2g.20gb-{A100}": 285,
    f"mig-3g.40gb-{A100}": 500,
    f"mig-1g.10gb-{H100}": 125,
    f"mig-3g.40gb-{H100}": 500,
    **{f"gpu-full-{model}": 1000 for model in (A100, H100, "rtx-4090")},
    **{f"gpu-full-{model}-x2": 2000 for model in (A100, H100, "rtx-4090")},
    f"gpu-full-{H100}-x4": 4000,
}
"""Thousandths of GPUs: of an instance the larger of its part of the processors and of the memory."""


@dataclass(frozen=True)
class _Holding:
    owner: str
    team: str
    profile: str
    since: datetime
    gpus: int


class Rules:
    """What is held, event by event. `wrong` says in words what broke a rule; empty is right."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        self.wrong: list[str] = []
        self.granted = 0
        self.borrowed = 0
        """Grants of training beyond its team's quota: they show that the rule about them was met at all."""
        self.at_the_limit = 0
        """Grants after which nobody else could have had a GPU of that quota."""
        self._picture = Picture(machines)
        self._held: dict[str, _Holding] = {}
        self._used: Counter[Holder] = Counter()
        """Thousandths of GPU-seconds of what is over."""

    def gpu_hours(self, now: datetime) -> float:
        """What everybody has held so far."""
        over = sum(used for (kind, _), used in self._used.items() if kind == "user")
        running = sum(one.gpus * (now - one.since).total_seconds() for one in self._held.values())
        return (over + running) / 3.6e6

    def apply(self, event: Event, purpose: str | None = None) -> None:
        """One event; `purpose` is that of the lease it is about."""
        _, _, lease = event.object.partition(":")
        if event.verb == "lease.end":
            one = self._held.pop(lease)
            del self._picture.leases[lease]
            for holder in _holders(one):
                self._used[holder] += round(one.gpus * (_charged_until(event) - one.since).total_seconds())
        elif event.verb == "lease.grant":
            facts = event.verdict["facts"]
            profile = str(facts["profile"])
            one = _Holding(str(event.on_behalf_of), str(facts["team"]), profile, event.at, COUNTED[profile])
            self._grant(lease, one, purpose or "", facts["slices"])

    def _grant(self, lease: str, one: _Holding, purpose: str, slices: list[dict[str, Any]]) -> None:
        self.granted += 1
        if one.gpus:
            for holder in _holders(one):
                self._hours(holder, one)
        self._held[lease] = one
        self._picture.leases[lease] = slices
        self._say(one, self._picture.overshoot())
        for holder in _holders(one) if one.gpus else ():
            held = sum(other.gpus for other in self._held.values() if holder in _holders(other))
            limit = 1000 * self._limit(holder)[0]
            if held > limit and holder[0] == "team" and purpose == TRAINING:
                self.borrowed += 1
            elif held > limit:
                self._say(one, [f"{holder} holds {held} of {limit}"])
            self.at_the_limit += held == limit

    def _hours(self, holder: Holder, one: _Holding) -> None:
        limit = self._limit(holder)[1]
        if limit is None:
            return
        running = [other for other in self._held.values() if holder in _holders(other)]
        used = self._used[holder] + sum(
            other.gpus * (one.since - other.since).total_seconds() for other in running
        )
        if used >= limit * 3600 * 1000:
            self._say(one, [f"{holder} has had {used / 3.6e6:.2f} of {limit} GPU-hours"])

    def _limit(self, holder: Holder) -> tuple[int, int | None]:
        return LIMITS.get(holder) or LIMITS[holder[0], "*"]

    def _say(self, one: _Holding, what: list[str]) -> None:
        self.wrong += [f"{one.since} {one.profile} for {one.owner} of {one.team}: {why}" for why in what]


def _charged_until(event: Event) -> datetime:
    """What nobody knows to have run is not charged, so this may lie before the look that found it over."""
    at = datetime.fromisoformat(event.verdict["at"])
    assert at <= event.at
    return at


def _holders(one: _Holding) -> tuple[Holder, Holder]:
    return ("user", one.owner), ("team", one.team)

"""What 200 people of a campus ask for in a week: made from a seed, before anything is simulated.

Notebooks come by the hour of the day, few on weekends; training jobs come later in the day and run from minutes to
days; endpoints and pods are few and hold long. The shapes are those of shared clusters' published traces (a daily
wave, most jobs short and a few that hold most of the hours); the amounts are set so that dozens wait at the peak.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dure_hub.operations.admission import NOTEBOOK, SERVING, TRAINING
from dure_hub.operations.allocation_runs import ALLOCATION
from dure_hub.policies import classes

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
HOUR_S = 3600
PEOPLE = 200
TEAMS: Mapping[str, tuple[int, int, int | None]] = {
    "vision": (6, 60, None),
    "language": (8, 50, None),
    "robotics": (5, 40, None),
    "biology": (4, 25, None),
    "physics": (3, 15, 100),
    "arts": (2, 10, 12),
}
"""By team: GPUs at once, people, GPU-hours a month. Together more GPUs than there are, as guarantees often are."""
PERSON_GPUS, PERSON_HOURS = 4, 160
"""What everybody may have: at once, and in a month."""

BY_HOUR = (1, 1, 0, 0, 0, 0, 1, 3, 8, 14, 15, 10, 6, 12, 14, 12, 9, 6, 4, 4, 4, 3, 2, 1)
"""How many notebooks start in each hour of a working day, beside each other."""
BY_HOUR_TRAINING = (2, 1, 1, 1, 1, 1, 1, 2, 4, 6, 8, 8, 6, 8, 8, 9, 10, 12, 10, 8, 6, 5, 4, 3)
WEEKEND = 0.2
"""How much of a working day a day of the weekend is."""
A100, H100 = "a100-sxm-80", "h100-sxm-80"
NOTEBOOKS = {
    "cpu": 34,
    f"mig-1g.10gb-{A100}": 24,
    f"mig-2g.20gb-{A100}": 10,
    f"mig-3g.40gb-{A100}": 9,
    f"gpu-full-{A100}": 8,
    f"gpu-full-{A100}-x2": 1,
    "gpu-full-rtx-4090": 12,
    "gpu-full-rtx-4090-x2": 2,
}
TRAININGS = {
    f"gpu-full-{H100}": 50,
    f"gpu-full-{H100}-x2": 14,
    f"gpu-full-{H100}-x4": 4,
    f"mig-3g.40gb-{H100}": 14,
    f"mig-1g.10gb-{H100}": 18,
}
SERVINGS = {f"mig-2g.20gb-{A100}": 5, f"mig-1g.10gb-{A100}": 5, f"gpu-full-{A100}": 2}
PODS = {f"mig-1g.10gb-{A100}": 5, f"mig-2g.20gb-{A100}": 2, f"mig-3g.40gb-{A100}": 2, "gpu-full-rtx-4090": 1}


@dataclass(frozen=True)
class Ask:
    """Somebody wants something at a time. All times in seconds.

    `lifetime_s` is what is asked for, None without an end; `real_s` how long it is used if nobody stops it: a
    notebook is given back then, a job has finished. `extend_s` is added once or again shortly before its end, up
    to `extensions` times. `patience_s` is how long the person waits before giving up.
    """

    at: datetime
    owner: str
    team: str
    purpose: str
    profile: str
    lifetime_s: int | None
    real_s: int
    queue_class: int
    priority: int = 0
    extend_s: int = 0
    extensions: int = 0
    patience_s: int | None = None


@dataclass(frozen=True)
class Person:
    """Who asks."""

    name: str
    team: str


def people(number: int = PEOPLE) -> list[Person]:
    """So many people, in teams of their relative sizes."""
    names = [team for team, (_, size, _) in TEAMS.items() for _ in range(size)]
    return [Person(f"u{n:03}", names[n * len(names) // number]) for n in range(number)]


def week(seed: int, days: int = 7, load: float = 1.0) -> list[Ask]:
    """Everything that is asked for in so many days from a Monday on, in order of time."""
    dice = random.Random(f"week {seed}")
    everybody = people()
    found: list[Ask] = []
    for day in range(days):
        part = load * (WEEKEND if day % 7 >= 5 else 1.0)
        start = MONDAY + timedelta(days=day)
        found += [_notebook(dice, at, everybody) for at in _times(dice, start, round(230 * part), BY_HOUR)]
        found += [_training(dice, at, everybody) for at in _times(dice, start, round(42 * part), BY_HOUR_TRAINING)]
        found += [_serving(dice, at, everybody) for at in _times(dice, start, round(4 * part), BY_HOUR)]
        found += [_pod(dice, at, everybody) for at in _times(dice, start, round(14 * part), BY_HOUR)]
    return sorted(found, key=lambda ask: (ask.at, ask.owner, ask.profile))


def _times(dice: random.Random, day: datetime, number: int, by_hour: tuple[int, ...]) -> list[datetime]:
    """Times of this day, in whole ten minutes."""
    hours = dice.choices(range(24), by_hour, k=number)
    return [day + timedelta(hours=hour, minutes=10 * dice.randrange(6)) for hour in hours]


def _pick(dice: random.Random, of: Mapping[str, int]) -> str:
    return dice.choices(list(of), list(of.values()))[0]


def _patience(dice: random.Random) -> int | None:
    """One in six gives up, after one to six hours."""
    return dice.randint(HOUR_S, 6 * HOUR_S) if dice.random() < 1 / 6 else None


def _notebook(dice: random.Random, at: datetime, everybody: list[Person]) -> Ask:
    who, life = dice.choice(everybody), dice.choice((1, 2, 2, 3, 4, 4, 8, 8)) * HOUR_S
    how = dice.random()
    early, extends = how < 0.5, how > 0.85
    return Ask(
        at, who.name, who.team, NOTEBOOK, _pick(dice, NOTEBOOKS), life,
        round(life * dice.uniform(0.1, 0.9)) if early else 10 * life, classes.INTERACTIVE,
        extend_s=dice.choice((1, 2, 4)) * HOUR_S if extends else 0,
        extensions=dice.choice((1, 1, 2)) if extends else 0,
        patience_s=_patience(dice),
    )  # fmt: skip


def _training(dice: random.Random, at: datetime, everybody: list[Person]) -> Ask:
    """Most take minutes or hours, one in fourteen takes days. Like jobs, all ask for the longest lifetime."""
    who, how = dice.choice(everybody), dice.random()
    profile = _pick(dice, TRAININGS)
    hours = dice.uniform(26, 60) if how < 0.07 else min(dice.lognormvariate(0.3, 1.2), 22)
    tuning = dice.random() < 0.12
    return Ask(
        at, who.name, who.team, TRAINING, profile, 24 * HOUR_S, max(round(hours * HOUR_S), 300),
        classes.class_of(TRAINING, fine_tuning=tuning), priority=int(dice.random() < 0.04),
        patience_s=_patience(dice),
    )  # fmt: skip


def _serving(dice: random.Random, at: datetime, everybody: list[Person]) -> Ask:
    who, urgent = dice.choice(everybody), dice.random() < 0.25
    held_s = round(dice.uniform(6, 96) * HOUR_S)
    profile, level = _pick(dice, SERVINGS), classes.class_of(SERVING, urgent=urgent)
    return Ask(at, who.name, who.team, SERVING, profile, None, held_s, level)


def _pod(dice: random.Random, at: datetime, everybody: list[Person]) -> Ask:
    who, life = dice.choice(everybody), dice.choice((1, 2, 4, 8, 12)) * HOUR_S
    real_s = round(life * dice.uniform(0.2, 0.9)) if dice.random() < 0.6 else 10 * life
    profile, level = _pick(dice, PODS), dice.choice((classes.INTERACTIVE, classes.INTERACTIVE, classes.INFERENCE))
    if "4090" in profile:  # there is none for inference
        level = classes.INTERACTIVE
    return Ask(at, who.name, who.team, ALLOCATION, profile, life, real_s, level, patience_s=_patience(dice))

"""What Envoys that run elsewhere ask for and have taken: pure functions of values.

An Envoy that polls says with each question which version is in force there. So what it has taken comes back with
its next question, and what it was sent and does not name then it has refused, or its answer was lost on the way.
Times are seconds of a clock that never goes back and is the same in all processes of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

CLUSTERS, ROUTES = "clusters", "routes"

HOLD_S = 1.0
"""How long a question waits for something new. Each costs 77 kB, as Envoy says with it all that it can do."""

PRESENT_S = 3.0
"""Who has asked within so long is there: longer than a held question and the pause after it."""

AGAIN_S = 10.0
"""What was refused is offered again after so long: twice in a row its answer may have been lost."""

SETTLED_S = 3.0
"""How long after its start the portal does not know yet who is there."""

TRIES = 2
KEPT_S = 60.0


@dataclass(frozen=True)
class Stand:
    """Where one Envoy stands with one kind of resources: what is in force, what it was sent, what it refused."""

    version: str = ""
    offered: str = ""
    tries: int = 0
    refused: str = ""
    refused_at: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Envoy:
    """One that asks. `statistics` is the port at which it tells what it has counted; 0 is nowhere."""

    seen: float
    address: str = ""
    statistics: int = 0
    stands: Mapping[str, Stand] = field(default_factory=dict)

    def stand(self, kind: str) -> Stand:
        """Where it stands with this kind."""
        return self.stands.get(kind, Stand())


@dataclass(frozen=True)
class Asked:
    """All that have asked since the portal began to answer (`since`); it last wrote this down at `beat`."""

    since: float
    beat: float
    envoys: Mapping[str, Envoy]

    def present(self, now: float) -> dict[str, Envoy]:
        """Those that are there."""
        return {name: envoy for name, envoy in self.envoys.items() if now - envoy.seen < PRESENT_S}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` reads it back."""
        envoys = {
            name: {**vars(envoy), "stands": {kind: vars(stand) for kind, stand in envoy.stands.items()}}
            for name, envoy in self.envoys.items()
        }
        return {"since": self.since, "beat": self.beat, "envoys": envoys}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Asked:
        """What `to_json` wrote."""
        envoys = {
            name: Envoy(**{**one, "stands": {kind: Stand(**stand) for kind, stand in one["stands"].items()}})
            for name, one in value["envoys"].items()
        }
        return cls(value["since"], value["beat"], envoys)


class Taken(Enum):
    """What became of a version."""

    BY_ALL = "by all that are there"
    NOT_YET = "not yet by all"
    REFUSED = "refused by one"
    AWAY = "there is no Envoy"
    NOBODY_ANSWERS = "the portal does not answer them"


def after_question(stand: Stand, version: str, reason: str, current: str, now: float) -> Stand:
    """After a question: `version` is in force, `reason` is of what it refused, `current` is the newest."""
    kept = stand if stand.refused in ("", current) else replace(stand, refused="", reason="")
    if not kept.offered or version == kept.offered:
        return replace(kept, version=version, offered="", tries=0)
    if reason or kept.tries >= TRIES:
        return Stand(version, refused=kept.offered, refused_at=now, reason=reason)
    return replace(kept, version=version)


def is_due(stand: Stand, current: str, now: float) -> bool:
    """Whether to send it the newest: never what is in force already, as nothing is to be drained for nothing."""
    refused = current == stand.refused and now - stand.refused_at < AGAIN_S
    return current != stand.version and not refused


def after_answer(stand: Stand, current: str) -> Stand:
    """After the newest was sent."""
    return replace(stand, offered=current, tries=stand.tries + 1 if stand.offered == current else 1)


def verdict(asked: Asked | None, kind: str, version: str, now: float) -> tuple[Taken, str]:
    """What became of `version`, with the reason of a refusal where one was told.

    For a while after the portal has begun to answer, nobody knows yet who is there; neither is that known from
    what it wrote before it was killed.
    """
    if asked is None:
        return Taken.AWAY, ""
    if not 0 <= now - asked.beat < PRESENT_S:
        return Taken.NOBODY_ANSWERS, ""
    stands = [envoy.stand(kind) for envoy in asked.present(now).values()]
    for stand in stands:
        if stand.refused == version:
            return Taken.REFUSED, stand.reason
    if asked.beat - asked.since < SETTLED_S:
        return Taken.NOT_YET, ""
    if not stands:
        return Taken.AWAY, ""
    return (Taken.BY_ALL if all(stand.version == version for stand in stands) else Taken.NOT_YET), ""

"""How long a server may run: what its profile says, within the limits of its owner and of the team that pays."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from dure.errors import LANGUAGES, DureError, Text, fill
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.operations.counters import ANYBODY
from dure_hub.operations.errors import BadLifetime, EndOverLimit, EndTooEarly, EndTooLate, LifetimeOverLimit
from dure_hub.operations.reasons import span
from dure_hub.operations.standing import holders
from dure_hub.policies import lifetime
from dure_hub.policies.lifetime import Bounds
from dure_hub.policies.verdict import Verdict
from dure_hub.store.models import Quota

_NOTES: Mapping[str, Text] = {
    "team": {
        "en": "Servers of the team {name} run for {span} at most.",
        "ko": "{name} 팀의 서버는 최대 {span}까지 쓸 수 있습니다.",
    },
    "user": {
        "en": "Servers of {name} run for {span} at most.",
        "ko": "{name} 님의 서버는 최대 {span}까지 쓸 수 있습니다.",
    },
}


def bounds_of(session: Session, spec: ProfileSpec, owner: str, team: str | None) -> Bounds:
    """The bounds of a server of this profile that `team` pays for. Who has no quota has that of everybody."""
    whose = holders(owner, team)
    asked = [*whose, *((kind, ANYBODY) for kind, _ in whose)]
    query = select(Quota.kind, Quota.name, Quota.max_lifetime_s).where(tuple_(Quota.kind, Quota.name).in_(asked))
    set_s = {(kind, name): seconds for kind, name, seconds in session.execute(query)}
    limits = [(kind, name, set_s.get((kind, name), set_s.get((kind, ANYBODY)))) for kind, name in whose]
    return lifetime.bounds(spec.default_lifetime_s, spec.max_lifetime_s, limits)


def seconds_of(session: Session, asked_s: int | None, spec: ProfileSpec, owner: str, team: str | None) -> int:
    """How long a server that is asked for runs. Raises `BadLifetime`, `LifetimeOverLimit`."""
    return within(asked_s, bounds_of(session, spec, owner, team))


def within(asked_s: int | None, found: Bounds) -> int:
    """The lifetime that these bounds make of what is asked for. Raises `BadLifetime`, `LifetimeOverLimit`."""
    verdict, seconds = lifetime.lifetime(asked_s, default_s=found.default_s, max_s=found.max_s)
    if verdict.allowed:
        return seconds
    if found.kind is not None and verdict.code == "lifetime_too_long":
        raise LifetimeOverLimit(asked=asked_s, longest=found.max_s, kind=found.kind, name=found.name)
    raise BadLifetime(asked=asked_s, shortest=lifetime.SHORTEST_S, longest=found.max_s)


def note_of(found: Bounds) -> dict[str, str] | None:
    """Whose limit it is and how long, in each language; None where it is the profile's own."""
    if found.kind is None:
        return None
    facts = {"name": found.name}
    return {
        language: fill(_NOTES[found.kind], language, {**facts, "span": span(found.max_s, language)})
        for language in LANGUAGES
    }


def judge_end(asked: datetime, until: datetime, found: Bounds, now: datetime) -> Verdict:
    """Whether the end may be moved to `asked`. Raises `EndTooEarly`, `EndTooLate`, `EndOverLimit` if not."""
    verdict = lifetime.extension(asked, until, max_s=found.max_s, now=now)
    if verdict.allowed:
        return verdict
    if verdict.code == "end_too_early":
        raise EndTooEarly(**verdict.facts)
    refused: DureError = EndTooLate(**verdict.facts)
    if found.kind is not None:
        refused = EndOverLimit(**verdict.facts, kind=found.kind, name=found.name)
    raise refused

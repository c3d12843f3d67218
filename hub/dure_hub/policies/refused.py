"""What a queue beside the portal's own (Kueue) has lately refused, and for how long that is not asked for again.

Such a queue says no to a team's next request of the same profile as well, so that all of these wait, in their
order. The clock is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from dure_hub.policies.verdict import Verdict

CODE = "cluster_queue"
Kind = tuple[str | None, str]
"""What is refused together: of which team, and which profile."""


def refused(queue: str, why: str, until: datetime) -> Verdict:
    """The verdict of a request that `queue` did not let in because of `why`; not tried again before `until`."""
    return Verdict.no(CODE, queue=queue, why=why, until=until.isoformat())


def standing(said: Iterable[tuple[Kind, Mapping[str, Any]]], now: datetime) -> Mapping[Kind, Verdict]:
    """Of the verdicts that requests were told, those refusals that hold still; the last to end of each kind.

    The end of a pause is inclusive: at `until` it is tried again.
    """
    found: dict[Kind, Verdict] = {}
    for kind, verdict in said:
        facts = verdict.get("facts", {})
        if verdict.get("code") != CODE or until(facts) <= now:
            continue
        if kind not in found or until(found[kind].facts) < until(facts):
            found[kind] = Verdict.no(CODE, **facts)
    return found


def until(facts: Mapping[str, Any]) -> datetime:
    """When it may be tried again."""
    return datetime.fromisoformat(facts["until"])

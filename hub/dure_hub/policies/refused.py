"""What a cluster has lately refused that the portal had granted, and for how long that is not tried again.

Kueue says no to a team's next request of the same profile as well, and a quota of the whole namespace to
everybody's: all of these wait, in their order. The scheduler says no to a node: no request of that profile is sent
there, and those find room on others at once. The clock is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dure_hub.policies.verdict import Verdict

QUEUE, QUOTA, NODE = "cluster_queue", "cluster_quota", "cluster_no_node"
CODES = frozenset({QUEUE, QUOTA, NODE})
"""Who refused it: Kueue, a quota of the namespace, or the scheduler (and whoever else gives pods their nodes)."""
Said = tuple[str | None, str, Mapping[str, Any]]
"""A team, a profile, and the verdict that a request of theirs was told."""


def refused(code: str, until: datetime, **facts: Any) -> Verdict:
    """The verdict of a request that was refused for what `facts` say; not tried again before `until`."""
    return Verdict.no(code, **facts, until=until.isoformat())


@dataclass(frozen=True)
class Refusals:
    """Those that hold still: by team and profile, by profile alone, and by profile and node."""

    queues: Mapping[tuple[str | None, str], Verdict] = field(default_factory=dict)
    quotas: Mapping[str, Verdict] = field(default_factory=dict)
    nodes: Mapping[str, Mapping[str, Verdict]] = field(default_factory=dict)

    def of(self, team: str | None, profile: str) -> Verdict | None:
        """Why a request of this team and profile waits wherever there is room; None if none does."""
        return self.queues.get((team, profile)) or self.quotas.get(profile)

    def without(self, profile: str) -> frozenset[str]:
        """The nodes to which no request of this profile is sent now."""
        return frozenset(self.nodes.get(profile, ()))

    def on(self, profile: str, nodes: frozenset[str] | None) -> Verdict | None:
        """Why none is sent to one of these nodes (None: to any); the one that ends last. None if all may be."""
        found = [one for node, one in self.nodes.get(profile, {}).items() if nodes is None or node in nodes]
        return max(found, key=lambda one: until(one.facts), default=None)


def standing(said: Iterable[Said], now: datetime) -> Refusals:
    """Of the verdicts that requests were told, those refusals that hold still; the last to end of each kind.

    The end of a pause is inclusive: at `until` it is tried again.
    """
    queues: dict[tuple[str | None, str], Verdict] = {}
    quotas: dict[str, Verdict] = {}
    nodes: dict[str, dict[str, Verdict]] = {}
    for team, profile, verdict in said:
        code, facts = verdict.get("code"), verdict.get("facts", {})
        if code not in CODES or until(facts) <= now:
            continue
        found = Verdict.no(str(code), **facts)
        if code == QUEUE:
            queues[team, profile] = _later(queues.get((team, profile)), found)
        elif code == NODE and facts.get("node"):
            of_profile = nodes.setdefault(profile, {})
            of_profile[facts["node"]] = _later(of_profile.get(facts["node"]), found)
        else:
            quotas[profile] = _later(quotas.get(profile), found)
    return Refusals(queues, quotas, nodes)


def _later(one: Verdict | None, other: Verdict) -> Verdict:
    return other if one is None or until(one.facts) < until(other.facts) else one


def until(facts: Mapping[str, Any]) -> datetime:
    """When it may be tried again."""
    return datetime.fromisoformat(facts["until"])

"""Who gets which share of an endpoint's requests, what may be done to a rollout, when a crash is tried again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dure_hub.policies.verdict import Verdict

CHAMPION, CANARY, RETIRED = "champion", "canary", "retired"
READY = "ready"
GIVE_UP = 5
"""Starts that failed one after another before a version that never answered is not tried again."""
_LONGEST_S = 30.0


@dataclass(frozen=True)
class Server:
    """A model server as these rules see it. `percent` is the share it is meant to get."""

    id: str
    version: int
    role: str
    phase: str
    percent: int

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        return self.phase == READY


def weights(servers: Sequence[Server]) -> dict[str, int]:
    """Shares by id, adding up to 100; empty where nobody answers.

    Only who is ready gets requests. The share of a canary that is not goes to the champion; while the champion is
    away a canary takes its share too, if it has one at all: an answer is worth more than an error.
    """
    champion = next((s for s in servers if s.role == CHAMPION and s.ready), None)
    canary = next((s for s in servers if s.role == CANARY and s.ready), None)
    if champion is None:
        return {canary.id: 100} if canary is not None and canary.percent > 0 else {}
    if canary is None:
        return {champion.id: 100}
    return {champion.id: 100 - canary.percent, canary.id: canary.percent}


def may_canary(servers: Sequence[Server], version: int) -> Verdict:
    """Whether `version` may be tried beside the champion; of a canary that runs, only the share may change."""
    champion = next((s for s in servers if s.role == CHAMPION), None)
    canary = next((s for s in servers if s.role == CANARY), None)
    if champion is None or not champion.ready:
        return Verdict.no("champion_not_ready", version=champion.version if champion else None)
    if canary is not None and canary.version != version:
        return Verdict.no("canary_runs", version=canary.version, asked=version)
    return Verdict.yes("share_changes" if canary is not None else "canary_starts", version=version)


def may_promote(servers: Sequence[Server]) -> Verdict:
    """Whether the canary may take over: it must be there and answer."""
    canary = next((s for s in servers if s.role == CANARY), None)
    if canary is None:
        return Verdict.no("no_canary")
    if not canary.ready:
        return Verdict.no("canary_not_ready", version=canary.version, phase=canary.phase)
    return Verdict.yes("promotes", version=canary.version)


def state(servers: Sequence[Server], restarted: bool) -> str:
    """An endpoint's state in one word; `restarted` says that its champion has crashed before."""
    champion = next((s for s in servers if s.role == CHAMPION), None)
    if champion is None:
        return "failed"
    if champion.ready:
        return READY
    if weights(servers):
        return "degraded"
    if champion.phase == "failed":
        return "failed"
    return "degraded" if restarted else "starting"


def restart_delay_s(failures: int) -> float:
    """Seconds to the next start after this many failures in a row: 1, 2, 4 … 30."""
    return min(2.0 ** max(failures - 1, 0), _LONGEST_S)


def gives_up(failures: int, answered_before: bool) -> bool:
    """Whether to stop trying. What has answered once may be hurt by the machine, and is always tried again."""
    return not answered_before and failures >= GIVE_UP

"""What a waiting request waits for, as one word and as a sentence, from the verdict in its row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dure.errors import LANGUAGES
from dure.wire.environments import Environment
from dure_hub.services.pages import words

_KINDS = {
    "no_gpu_free": "room",
    "no_slice_free": "room",
    "no_memory_free": "room",
    "no_cores_free": "room",
    "no_pods_free": "room",
    "other_team_shares": "room",
    "others_wait_longer": "order",
    "over_budget": "budget",
    "over_budget_cheaper": "budget",
    "own_notebook_holds": "own_server",
    "profile_away": "away",
    "place_away": "away",
    "disk_low": "disk",
    "cluster_queue": "cluster_queue",
    "cluster_quota": "cluster_quota",
    "cluster_no_node": "no_node",
    "home_bound": "home",
    "quota_no_gpu_hours": "never",
}


_OF_GPUS = ("no_gpu_free", "no_slice_free")
_IN_THE_WAY = ("closed", "away", "outside")


def waits_for(verdict: Mapping[str, Any]) -> str | None:
    """The kind of what is in its way; None for a code this version does not know."""
    code, facts = str(verdict.get("code")), verdict.get("facts", {})
    if code in ("quota_gpus", "quota_gpu_hours"):
        if not facts.get("waits", True):
            return "never"
        return "team_quota" if facts.get("kind") == "team" else "user_quota"
    return _KINDS.get(code)


def sentence_of(code: object, facts: Mapping[str, Any]) -> str:
    """The name of the sentence that says it; another one where a part of what there is is given to nobody, by what
    is most in the way. There may be no such words."""
    key = f"verdict.{code}"
    ways = [name for name in _IN_THE_WAY if facts.get(name) and words.has(f"{key}.{name}")]
    if not ways:
        return key
    # nodes are not to be counted beside cores or MiB: there the first counts
    return f"{key}.{max(ways, key=lambda name: facts[name]) if code in _OF_GPUS else ways[0]}"


def told(server: Environment) -> Environment:
    """The same with the reason of its ticket in every language; none for a code there are no words for."""
    if server.ticket is None:
        return server
    verdict = server.ticket.verdict
    facts = {"profile": server.profile, **verdict.get("facts", {})}
    key = sentence_of(verdict.get("code"), facts)
    why = {language: words.say(key, language, facts) for language in LANGUAGES} if words.has(key) else None
    ticket = server.ticket.model_copy(update={"waits_for": waits_for(verdict), "why": why})
    return server.model_copy(update={"ticket": ticket})

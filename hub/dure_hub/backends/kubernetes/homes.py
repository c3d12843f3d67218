"""On which nodes people's homes can be used, as their volumes say it.

A disk of a node is on that node alone, and one of a zone on the nodes of that zone: the volume that a claim is
bound to names them (`spec.nodeAffinity`). A claim without a volume yet can get one wherever its first pod runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.errors import ClusterAway, ClusterRefused
from dure_hub.backends.kubernetes.specs import home_claim

log = logging.getLogger(__name__)
KEPT_S = 300.0
"""So long a volume is not asked for again: where it can be used never changes, but a claim may be made anew."""
Terms = Sequence[Mapping[str, Any]]
"""Terms of which a node must satisfy one."""


class Homes:
    """Reads claims in one namespace and the volumes that they are bound to, as far as the portal may."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._claims = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
        self._known: dict[str, tuple[float, Terms | None]] = {}

    async def of(
        self, owners: Iterable[str], nodes: Collection[Mapping[str, Any]]
    ) -> Mapping[str, frozenset[str]]:
        """The nodes of each whose home cannot be used everywhere. What cannot be read restricts nobody."""
        asked = sorted(set(owners))
        found = await asyncio.gather(*(self._terms(owner) for owner in asked))
        return {
            owner: frozenset(str(node["metadata"]["name"]) for node in nodes if satisfies(node, terms))
            for owner, terms in zip(asked, found, strict=True)
            if terms is not None
        }

    async def _terms(self, owner: str) -> Terms | None:
        at, terms = self._known.get(owner, (-KEPT_S, None))
        if time.monotonic() - at < KEPT_S:
            return terms
        try:
            claim = await self._cluster.get(f"{self._claims}/{home_claim(owner)}")
            volume = ((claim or {}).get("spec") or {}).get("volumeName")
            found = await self._cluster.get(f"/api/v1/persistentvolumes/{volume}") if volume else None
        except ClusterAway as error:
            log.info("where the home of %s can be used is not known now: %s", owner, error)
            return terms
        except ClusterRefused as error:
            log.warning("where the home of %s can be used is not known: %s", owner, error.text())
            found, volume = None, "not to be read"  # nor soon
        terms = None if found is None else terms_of(found)
        if volume:
            self._known[owner] = time.monotonic(), terms
        return terms


def terms_of(volume: Mapping[str, Any]) -> Terms | None:
    """What a volume demands of nodes; None of one that can be used on any."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    return None if required is None else required.get("nodeSelectorTerms") or ()


def satisfies(node: Mapping[str, Any], terms: Terms) -> bool:
    """Whether a node satisfies one of these terms, as the scheduler judges it: no node satisfies an empty one."""
    labels: Mapping[str, str] = node["metadata"].get("labels") or {}
    fields = {"metadata.name": str(node["metadata"]["name"])}
    for term in terms:
        wanted = [(labels, one) for one in term.get("matchExpressions") or ()]
        wanted += [(fields, one) for one in term.get("matchFields") or ()]
        if wanted and all(_holds(has, one) for has, one in wanted):
            return True
    return False


def _holds(has: Mapping[str, str], wanted: Mapping[str, Any]) -> bool:
    """One requirement. Source:
    https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#operators"""
    value, operator = has.get(wanted["key"]), wanted["operator"]
    values: Sequence[str] = wanted.get("values") or ()
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) is (operator == "Exists")
    if operator in ("In", "NotIn"):
        return (value in values) is (operator == "In")
    if value is None or not value.lstrip("-").isdecimal():
        return False
    return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])

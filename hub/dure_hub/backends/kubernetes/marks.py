"""How what is ours is marked on a cluster: labels to find it by, annotations for what a label may not hold.

A label's value has at most 63 characters of letters, digits, `-`, `_` and `.`; a person may be an e-mail address.
So labels carry slugs, and the annotation of the same name carries what it really is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dure_hub.backends.base import Kind
from dure_hub.policies.naming import slug

MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = "dure"
PORTAL = "dure/portal"
"""Label: which portal's. Several may share a cluster, and what another one started is a stranger's."""
LEASE, KIND, OWNER, TEAM, PROJECT = "dure/lease", "dure/kind", "dure/owner", "dure/team", "dure/project"
DEVICES = "dure/devices"
"""Annotation: what of the node the lease holds, as `stock` names it, separated by commas."""
BASE = "dure/base"
"""Annotation: the path below which its server answers."""
STOPPED = "dure/stopped"
"""Annotation: the portal has asked it to end."""
RECORD = "dure/record"
"""A finalizer: the pod stays, with how it ended, until the portal has read that and forgets it."""
POOL = "dure/pool"
"""A node's label and taint: what it is for. An administrator sets them."""
QUEUE, PRIORITY = "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"
"""Labels that Kueue reads of a pod."""
GATE = "kueue.x-k8s.io/admission"
"""The scheduling gate that Kueue puts on a pod and takes off when it admits it."""


def make_labels(
    *,
    portal: str,
    lease: str,
    kind: Kind,
    owner: str,
    team: str | None = None,
    project: str | None = None,
    queue: str | None = None,
    priority: str | None = None,
) -> dict[str, str]:
    """What a pod is found by. `queue` and `priority` are Kueue's; without them it is left alone."""
    said = {TEAM: team, PROJECT: project}
    named = {QUEUE: queue, PRIORITY: priority if queue else None}
    return {
        MANAGED_BY: OURS,
        PORTAL: portal,
        LEASE: lease,
        KIND: kind.value,
        OWNER: slug(owner),
        **{key: slug(value) for key, value in said.items() if value},
        **{key: value for key, value in named.items() if value},
    }


def lease_of(thing: Mapping[str, Any], portal: str) -> str | None:
    """The lease of an object as the API gives it; None of what is not this portal's."""
    labels = thing.get("metadata", {}).get("labels") or {}
    ours = labels.get(MANAGED_BY) == OURS and labels.get(PORTAL) == portal
    return str(labels[LEASE]) if ours and labels.get(LEASE) else None


def run_name(kind: Kind, lease: str) -> str:
    """The name of a pod, by its lease alone: who knows that finds it, and a second start finds the first."""
    return f"{kind.value}-{lease.lower()}"


def selector(portal: str, kind: Kind) -> str:
    """What the API is asked for all of one kind."""
    return f"{MANAGED_BY}={OURS},{PORTAL}={portal},{KIND}={kind.value}"

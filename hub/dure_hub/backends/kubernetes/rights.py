"""What a portal's account has to be allowed on a cluster, and what of it it is not.

The chart's Roles (helm-values/dure/templates/accounts.yaml) say the same; a test compares them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.kueue import GROUP as KUEUE
from dure_hub.settings import Settings

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
"""Where everybody may ask what they themselves may do."""
POD_VERBS = ("get", "list", "create", "patch", "delete")
SHARED = ("clusterqueues", "cohorts", "resourceflavors", "workloadpriorityclasses")
"""Of Kueue's objects, those that are in no namespace."""
CHANGE = ("create", "patch", "delete")


@dataclass(frozen=True, order=True)
class Right:
    """`verb` on `resource` of `group`, in a namespace; in "" is in all of them."""

    namespace: str
    resource: str
    verb: str
    group: str = ""

    @property
    def said(self) -> str:
        """As people write it: pods, pods/log, localqueues.kueue.x-k8s.io."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


def needed(settings: Settings) -> list[Right]:
    """All without which the portal lacks something that it does."""
    return sorted(_needed(settings))


def _needed(settings: Settings) -> Iterator[Right]:
    for resource in ("nodes", "pods"):
        yield from (Right("", resource, verb) for verb in ("list", "watch"))
    yield Right("", "persistentvolumes", "get")
    for namespace in {settings.namespace_dev, settings.namespace_training, settings.namespace_serving}:
        yield from (Right(namespace, "pods", verb) for verb in POD_VERBS)
        yield Right(namespace, "pods/log", "get")
    yield from (Right(settings.namespace_dev, "secrets", verb) for verb in POD_VERBS)
    yield from (Right(settings.namespace_dev, "persistentvolumeclaims", verb) for verb in ("create", "get"))


def needed_for_kueue(settings: Settings) -> list[Right]:
    """What a portal needs besides where there is Kueue; to change it, too, where it brings quotas by itself."""
    changes = CHANGE if settings.kueue_apply_s else ()
    places = {settings.namespace_dev, settings.namespace_training, settings.namespace_serving}
    return sorted(
        [
            Right(settings.namespace_dev, "workloads", "list", KUEUE),
            *(Right("", resource, verb, KUEUE) for resource in SHARED for verb in ("get", "list", *changes)),
            *(Right("", "localqueues", verb, KUEUE) for verb in ("get", "list")),
            *(Right(namespace, "localqueues", verb, KUEUE) for namespace in places for verb in changes),
        ]
    )


async def lacking(cluster: Cluster, rights: Sequence[Right]) -> list[Right]:
    """Those that whoever asks does not have."""
    have = await asyncio.gather(*(_has(cluster, right) for right in rights))
    return [right for right, allowed in zip(rights, have, strict=True) if not allowed]


async def _has(cluster: Cluster, right: Right) -> bool:
    resource, _, below = right.resource.partition("/")
    asked = {
        "namespace": right.namespace,
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": below,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    return bool((await cluster.answer(REVIEWS, body))["status"]["allowed"])

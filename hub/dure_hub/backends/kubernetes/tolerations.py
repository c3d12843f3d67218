"""Which taints of nodes pods of people tolerate, beside those that every pod of ours does: pure functions.

An administrator names them in the setting `kubespawner`, in the words of KubeSpawner or of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]


def tolerations_of(kubespawner: Json) -> Sequence[Json]:
    """Those that these options of KubeSpawner give to each server's pod."""
    own, more = kubespawner.get("tolerations"), kubespawner.get("extra_pod_config")
    lists = (own, more.get("tolerations") if isinstance(more, Mapping) else None)
    return [one for found in lists if isinstance(found, list) for one in found if isinstance(one, Mapping)]


def is_tolerated(taint: Json, tolerations: Iterable[Json]) -> bool:
    """Whether a pod with these may be there, and stay.

    Source: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
    """
    return any(_covers(one, taint) for one in tolerations)


def _covers(toleration: Json, taint: Json) -> bool:
    exists = toleration.get("operator") == "Exists"
    key, effect = toleration.get("key"), toleration.get("effect")
    if (effect and effect != taint["effect"]) or (key and key != taint["key"]) or not (key or exists):
        return False
    seconds = toleration.get("tolerationSeconds", toleration.get("toleration_seconds"))
    if taint["effect"] == "NoExecute" and seconds is not None:  # it would be thrown out again
        return False
    said = str(toleration.get("value") or "")
    return exists or (toleration.get("operator") in (None, "", "Equal") and said == str(taint.get("value") or ""))

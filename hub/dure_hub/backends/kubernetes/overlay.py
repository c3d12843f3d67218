"""A pod of ours laid over one that an administrator's options of KubeSpawner ask for: pure functions, plain JSON.

Theirs adds what ours has no word for (volumes, sidecars, init containers, hooks, tolerations); what ours says
stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from dure_hub.backends.kubernetes.pods import make_container_security

Json = Mapping[str, Any]
NOBODYS = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "serviceAccount", "serviceAccountName")
"""What no pod of a person's has, whoever asks for it."""


def laid_over(template: Json, pod: Json, hidden: Collection[str] = ()) -> dict[str, Any]:
    """The pod with what only the template has, but none of the `hidden` variables, which its Secret says.

    Without a template it is the pod. Containers beside the server's are sidecars, which end with it.
    """
    if not template:
        return dict(pod)
    theirs, ours = template.get("spec") or {}, pod["spec"]
    metadata = {**pod["metadata"]}
    for key in ("labels", "annotations"):
        metadata[key] = {**((template.get("metadata") or {}).get(key) or {}), **(pod["metadata"].get(key) or {})}
    main, *others = theirs.get("containers") or [{}]
    spec = {
        **{key: value for key, value in theirs.items() if key not in NOBODYS},
        **ours,
        "containers": [_container(main, ours["containers"][0], hidden)],
        "volumes": _by("name", theirs.get("volumes"), ours.get("volumes")),
        "tolerations": [*(theirs.get("tolerations") or ()), *(ours.get("tolerations") or ())],
        "imagePullSecrets": _by("name", theirs.get("imagePullSecrets"), ours.get("imagePullSecrets")),
        "nodeSelector": {**(theirs.get("nodeSelector") or {}), **(ours.get("nodeSelector") or {})},
        "affinity": {**(theirs.get("affinity") or {}), **(ours.get("affinity") or {})},
        "initContainers": [
            *(_secured(one) for one in theirs.get("initContainers") or ()),
            *({**_secured(one), "restartPolicy": "Always"} for one in others),
        ],
    }
    return {
        **pod,
        "metadata": metadata,
        "spec": {key: value for key, value in spec.items() if value not in ([], {})},
    }


def _container(theirs: Json, ours: Json, hidden: Collection[str]) -> dict[str, Any]:
    """The one that is the server. Arguments are its command's, so they go with that."""
    merged = {**theirs, **ours}
    if "command" in ours:
        merged.pop("args", None)
    said = [one for one in theirs.get("env") or () if one["name"] not in hidden]
    merged["env"] = _by("name", said, ours.get("env"))
    merged["volumeMounts"] = _by("mountPath", theirs.get("volumeMounts"), ours.get("volumeMounts"))
    return merged


def _secured(container: Json) -> dict[str, Any]:
    """One beside it has no more rights than it has; it may have fewer, or be another user without any."""
    asked = container.get("securityContext") or {}
    fewer = {key: asked[key] for key in ("readOnlyRootFilesystem", "runAsUser", "runAsGroup") if asked.get(key)}
    return {**container, "securityContext": {**fewer, **make_container_security()}}


def _by(key: str, theirs: Iterable[Json] | None, ours: Iterable[Json] | None) -> Sequence[Json]:
    """Both, one of each name; ours where both have it."""
    return list({one[key]: one for one in (*(theirs or ()), *(ours or ()))}.values())

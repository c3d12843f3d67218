"""Options of KubeSpawner as an administrator gives them in the setting `kubespawner`: which are none, which have
no effect under our leases, and which would keep a pod from its node.

The hub itself only warns of a name that it does not know, and a pod whose node the portal has chosen is never
placed where a node selector says something else. So this is said before anything starts (`dure prepare`,
`dure up`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from kubespawner import KubeSpawner  # type: ignore[import-untyped]
from traitlets import TraitError

from dure.errors import DureError, Text

PLACING = frozenset({"node_selector", "node_affinity_required", "node_affinity_preferred"})
"""The portal chooses the node, by what its lease holds."""
PLACING_IN_POD = frozenset({"nodeName", "nodeSelector"})
"""The same, as fields of `extra_pod_config`; and its `affinity.nodeAffinity`."""
DECIDED = frozenset(
    {
        # what runs, as whom, with how much: the lease, the profile and the settings say it (but for a command,
        # which counts where they have none)
        *("image", "port", "ip", "default_url", "profile_list", "profile_form_template"),
        *("additional_profile_form_template_paths", "options_form", "env_keep"),
        *("cpu_guarantee", "cpu_limit", "mem_guarantee", "mem_limit"),
        *("extra_resource_guarantees", "extra_resource_limits"),
        *("uid", "gid", "fs_gid", "supplemental_gids", "pod_security_context", "container_security_context"),
        *("privileged", "allow_privilege_escalation", "service_account", "automount_service_account_token"),
        # names and namespaces, homes, Secrets and Services, which the backend makes
        *("namespace", "enable_user_namespaces", "user_namespace_annotations", "user_namespace_labels"),
        *("user_namespace_template", "pod_name_template", "dns_name_template", "pvc_name_template"),
        *("secret_name_template", "secret_mount_path", "services_enabled", "remember_pvc_name", "delete_pvc"),
        *("storage_access_modes", "storage_capacity", "storage_class", "storage_extra_annotations"),
        *("storage_extra_labels", "storage_pvc_ensure", "storage_selector"),
        # how the API server is asked and followed, and pods are ended
        *("k8s_api_host", "k8s_api_request_retry_timeout", "k8s_api_request_timeout", "k8s_api_ssl_ca_cert"),
        *("k8s_api_threadpool_workers", "k8s_api_verify_ssl", "events_enabled", "delete_grace_period"),
        *("delete_stopped_pods", "get_pod_url", "pod_connect_ip"),
    }
)
"""Options without effect: what the portal decides stays."""
DECIDED_IN_POD = frozenset(
    {
        *("restartPolicy", "automountServiceAccountToken", "enableServiceLinks", "terminationGracePeriodSeconds"),
        *("securityContext", "hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"),
        *("serviceAccount", "serviceAccountName"),
    }
)
DECIDED_IN_CONTAINER = frozenset({"image", "resources", "securityContext", "ports", "envFrom"})


class BadOption(DureError):
    """What `kubespawner` says cannot be meant."""

    code, status = "bad_option", 422
    message: ClassVar[Text] = {
        "en": "The setting kubespawner cannot have {name}: {why}.",
        "ko": "설정 kubespawner에 {name}을(를) 쓸 수 없습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Correct or remove it (with the chart: `settings.kubespawner`).",
        "ko": "고치거나 지우세요(차트에서는 `settings.kubespawner`).",
    }


NO_OPTION: Text = {
    "en": "KubeSpawner has no such option; most like it: {nearest}",
    "ko": "KubeSpawner에 없는 옵션입니다. 가장 비슷한 옵션: {nearest}",
}
NO_VALUE: Text = {"en": "{reason}", "ko": "{reason}"}
PLACES: Text = {
    "en": "the portal chooses the node of each server by its lease, and a pod that may not be there would wait "
    "for ever; nodes are set apart by the label and taint dure/pool",
    "ko": "서버의 노드는 임대에 따라 포털이 고르므로, 그 노드에 갈 수 없는 파드는 끝없이 기다립니다. "
    "노드를 나누려면 레이블과 taint dure/pool을 쓰세요",
}


def check(options: Mapping[str, Any]) -> None:
    """Raises `BadOption` for the first that is unknown, has a value of the wrong kind, or chooses nodes."""
    known = KubeSpawner.class_traits(config=True)
    for name, value in options.items():
        if name not in known:
            (nearest,) = difflib.get_close_matches(name, known, n=1, cutoff=0)
            raise BadOption(name=name, why=_filled(NO_OPTION, nearest=nearest))
        if name in PLACING:
            raise BadOption(name=name, why=PLACES)
        probe = KubeSpawner.__new__(KubeSpawner)  # a value is judged by its trait alone; nothing is connected
        try:
            setattr(probe, name, value)
        except TraitError as error:
            raise BadOption(name=name, why=_filled(NO_VALUE, reason=str(error))) from error
    _check_pod(options.get("extra_pod_config") or {})


def _check_pod(fields: Mapping[str, Any]) -> None:
    affinity = fields.get("affinity") or {}
    within = [*sorted(PLACING_IN_POD & fields.keys())]
    if isinstance(affinity, Mapping) and "nodeAffinity" in affinity:
        within.append("affinity.nodeAffinity")
    for name in within:
        raise BadOption(name=f"extra_pod_config.{name}", why=PLACES)


def without_effect(options: Mapping[str, Any]) -> list[str]:
    """Those that change nothing, since the portal decides it, by name."""
    return sorted(_without_effect(options))


def _without_effect(options: Mapping[str, Any]) -> Iterator[str]:
    yield from DECIDED & options.keys()
    for name, fields in (("extra_pod_config", DECIDED_IN_POD), ("extra_container_config", DECIDED_IN_CONTAINER)):
        yield from (f"{name}.{one}" for one in fields & (options.get(name) or {}).keys())


def _filled(text: Text, **facts: str) -> dict[str, str]:
    return {language: sentence.format(**facts) for language, sentence in text.items()}

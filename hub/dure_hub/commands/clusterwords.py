"""What `dure doctor` says of a cluster, in English and Korean."""

from __future__ import annotations

from collections.abc import Mapping

Pair = tuple[str, str]
NAMES: Mapping[str, Pair] = {
    "cluster": ("cluster", "클러스터"),
    "rights": ("rights", "권한"),
    "namespace": ("namespace", "네임스페이스"),
    "server_pod": ("server's pod", "서버 파드"),
    "home": ("homes", "홈 볼륨"),
    "pull_secret": ("pull Secret", "이미지 Secret"),
    "prometheus": ("Prometheus", "Prometheus"),
    "kueue": ("Kueue", "Kueue"),
    "kubespawner": ("kubespawner", "kubespawner"),
}
WORDS: Mapping[str, Pair] = {
    "cluster": ("Kubernetes {version}, {nodes} nodes", "Kubernetes {version}, 노드 {nodes}개"),
    "cluster_unseen": ("Kubernetes {version}", "Kubernetes {version}"),
    "gpus": ("{name}: {count} on {nodes} nodes", "{name}: 노드 {nodes}개에 {count}개"),
    "gpus_closed": ("; {count} not given now: {why}", "; {count}개는 지금 배정 안 함: {why}"),
    "gpus_no_price": (
        "; not in the catalogue, so without a price",
        "; 카탈로그에 없어 요금을 알 수 없음",
    ),
    "instances": ("MIG instances: {list}", "MIG 인스턴스: {list}"),
    "no_gpu_todo": (
        "Install NVIDIA's GPU operator, or its device plugin and GPU feature discovery; until then the portal "
        "offers CPU profiles.",
        "NVIDIA GPU operator나 디바이스 플러그인과 GPU feature discovery를 설치하세요. "
        "그동안은 CPU 프로필을 제공합니다.",
    ),
    "rights": ("the portal's account may do all that it needs", "포털 계정에 필요한 권한이 모두 있습니다"),
    "rights_missing": (
        "the portal's account may not {verbs} {what} {where}",
        "포털 계정 권한 없음: {where} {what} {verbs}",
    ),
    "everywhere": ("in all namespaces", "(모든 네임스페이스)"),
    "in_one": ("in {namespace}", "({namespace})"),
    "rights_todo": (
        "Install the chart's Roles and bindings again (`helm upgrade`), or give the account these rights.",
        "차트의 Role과 바인딩을 다시 설치하거나(`helm upgrade`) 계정에 이 권한을 주세요.",
    ),
    "namespace_missing": ("{name} is not there", "{name}이(가) 없습니다"),
    "namespace_todo": (
        "Make it, or name another in {setting}.",
        "만들거나 {setting}에서 다른 이름을 지정하세요.",
    ),
    "pod_fine": (
        "the API server would take one in {namespace} (dry run; nothing was made)",
        "API 서버가 {namespace}에 서버 파드를 받습니다(시험 요청, 만든 것 없음)",
    ),
    "pod_refused": (
        "the API server refuses one in {namespace}: {why}",
        "API 서버가 {namespace}의 서버 파드를 거부합니다: {why}",
    ),
    "pod_todo": (
        "Correct what it names: Pod Security, LimitRange, ResourceQuota or a webhook of that namespace.",
        "표시된 항목(해당 네임스페이스의 Pod Security, LimitRange, ResourceQuota, 승인 웹훅)을 고치세요.",
    ),
    "home_none": ("none are kept (`home_size_gb` is 0)", "보관하지 않습니다(`home_size_gb`가 0)"),
    "home_default": (
        "volumes of {size} GiB by the cluster's default StorageClass, {name}",
        "클러스터 기본 StorageClass({name})로 {size} GiB 볼륨을 만듭니다",
    ),
    "home_named": (
        "volumes of {size} GiB by the StorageClass {name}",
        "StorageClass {name}로 {size} GiB 볼륨을 만듭니다",
    ),
    "home_unknown": (
        "volumes of {size} GiB by the StorageClass {name}; whether it is there this account may not see",
        "StorageClass {name}로 {size} GiB 볼륨을 만듭니다. 이 계정은 그 존재를 확인할 수 없습니다",
    ),
    "home_no_class": (
        "the cluster has no StorageClass {name}: nobody's home is made, and no server starts",
        "클러스터에 StorageClass {name}이(가) 없어 홈을 만들 수 없고 서버가 시작되지 않습니다",
    ),
    "home_no_default": (
        "the cluster has no default StorageClass, and `storage_class` names none: homes wait for volumes that "
        "somebody makes by hand",
        "기본 StorageClass가 없고 `storage_class`도 비어 있어, 누군가 볼륨을 직접 만들 때까지 홈이 기다립니다",
    ),
    "home_refused": (
        "the API server refuses the claim of a home: {why}",
        "API 서버가 홈의 볼륨 클레임을 거부합니다: {why}",
    ),
    "home_todo": (
        "Name one of `kubectl get storageclass` in `storage_class` (with the chart: `home.storageClass`).",
        "`kubectl get storageclass`의 이름을 `storage_class`(차트: `home.storageClass`)에 지정하세요.",
    ),
    "pull_secret": ("{name} is in {namespace}", "{namespace}에 {name}이(가) 있습니다"),
    "pull_secret_missing": (
        "{name} is not in {namespace}: nodes fetch images there without it",
        "{namespace}에 {name}이(가) 없어 노드가 인증 없이 이미지를 받습니다",
    ),
    "pull_secret_kind": (
        "{name} in {namespace} is of type {kind}, which nodes do not use for images",
        "{namespace}의 {name}은(는) 노드가 이미지에 쓰지 않는 유형({kind})입니다",
    ),
    "pull_secret_todo": (
        "`kubectl -n {namespace} create secret docker-registry {name} …` makes it.",
        "`kubectl -n {namespace} create secret docker-registry {name} …`로 만드세요.",
    ),
    "prometheus": ("{url} answers: {count} readings of GPUs", "{url} 응답함: GPU 측정값 {count}개"),
    "prometheus_empty": (
        "{url} answers, and knows no fresh reading of DCGM's: how busy GPUs are is unknown",
        "{url}은(는) 응답하지만 새로운 DCGM 측정값이 없어 GPU 사용률을 알 수 없습니다",
    ),
    "prometheus_empty_todo": (
        "Install NVIDIA's DCGM exporter, and have this Prometheus read it (docs/gpu-use.md).",
        "NVIDIA DCGM exporter를 설치하고 이 Prometheus가 읽게 하세요(docs/gpu-use.md).",
    ),
    "prometheus_none": (
        "`prometheus_url` is not set: how busy GPUs are is unknown, and nobody is idle by it",
        "`prometheus_url`이 없어 GPU 사용률을 알 수 없고, 이를 근거로 유휴로 판단하지 않습니다",
    ),
    "prometheus_none_todo": (
        "Name the Prometheus that reads the DCGM exporter in `prometheus_url` (docs/gpu-use.md).",
        "DCGM exporter를 읽는 Prometheus를 `prometheus_url`에 지정하세요(docs/gpu-use.md).",
    ),
    "kueue_none": (
        "not installed: the portal's own queue decides alone",
        "설치되지 않음: 포털의 대기열만으로 결정합니다",
    ),
    "kueue_unused": (
        "installed, and has none of the portal's quotas: the portal's own queue decides alone",
        "설치되었지만 포털의 할당량이 없어 포털의 대기열만으로 결정합니다",
    ),
    "kueue_fine": ("its objects are as the portal's quotas say", "객체가 포털의 할당량과 같습니다"),
    "kueue_drift": (
        "{count} of its objects are not as the portal's quotas say: {names}",
        "객체 {count}개가 포털의 할당량과 다릅니다: {names}",
    ),
    "kueue_unknown": (
        "whether its objects are as the quotas say is unknown: {why}",
        "할당량과 같은지 알 수 없습니다: {why}",
    ),
    "kueue_todo": (
        "Bring them: `dure kueue --apply`, or have the portal do it by itself (`kueue_apply_s`; docs/kueue.md).",
        "`dure kueue --apply`로 적용하거나 포털이 스스로 적용하게 하세요(`kueue_apply_s`, docs/kueue.md).",
    ),
    "options_fine": ("options of people's servers: {names}", "서버 옵션: {names}"),
    "options_idle": (
        "options without effect, since the portal decides this itself: {names}",
        "포털이 직접 정하므로 효과가 없는 옵션: {names}",
    ),
    "options_todo": ("Remove them, so that nobody relies on them.", "혼동을 피하려면 지우세요."),
}

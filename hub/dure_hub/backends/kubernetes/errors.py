"""What a cluster refuses, said to people."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text
from dure_hub.backends.base import HeldBack
from dure_hub.policies import refused


class ClusterAway(DureError):
    """The API server does not answer."""

    code, status = "cluster_away", 503
    message: ClassVar[Text] = {
        "en": "The Kubernetes API server does not answer ({why}).",
        "ko": "Kubernetes API 서버가 응답하지 않습니다({why}).",
    }
    next_step: ClassVar[Text] = {
        "en": "What runs goes on. Try again in a minute; if it stays so, tell whoever runs the cluster.",
        "ko": "실행 중인 것은 계속됩니다. 잠시 후 다시 시도하고, 계속되면 클러스터 관리자에게 알려 주세요.",
    }


class PrometheusAway(DureError):
    """Prometheus does not answer, or answers with an error: how busy GPUs are is unknown."""

    code, status = "prometheus_away", 503
    message: ClassVar[Text] = {
        "en": "Prometheus at {url} does not say how busy the GPUs are: {why}.",
        "ko": "{url}의 Prometheus에서 GPU 사용률을 읽을 수 없습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Correct `prometheus_url` and `prometheus_token_file`; until then use of GPUs is unknown, and "
        "nobody is idle by it.",
        "ko": "`prometheus_url`과 `prometheus_token_file`을 확인하세요. 그동안 GPU 사용률은 알 수 없으며, "
        "이를 근거로 유휴로 판단하지 않습니다.",
    }


class NoCluster(DureError):
    """How to reach the cluster is not known."""

    code, status = "no_cluster", 500
    message: ClassVar[Text] = {
        "en": "How to reach the cluster cannot be read from {file}: {why}.",
        "ko": "{file}에서 클러스터에 연결하는 방법을 읽을 수 없습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Name a working file in the setting `kubeconfig`, or run the portal as a pod of the cluster.",
        "ko": "설정 `kubeconfig`에 올바른 파일을 지정하거나, 포털을 서비스 계정이 있는 파드로 실행하세요.",
    }


class HomeTaken(DureError):
    """A volume claim of that name is there, and another portal's."""

    code, status = "home_taken", 409
    message: ClassVar[Text] = {
        "en": "The volume claim {claim} is another portal's: its label dure/portal says {whose}, not {portal}.",
        "ko": "볼륨 클레임 {claim}은(는) 다른 포털의 것입니다. "
        "레이블 dure/portal이 {portal}이 아니라 {whose}입니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "If it is the home of the same person, an administrator of the cluster changes that label; else "
        "this portal needs a namespace of its own (`namespace_dev`).",
        "ko": "같은 사람의 홈이면 클러스터 관리자가 그 레이블을 바꾸고, 아니면 이 포털에 별도의 네임스페이스"
        "(`namespace_dev`)가 필요합니다.",
    }


class VolumeMissing(DureError):
    """A volume claim that the profile brings cannot be mounted; `why` says so in each language."""

    code, status = "volume_missing", 409  # with a 503 of the hub's, the portal would take that for away and try on
    message: ClassVar[Text] = {
        "en": "The profile's volume claim {claim}, which is to be at {path}, cannot be used in the namespace "
        "{namespace}: {why}.",
        "ko": "프로필이 {path}에 연결하는 볼륨 클레임 {claim}을(를) 네임스페이스 {namespace}에서 쓸 수 "
        "없습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Nothing was started. Choose another profile, or ask an administrator to make the claim "
        "(`kubectl -n {namespace} get pvc`) or to correct `volumes` in profiles.yaml.",
        "ko": "시작된 것은 없습니다. 다른 프로필을 고르거나, 클레임을 만들거나"
        "(`kubectl -n {namespace} get pvc`) profiles.yaml의 `volumes`를 고치도록 관리자에게 요청하세요.",
    }


class PodStuck(DureError):
    """A pod did not begin, and waiting longer is no use, or has lasted long enough."""

    code, status = "pod_stuck", 503
    message: ClassVar[Text] = {
        "en": "Its pod did not begin within {seconds} s. The cluster says: {why}",
        "ko": "파드가 {seconds}초 안에 시작되지 않았습니다. 클러스터의 설명: {why}",
    }
    next_step: ClassVar[Text] = {
        "en": "Try again; if it stays so, show this sentence to an administrator of the portal.",
        "ko": "다시 시도하고, 계속되면 이 문장을 포털 관리자에게 보여 주세요.",
    }


class PodEnded(DureError):
    """A pod ended before it had an address."""

    code, status = "pod_ended", 500
    message: ClassVar[Text] = {
        "en": "Its pod ended before it began to answer: {why}",
        "ko": "파드가 응답하기 전에 끝났습니다: {why}",
    }
    next_step: ClassVar[Text] = PodStuck.next_step


class NameTaken(DureError):
    """Another pod has the name that this one is to have; one that is ending counts until it has ended."""

    code, status = "name_taken", 409
    message: ClassVar[Text] = {
        "en": "The cluster has another pod of the name {name} still.",
        "ko": "클러스터에 이름이 {name}인 다른 파드가 아직 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Try again when it has ended; where it is not the portal's, ask whoever runs the cluster.",
        "ko": "그 파드가 끝난 뒤에 다시 시도하세요. 포털의 파드가 아니면 클러스터 관리자에게 문의하세요.",
    }


class ClusterRefused(DureError):
    """The API server says no: a quota, a policy, a right that the portal lacks."""

    code, status = "cluster_refused", 409
    message: ClassVar[Text] = {
        "en": "The cluster refused it: {why}",
        "ko": "클러스터가 거부했습니다: {why}",
    }
    next_step: ClassVar[Text] = {
        "en": "Show this sentence to an administrator of the portal.",
        "ko": "이 문장을 포털 관리자에게 보여 주세요.",
    }


class QuotaExceeded(ClusterRefused):
    """A ResourceQuota of the namespace, `quota`, has no room now, as `said`; others may yet give theirs back."""


class ClusterChanged(ClusterRefused):
    """The object is not as it was when it was read: who wants to change it reads it again."""


class NotAdmitted(HeldBack):
    """Kueue has held a pod back for longer than it may: it is to go, and its ticket waits on in its place."""

    code, status = "not_admitted", 503
    message: ClassVar[Text] = {
        "en": "Kueue did not admit the pod {name} within {limit_s} seconds ({queue}: {why}).",
        "ko": "Kueue가 {limit_s}초 안에 파드 {name}을(를) 승인하지 않았습니다({queue}: {why}).",
    }
    next_step: ClassVar[Text] = {
        "en": "Its request keeps its place in the queue and is tried again. If it stays so, somebody uses the "
        "team's queue beside the portal: `kubectl get workloads -A` says who.",
        "ko": "요청은 대기열의 자리를 그대로 유지하며 다시 시도됩니다. 계속되면 포털 밖에서 팀의 큐를 쓰는 "
        "작업이 있는 것입니다. `kubectl get workloads -A`로 확인하세요.",
    }


class NoNode(HeldBack):
    """A pod has found no node in its time: it is to go, and its request waits on in its place.

    `node` is where its slice is; "" where the scheduler was free to choose.
    """

    code, status = "no_node", 503
    verdict = refused.NODE
    message: ClassVar[Text] = {
        "en": "The cluster found no node for the pod within {seconds} s (its place is on {node}): {why}",
        "ko": "클러스터가 {seconds}초 안에 파드의 노드를 찾지 못했습니다(배정된 자리: {node}): {why}",
    }
    next_step: ClassVar[Text] = {
        "en": "Its request keeps its place in the queue and is tried again, on another node where there is room. "
        "If it stays so, the portal does not see what holds that node: `kubectl describe node {node}` says it.",
        "ko": "요청은 대기열의 자리를 그대로 유지하며, 자리가 있으면 다른 노드에서 다시 시도합니다. 계속되면 "
        "포털이 세지 않는 것이 그 노드에 있는 것입니다. `kubectl describe node {node}`로 확인하세요.",
    }


class OverClusterQuota(HeldBack):
    """A ResourceQuota lets nothing more in now: nothing is made, and its request waits on in its place."""

    code, status = "over_cluster_quota", 503
    verdict = refused.QUOTA
    message: ClassVar[Text] = {
        "en": "The quota {quota} of the namespace {namespace} has no room for it now: {why}",
        "ko": "네임스페이스 {namespace}의 할당량 {quota}에 지금 여유가 없습니다: {why}",
    }
    next_step: ClassVar[Text] = {
        "en": "Its request keeps its place in the queue and is tried again. If it stays so, an administrator of "
        "the cluster can raise it: `kubectl -n {namespace} describe quota {quota}`.",
        "ko": "요청은 대기열의 자리를 그대로 유지하며 다시 시도됩니다. 계속되면 클러스터 관리자가 늘릴 수 "
        "있습니다. `kubectl -n {namespace} describe quota {quota}`로 확인하세요.",
    }


class QueueTaken(DureError):
    """What is to be made of Kueue's objects has the name of somebody else's."""

    code, status = "queue_taken", 409
    message: ClassVar[Text] = {
        "en": "The cluster has a {kind} of the name {name} already, which is not this portal's.",
        "ko": "클러스터에 이 포털의 것이 아닌 {kind} {name}이(가) 이미 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Nothing was changed. Ask whoever runs the cluster to rename or remove it, then try again.",
        "ko": "아무것도 바꾸지 않았습니다. 클러스터 관리자에게 이름 변경이나 삭제를 요청한 뒤 다시 실행하세요.",
    }


class NoKueue(DureError):
    """The cluster has no Kueue that could be told of quotas."""

    code, status = "no_kueue", 409
    message: ClassVar[Text] = {
        "en": "This cluster does not serve {version}: Kueue is not installed, or it is too old.",
        "ko": "이 클러스터는 {version}을 제공하지 않습니다. Kueue가 없거나 너무 오래된 버전입니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Install Kueue 0.17 or newer, or do without: the portal's own queue then keeps the quotas alone.",
        "ko": "Kueue 0.17 이상을 설치하거나 그대로 쓰세요. 그러면 포털의 대기열만으로 할당량을 지킵니다.",
    }

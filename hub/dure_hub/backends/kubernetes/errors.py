"""What a cluster refuses, said to people."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text


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

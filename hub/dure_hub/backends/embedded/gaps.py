"""What one machine without containers cannot do, in the words that people read."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from dure_hub.backends.base import Feature

Gaps = dict[Feature, Mapping[str, str]]

LIMITS: Gaps = {
    Feature.MEMORY_LIMIT: {
        "en": "Memory is agreed, not enforced: who takes more than their profile takes it from the others.",
        "ko": "메모리는 약속일 뿐 강제되지 않습니다. 프로필보다 많이 쓰면 다른 사람의 몫이 줄어듭니다.",
    },
    Feature.CPU_LIMIT: {
        "en": "CPU cores are agreed, not enforced: the machine's scheduler divides them among all.",
        "ko": "CPU 코어는 약속일 뿐 강제되지 않습니다. 머신의 스케줄러가 모두에게 나눕니다.",
    },
    Feature.USER_ISOLATION: {
        "en": "Every server runs as one operating-system user: for a single team that trusts its members.",
        "ko": "모든 서버가 하나의 운영체제 사용자로 실행됩니다. 서로 신뢰하는 한 팀에 알맞습니다.",
    },
}
MULTI_NODE: Gaps = {
    Feature.MULTI_NODE: {
        "en": "A job runs on this one machine; jobs over several machines need a cluster.",
        "ko": "작업은 이 머신에서만 실행됩니다. 여러 머신을 쓰려면 클러스터가 필요합니다.",
    },
}
SLICES: Gaps = {
    Feature.MIG: {
        "en": "GPUs are given whole; MIG instances cannot be made or given yet.",
        "ko": "GPU는 통째로만 배정됩니다. MIG 인스턴스는 아직 만들거나 배정할 수 없습니다.",
    },
    Feature.GPU_SHARING: {
        "en": "A GPU has one holder at a time; sharing by time or memory is not supported yet.",
        "ko": "GPU 하나는 한 번에 한 사람만 씁니다. 시간이나 메모리 공유는 아직 지원하지 않습니다.",
    },
}


def without_torch(feature: Feature) -> Gaps:
    """The gap for training or serving where torch is not installed; empty where it is."""
    if importlib.util.find_spec("torch") is not None:
        return {}
    return {
        feature: {
            "en": "This needs PyTorch, which is not installed: start the portal"
            " with `make up` without DURE_TORCH=none.",
            "ko": "PyTorch가 설치되어 있지 않습니다. DURE_TORCH=none 없이 `make up`으로 포털을 시작하세요.",
        }
    }


def without_papermill() -> Gaps:
    """The gap for scheduled notebooks where papermill is not installed; empty where it is."""
    if importlib.util.find_spec("papermill") is not None:
        return {}
    return {
        Feature.SCHEDULES: {
            "en": "This needs papermill, which is not installed: start the portal with `make up`, which does so.",
            "ko": "papermill이 설치되어 있지 않습니다. papermill까지 설치하는 `make up`으로 포털을 시작하세요.",
        }
    }

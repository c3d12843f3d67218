"""What one machine without containers cannot do, in the words that people read."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from dure_hub.backends.base import Feature
from dure_hub.catalogue.mig import MigGrid

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
    Feature.OWN_TMP: {
        "en": "Programs share this machine's /tmp; with accounts of the system each person has their own.",
        "ko": "모든 프로그램이 이 머신의 /tmp를 함께 씁니다. 시스템 계정을 쓰면 사람마다 따로 있습니다.",
    },
}
SHARED_TMP: Gaps = {
    Feature.OWN_TMP: {
        "en": "This kernel gives processes no /tmp of their own: programs that ignore TMPDIR share /tmp, and"
        " kernels of notebooks talk over loopback, where others on this machine could listen.",
        "ko": "이 커널에서는 프로세스마다 /tmp를 따로 둘 수 없습니다. TMPDIR을 무시하는 프로그램은 /tmp를"
        " 함께 쓰고, 노트북 커널은 이 머신의 다른 사용자가 들을 수 있는 루프백으로 통신합니다.",
    },
}
NO_CONTAINERS: Gaps = {
    Feature.VOLUMES: {
        "en": "Servers are processes of this machine: data for all of them is in folders of `shared_folders`,"
        " and shared memory is the machine's own, whatever a profile says of volumes and `shm_mb`.",
        "ko": "서버는 이 머신의 프로세스입니다. 함께 쓰는 데이터는 `shared_folders`의 폴더에 두고, 공유 메모리는"
        " 머신의 것을 씁니다. 프로필의 볼륨과 `shm_mb`는 쓸 수 없습니다.",
    },
    Feature.CONTAINER_IMAGES: {
        "en": "Servers are processes of this machine, made from a Python or a command of `images`; container"
        " images need a cluster.",
        "ko": "서버는 이 머신의 프로세스로, `images`의 파이썬이나 명령으로 만듭니다. 컨테이너 이미지를 쓰려면"
        " 클러스터가 필요합니다.",
    },
}
MULTI_NODE: Gaps = {
    Feature.MULTI_NODE: {
        "en": "A job runs on this one machine; jobs over several machines need a cluster.",
        "ko": "작업은 이 머신에서만 실행됩니다. 여러 머신을 쓰려면 클러스터가 필요합니다.",
    },
}
SLICES: Gaps = {
    Feature.GPU_SHARING: {
        "en": "A GPU has one holder at a time; `gpu_sharing` in dure.yaml lets several share it.",
        "ko": "GPU 하나는 한 번에 한 사람만 씁니다. dure.yaml의 `gpu_sharing`으로 나누어 쓸 수 있습니다.",
    },
}
IN_USE: Mapping[str, str] = {
    "en": "Something runs on this MIG instance; it can be removed once that has ended.",
    "ko": "이 MIG 인스턴스에서 실행 중인 것이 있습니다. 끝난 뒤에 제거할 수 있습니다.",
}
MIG_OFF: Mapping[str, str] = {
    "en": "MIG is off on it, or it has none; the machine's administrator turns it on with `nvidia-smi -mig 1`.",
    "ko": "MIG가 꺼져 있거나 없는 GPU입니다. 머신 관리자가 `nvidia-smi -mig 1`로 켤 수 있습니다.",
}
MIG_NEEDS_RIGHT: Mapping[str, str] = {
    "en": "Making and removing MIG instances needs root, or read access to"
    " /proc/driver/nvidia/capabilities/mig/config.",
    "ko": "MIG 인스턴스를 만들거나 제거하려면 root이거나 /proc/driver/nvidia/capabilities/mig/config 읽기 권한이"
    " 있어야 합니다.",
}
NO_MIG_HERE: Mapping[str, str] = {
    "en": "No GPU here has MIG turned on, so none can be given in parts of that kind.",
    "ko": "MIG가 켜진 GPU가 없어 MIG 단위로 나누어 줄 수 없습니다.",
}
MIG_TAKEN: Mapping[str, str] = {
    "en": "There is no room for it at this place: another MIG instance is in the way.",
    "ko": "그 위치에 자리가 없습니다. 다른 MIG 인스턴스가 차지하고 있습니다.",
}
CUT_BY_HAND: Mapping[str, str] = {
    "en": "Somebody has cut this MIG instance further by hand; it is theirs until they remove it.",
    "ko": "누군가 이 MIG 인스턴스를 직접 더 나누었습니다. 제거할 때까지 사용할 수 없습니다.",
}
MODE_UNKNOWN: Mapping[str, str] = {
    "en": "The driver does not say whether MIG is on; until it does, nobody is given this GPU.",
    "ko": "드라이버가 MIG 상태를 알려 주지 않습니다. 확인될 때까지 아무에게도 주지 않습니다.",
}
NO_GRID: Mapping[str, str] = {
    "en": "MIG is on, and the catalogue does not know how this model is cut; nobody is given this GPU.",
    "ko": "MIG가 켜져 있지만 카탈로그에 이 모델의 MIG 구성이 없습니다. 아무에게도 주지 않습니다.",
}
NO_GPU_IN_FILE: Mapping[str, str] = {
    "en": "The simulated fleet has no GPU in it.",
    "ko": "시뮬레이션 구성에 GPU가 없습니다.",
}


def no_limits(why: str) -> Gaps:
    """The gaps where each person has an account, and no control groups can be made."""
    return {
        Feature.MEMORY_LIMIT: {
            "en": f"Memory is agreed, not enforced: no control groups can be made here ({why}).",
            "ko": f"메모리는 약속일 뿐 강제되지 않습니다. 여기서는 cgroup을 만들 수 없습니다({why}).",
        },
        Feature.CPU_LIMIT: {
            "en": f"CPU cores are agreed, not enforced: no control groups can be made here ({why}).",
            "ko": f"CPU 코어는 약속일 뿐 강제되지 않습니다. 여기서는 cgroup을 만들 수 없습니다({why}).",
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


def no_such_place(mig: str, start: int, grid: MigGrid) -> Mapping[str, str]:
    """Why a grid has no such MIG profile, or not at this start."""
    profile = grid.named(mig)
    if profile is None:
        known = ", ".join(one.name for one in grid.profiles)
        return {
            "en": f"It has no MIG profile {mig}, but {known}.",
            "ko": f"MIG 프로필 {mig}이(가) 없습니다. 있는 것: {known}.",
        }
    starts = ", ".join(map(str, profile.starts))
    return {
        "en": f"{mig} cannot start at {start}, only at {starts}.",
        "ko": f"{mig}은(는) {start}에서 시작할 수 없고 {starts}에서만 시작합니다.",
    }

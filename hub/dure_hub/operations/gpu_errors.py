"""What can go wrong with GPUs and their cutting, in the words of who asked for it."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text


class NoSuchNode(DureError):
    """No node has this name."""

    code, status = "no_such_node", 404
    message: ClassVar[Text] = {
        "en": "There is no node named {node}. Nodes of this portal: {nodes}.",
        "ko": "{node}(이)라는 노드가 없습니다. 이 포털의 노드: {nodes}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Name one of these, or leave `nodeName` out for all GPUs.",
        "ko": "이 중에서 고르거나, 모든 GPU를 보려면 `nodeName`을 빼세요.",
    }


class NoSuchGpu(DureError):
    """No GPU has this id now."""

    code, status = "no_such_gpu", 404
    message: ClassVar[Text] = {
        "en": "There is no GPU {device} here now.",
        "ko": "지금 여기에는 {device} GPU가 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "`GET /gpu/devices` (`dure gpus`) lists the ids; where this was a cursor, begin without one.",
        "ko": "`GET /gpu/devices`(`dure gpus`)에서 ID를 확인하세요. 커서였다면 커서 없이 처음부터 읽으세요.",
    }


class NoMigHere(DureError):
    """This GPU cannot be cut; `why` is the sentence, in each language."""

    code, status = "no_mig_here", 409
    message: ClassVar[Text] = {
        "en": "GPU {device} ({model}) cannot be cut. {why}",
        "ko": "GPU {device}({model})은(는) 나눌 수 없습니다. {why}",
    }
    next_step: ClassVar[Text] = {
        "en": "`dure doctor` says what this portal may do with MIG. Nothing was changed.",
        "ko": "`dure doctor`가 이 포털이 MIG로 할 수 있는 일을 보여 줍니다. 변경된 것은 없습니다.",
    }


class NoSuchMigProfile(DureError):
    """The GPU's grid has no MIG profile of this name."""

    code, status = "no_such_mig_profile", 422
    message: ClassVar[Text] = {
        "en": "A {model} has no MIG profile {profile}. It has: {offered}.",
        "ko": "{model}에는 MIG 프로필 {profile}이(가) 없습니다. 있는 것: {offered}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Choose from these. Nothing was changed.",
        "ko": "이 중에서 고르세요. 변경된 것은 없습니다.",
    }


class MigDoesNotFit(DureError):
    """These MIG profiles do not fit on one GPU together."""

    code, status = "mig_does_not_fit", 422
    message: ClassVar[Text] = {
        "en": "{profile} does not fit beside the others: it may start at {legal}, and taken are {taken}.",
        "ko": "{profile}은(는) 함께 들어가지 않습니다. 시작할 수 있는 위치: {legal}, 차지된 곳: {taken}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Leave it out, or ask for smaller ones. At most {limit} of {profile} fit on one GPU. "
        "Nothing was changed.",
        "ko": "이 프로필을 빼거나 더 작은 것을 고르세요. GPU 하나에 {profile}은(는) 최대 {limit}개입니다. "
        "변경된 것은 없습니다.",
    }


class MigHeld(DureError):
    """A MIG instance that somebody holds would be in the way, or would be gone."""

    code, status = "mig_held", 409
    message: ClassVar[Text] = {
        "en": "{mig} at start {start} of GPU {device} is held by {owner} (lease {lease}).",
        "ko": "GPU {device}의 {mig}(시작 {start})은(는) {owner}이(가) 사용 중입니다(임대 {lease}).",
    }
    next_step: ClassVar[Text] = {
        "en": "Keep {mig}@{start} in the list, or wait until that lease has ended. Nothing was changed.",
        "ko": "목록에 {mig}@{start}을(를) 남기거나 그 임대가 끝난 뒤에 다시 하세요. 변경된 것은 없습니다.",
    }


class GpuGone(DureError):
    """A lease holds a GPU that no look finds any more."""

    code, status = "gpu_gone", 503
    message: ClassVar[Text] = {
        "en": "GPU {device} was given to this, but is not there now: its driver no longer shows it.",
        "ko": "배정된 GPU {device}이(가) 지금 보이지 않습니다. 드라이버가 더 이상 표시하지 않습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Ask again, and get another one. An administrator sees with `nvidia-smi` what has become of it.",
        "ko": "다시 요청하면 다른 GPU를 받습니다. 관리자는 `nvidia-smi`로 상태를 확인할 수 있습니다.",
    }


class NoGpuSoLarge(DureError):
    """No profile has as much GPU memory in one piece."""

    code, status = "no_gpu_so_large", 422
    message: ClassVar[Text] = {
        "en": "No {what} here has {asked_gb} GB of memory. There is: {offered}.",
        "ko": "메모리가 {asked_gb} GB인 {what}을(를) 제공하지 않습니다. 있는 것: {offered}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Ask for less memory, or set `useMig` the other way. Nothing was started.",
        "ko": "메모리를 줄이거나 `useMig`를 반대로 설정하세요. 시작된 것은 없습니다.",
    }


class NoGpuOfKind(DureError):
    """Any amount of memory would do, but there is no GPU of the kind that was asked for."""

    code, status = "no_gpu_of_kind", 422
    message: ClassVar[Text] = {
        "en": "This portal has no {what} to give.",
        "ko": "이 포털에는 제공할 {what}이(가) 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Set `useMig` the other way. Nothing was started.",
        "ko": "`useMig`를 반대로 설정하세요. 시작된 것은 없습니다.",
    }

"""What can go wrong in an operation, in the words of who asked for it."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text


class NoSuchProfile(DureError):
    """The profile is not offered here."""

    code, status = "no_such_profile", 422
    message: ClassVar[Text] = {
        "en": "There is no profile named {profile}. This portal offers: {offered}.",
        "ko": "{profile}(이)라는 프로필이 없습니다. 이 포털의 프로필: {offered}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Choose one of these.",
        "ko": "이 중에서 고르세요.",
    }


class ProfileNotForYou(DureError):
    """The profile is for other teams."""

    code, status = "profile_not_for_you", 403
    message: ClassVar[Text] = {
        "en": "The profile {profile} is for people of these teams: {groups}.",
        "ko": "{profile} 프로필은 다음 팀만 쓸 수 있습니다: {groups}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Choose another one, or ask an administrator to add you to such a team. Nothing was started.",
        "ko": "다른 프로필을 고르거나 관리자에게 팀 추가를 요청하세요. 시작된 것은 없습니다.",
    }


class ProfileNotHere(DureError):
    """The profile is made of more than there is where the portal runs servers; `why` is the backend's sentence."""

    code, status = "profile_not_here", 501
    message: ClassVar[Text] = {
        "en": "The profile {profile} cannot be given here as it is. {why}",
        "ko": "{profile} 프로필을 여기서는 그대로 제공할 수 없습니다. {why}",
    }
    next_step: ClassVar[Text] = {
        "en": "Choose another one; an administrator changes this one in profiles.yaml. Nothing was started.",
        "ko": "다른 프로필을 고르세요. 관리자는 profiles.yaml에서 고칠 수 있습니다. 시작된 것은 없습니다.",
    }


class NeverFits(DureError):
    """Waiting would not help: the whole machine is too small for it."""

    code, status = "never_fits", 422
    message: ClassVar[Text] = {
        "en": "{profile} does not fit here even when nothing else runs.",
        "ko": "{profile}은(는) 다른 것이 하나도 없어도 여기에 들어가지 않습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "An administrator can make `cpu_profile_memory_mb` or `memory_reserved_mb` smaller; "
        "`dure doctor` shows what there is.",
        "ko": "관리자가 `cpu_profile_memory_mb`나 `memory_reserved_mb`를 줄일 수 있습니다. "
        "있는 자원은 `dure doctor`가 보여 줍니다.",
    }


class RanksOnSlice(DureError):
    """Several ranks on one part of a GPU: there is no way between them (NCCL wants a GPU a rank)."""

    code, status = "ranks_on_slice", 422
    message: ClassVar[Text] = {
        "en": "{profile} is a part of one GPU, and {processes} processes of one job cannot train together on it: "
        "parts of GPUs have no link to each other.",
        "ko": "{profile}은(는) GPU 하나의 일부라서 한 작업의 프로세스 {processes}개가 함께 학습할 수 없습니다. "
        "GPU의 일부끼리는 서로 연결되지 않습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Ask for {instead}, or for one process. Nothing was started.",
        "ko": "{instead_ko}을(를) 고르거나 프로세스를 1개로 요청하세요. 시작된 것은 없습니다.",
    }


class NotInPool(DureError):
    """What was asked for is on nodes that are for something else."""

    code, status = "not_in_pool", 422
    message: ClassVar[Text] = {
        "en": "{profile} is not on any node that is for {pool}, which this would be.",
        "ko": "{profile}은(는) {pool}용 노드에 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Choose another profile, or use this one for what its nodes are for. Nothing was started.",
        "ko": "다른 프로필을 고르거나 노드의 용도에 맞게 사용하세요. 시작된 것은 없습니다.",
    }


class HomeElsewhere(DureError):
    """What was asked for is never on the nodes where the home of whoever asks can be used."""

    code, status = "home_elsewhere", 422
    message: ClassVar[Text] = {
        "en": "Your home can be used on {nodes} alone, and {profile} never fits there.",
        "ko": "홈을 쓸 수 있는 노드는 {nodes}뿐인데, {profile}은(는) 그곳에 들어갈 수 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Choose a profile that these nodes have, or ask an administrator of the cluster to move your home's "
        "volume. Nothing was started.",
        "ko": "그 노드에 있는 프로필을 고르거나, 클러스터 관리자에게 홈 볼륨을 옮겨 달라고 요청하세요. "
        "시작된 것은 없습니다.",
    }


class QuotaTooSmall(DureError):
    """It asks for more GPUs than the quota has, so waiting would not help."""

    code, status = "quota_too_small", 422
    message: ClassVar[Text] = {
        "en": "This asks for {asked} GPUs, and the quota of the {kind} {name} is {limit} at once.",
        "ko": "GPU {asked}개를 요청했지만 {name}({kind})의 동시 한도는 {limit}개입니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Choose a smaller profile, or ask an administrator for a larger quota. Nothing was started.",
        "ko": "더 작은 프로필을 고르거나 관리자에게 한도를 늘려 달라고 하세요. 시작된 것은 없습니다.",
    }


class OverBudget(DureError):
    """It would cost more than is left of a budget."""

    code, status = "over_budget", 402
    message: ClassVar[Text] = {
        "en": "This would come to {comes_to}, and {left} of {amount} is left this month for the {kind} {name}.",
        "ko": "예상 비용은 {comes_to}이고, 이번 달 {name}({kind})의 예산 {amount} 중 {left}이(가) 남았습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "{instead_en} Nothing was started.",
        "ko": "{instead_ko} 시작된 것은 없습니다.",
    }


class BadLifetime(DureError):
    """The lifetime asked for is out of bounds."""

    code, status = "bad_lifetime", 422
    message: ClassVar[Text] = {
        "en": "A lifetime of {asked} s is not possible: from {shortest} to {longest} s.",
        "ko": "수명 {asked}초는 쓸 수 없습니다. {shortest}초에서 {longest}초까지 가능합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Ask for a lifetime within these bounds. Nothing was started.",
        "ko": "범위 안의 수명으로 다시 요청하세요. 시작된 것은 없습니다.",
    }


class LifetimeOverLimit(DureError):
    """The lifetime asked for is longer than a limit of its owner or team."""

    code, status = "lifetime_over_limit", 422
    message: ClassVar[Text] = {
        "en": "A lifetime of {asked} s is not possible: servers of the {kind} {name} run for {longest} s at most.",
        "ko": "수명 {asked}초는 쓸 수 없습니다. {name}({kind})의 서버는 최대 {longest}초까지 쓸 수 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Ask for less, or ask an administrator for a longer time (`dure quotas`). Nothing was started.",
        "ko": "더 짧게 요청하거나 관리자에게 시간을 늘려 달라고 하세요(`dure quotas`). 시작된 것은 없습니다.",
    }


class EndTooEarly(DureError):
    """The end asked for is before the one there is, or has passed."""

    code, status = "end_too_early", 422
    message: ClassVar[Text] = {
        "en": "The end cannot be moved to {asked}: it must be after {earliest}.",
        "ko": "종료 시각을 {asked}(으)로 옮길 수 없습니다. {earliest}보다 뒤여야 합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Ask for a later end, or stop the server to end it sooner. Nothing was changed.",
        "ko": "더 늦은 시각을 요청하거나, 일찍 끝내려면 서버를 중지하세요. 변경된 것은 없습니다.",
    }


class EndTooLate(DureError):
    """The end asked for is further away than the profile allows."""

    code, status = "end_too_late", 422
    message: ClassVar[Text] = {
        "en": "The end cannot be moved to {asked}: at most {longest_s} s from now, which is {latest}.",
        "ko": "종료 시각을 {asked}(으)로 옮길 수 없습니다. 지금부터 {longest_s}초 뒤인 {latest}까지 가능합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Ask for an end until then; later you can extend again. Nothing was changed.",
        "ko": "그 시각까지로 요청하세요. 나중에 다시 연장할 수 있습니다. 변경된 것은 없습니다.",
    }


class EndOverLimit(DureError):
    """The end asked for is further away than a limit of its owner or team allows."""

    code, status = "end_over_limit", 422
    message: ClassVar[Text] = {
        "en": "The end cannot be moved to {asked}: servers of the {kind} {name} run for {longest_s} s from now at "
        "most, which is {latest}.",
        "ko": "종료 시각을 {asked}(으)로 옮길 수 없습니다. {name}({kind})의 서버는 지금부터 최대 {longest_s}초 "
        "뒤인 {latest}까지 쓸 수 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Ask for an end until then and extend again later, or ask an administrator for a longer time "
        "(`dure quotas`). Nothing was changed.",
        "ko": "그 시각까지로 요청하고 나중에 다시 연장하거나, 관리자에게 시간을 늘려 달라고 하세요"
        "(`dure quotas`). 변경된 것은 없습니다.",
    }


class OthersWait(DureError):
    """A later end would put off the start of somebody who was promised it."""

    code, status = "others_wait", 409
    message: ClassVar[Text] = {
        "en": "The end cannot be moved to {asked}: it would put off others who wait (how many: {waiting}); the"
        " first of them was promised a start by {first}.",
        "ko": "종료 시각을 {asked}(으)로 옮길 수 없습니다. 기다리는 다른 사람({waiting}명)의 시작이 늦어지며, 그중"
        " 첫 번째는 {first}까지 시작된다고 안내받았습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "The latest end that is still possible is {latest}. Nothing was changed.",
        "ko": "지금 가능한 가장 늦은 종료 시각은 {latest}입니다. 변경된 것은 없습니다.",
    }


class MustWait(DureError):
    """There is no room now; a ticket was left. `page` is the path of the waiting page."""

    code, status = "must_wait", 409
    message: ClassVar[Text] = {
        "en": "There is no {profile} free right now. You are number {position} in the queue.",
        "ko": "지금은 비어 있는 {profile}이(가) 없습니다. 대기 순서는 {position}번째입니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "It starts by itself when there is room; follow it at {page}.",
        "ko": "자리가 나면 자동으로 시작됩니다. {page}에서 확인하세요.",
    }


class MustWaitForLimit(DureError):
    """There may be room, but a quota or budget is used up now; a ticket was left. `page` is as above."""

    code, status = "must_wait_for_limit", 409
    message: ClassVar[Text] = {
        "en": "{profile} cannot start right now: a quota or budget that it counts against is used up.",
        "ko": "지금은 {profile}을(를) 시작할 수 없습니다. 관련 한도나 예산을 모두 썼습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "The request waits and starts by itself; {page} says for what.",
        "ko": "요청은 대기하며 자동으로 시작됩니다. 이유는 {page}에서 확인하세요.",
    }


class MustWaitForProfile(DureError):
    """Its GPU is away at the moment, so it has no place in the line. `page` is as above."""

    code, status = "must_wait_for_profile", 409
    message: ClassVar[Text] = {
        "en": "{profile} cannot start right now: no GPU that it needs is there at the moment.",
        "ko": "지금은 {profile}을(를) 시작할 수 없습니다. 필요한 GPU가 현재 보이지 않습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "The request waits until the GPU is back; {page} offers what is free instead.",
        "ko": "요청은 GPU가 돌아올 때까지 대기합니다. {page}에서 지금 비어 있는 프로필을 고를 수 있습니다.",
    }


class NothingToSave(DureError):
    """Only a server that runs has anything open."""

    code, status = "nothing_to_save", 409
    message: ClassVar[Text] = {
        "en": "The server {name} is {phase}; only one that runs can save.",
        "ko": "서버 {name}의 상태: {phase}. 실행 중인 서버만 저장할 수 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Start it, or wait until it runs. Nothing was changed.",
        "ko": "서버를 시작하거나 실행될 때까지 기다리세요. 변경된 것은 없습니다.",
    }


class SaidNothing(DureError):
    """A server was asked to save, and did not answer in time or at all."""

    code, status = "said_nothing", 504
    message: ClassVar[Text] = {
        "en": "The server {name} was asked to save and did not answer within {seconds} s.",
        "ko": "서버 {name}에 저장을 요청했지만 {seconds}초 안에 응답이 없었습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Look into the server: what it has saved is unknown, and it goes on running.",
        "ko": "무엇이 저장되었는지 알 수 없으니 서버를 확인하세요. 서버는 계속 실행됩니다.",
    }


class StillEnding(DureError):
    """The server of this name has not ended yet."""

    code, status = "still_ending", 409
    message: ClassVar[Text] = {
        "en": "The last server of {name} is still being stopped.",
        "ko": "{name}의 이전 서버가 아직 종료되는 중입니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Try again in a few seconds.",
        "ko": "몇 초 후 다시 시도하세요.",
    }


class EndsUnseen(StillEnding):
    """The same where the place can say why: `why` says so in each language."""

    code = "ends_unseen"
    message: ClassVar[Text] = {
        "en": "The last server of {name} is still being stopped. {why}",
        "ko": "{name}의 이전 서버가 아직 종료되는 중입니다. {why}",
    }
    next_step: ClassVar[Text] = {
        "en": "It can be started again after that; whoever runs the cluster can settle it.",
        "ko": "그 뒤에 다시 시작할 수 있습니다. 클러스터 관리자에게 처리를 요청하세요.",
    }


class TooManyServers(DureError):
    """One person has as many servers as the setting `servers_per_person` allows."""

    code, status = "too_many_servers", 409
    message: ClassVar[Text] = {
        "en": "You have {most} servers already, the most that one person may have at once: {names}.",
        "ko": "이미 서버가 {most}개 있습니다. 한 사람이 동시에 가질 수 있는 최대 개수입니다: {names}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Stop one of them, or use one that runs.",
        "ko": "그중 하나를 종료하거나 실행 중인 서버를 사용하세요.",
    }


class SnapshotTooLarge(DureError):
    """The upload is beyond the limit."""

    code, status = "snapshot_too_large", 413
    message: ClassVar[Text] = {
        "en": "The upload of code and data is larger than {limit_mb} MiB.",
        "ko": "코드와 데이터 업로드가 {limit_mb} MiB보다 큽니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Leave large data out of the folder, or have `snapshot_limit_mb` raised.",
        "ko": "큰 데이터는 폴더에서 빼거나 관리자에게 `snapshot_limit_mb`를 늘려 달라고 하세요.",
    }


class DiskFull(DureError):
    """An upload might leave too little of the disk."""

    code, status = "disk_full", 507
    message: ClassVar[Text] = {
        "en": "The portal's disk has {free_mb} MiB free. An upload needs {needed_mb} MiB: {limit_mb} for itself, "
        "and {minimum_mb} must stay free.",
        "ko": "포털 디스크에 {free_mb} MiB가 남아 있습니다. 업로드에는 {needed_mb} MiB가 필요합니다"
        "(업로드 {limit_mb} MiB, 항상 비워 두는 공간 {minimum_mb} MiB).",
    }
    next_step: ClassVar[Text] = {
        "en": "Delete large files you no longer need from your folder, or ask an administrator to make room. "
        "Nothing was kept.",
        "ko": "내 폴더에서 필요 없는 큰 파일을 지우거나 관리자에게 공간을 늘려 달라고 하세요. "
        "보관된 것은 없습니다.",
    }


class BadSnapshot(DureError):
    """The upload is not what its digest says, or not a zip that may be unpacked."""

    code, status = "bad_snapshot", 422
    message: ClassVar[Text] = {
        "en": "The upload {digest} cannot be used: {why_en}.",
        "ko": "업로드 {digest}을(를) 쓸 수 없습니다: {why_ko}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Send it again; the SDK makes and names it correctly. Nothing was kept.",
        "ko": "다시 보내세요. SDK를 쓰면 형식과 이름이 맞습니다. 보관된 것은 없습니다.",
    }

"""Why a job, execution or model server is as it is: a code and a detail in the row, a sentence for the reader.

A row keeps `code detail` in at most 255 characters; the sentence is made when it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from dure.errors import Text
from dure_hub.operations.reasons import STOPPED_BY

LIMIT = 255

SENTENCES: Mapping[str, Text] = {
    "waiting": {"en": "Waits until {detail} is free.", "ko": "{detail} 자리가 날 때까지 기다립니다."},
    "preparing": {"en": "Code and data are being laid out.", "ko": "코드와 데이터를 준비하고 있습니다."},
    "part_away": {
        "en": "{detail} does not answer right now; it goes on by itself.",
        "ko": "{detail}이(가) 지금 응답하지 않습니다. 응답하면 자동으로 계속됩니다.",
    },
    "exit": {"en": "Ended with exit code {detail}", "ko": "종료 코드 {detail}"},
    "signal": {"en": "Ended by {detail}", "ko": "신호로 종료됨: {detail}"},
    "lost": {
        "en": "Its process is gone without a trace (a reboot, or ended from outside). It is not run again.",
        "ko": "프로세스가 흔적 없이 사라졌습니다(재부팅 또는 외부 종료). 다시 실행하지 않습니다.",
    },
    "reclaimed": {
        "en": "Its GPU went back to a team inside its quota. It waits, and goes on from its last checkpoint.",
        "ko": "할당량 안의 팀이 GPU를 되찾았습니다. 대기한 뒤 마지막 체크포인트에서 이어집니다.",
    },
    "device_fault": {
        "en": "Its GPU has a fault. It waits for another, and goes on from its last checkpoint where it has one.",
        "ko": "GPU에 결함이 생겼습니다. 다른 GPU를 기다려 체크포인트가 있으면 거기서 이어집니다.",
    },
    "device_fault_end": {
        "en": "Its GPU has a fault, and it is not run again by itself.",
        "ko": "GPU에 결함이 생겼고 자동으로 다시 실행하지 않습니다.",
    },
    "device_drained": {
        "en": "Its GPU was cleared for maintenance. It waits for another.",
        "ko": "점검을 위해 GPU를 비웠습니다. 다른 GPU를 기다립니다.",
    },
    "device_drained_end": {
        "en": "Its GPU was cleared for maintenance, and it is not run again by itself.",
        "ko": "점검을 위해 GPU를 비웠고 자동으로 다시 실행하지 않습니다.",
    },
    "moved": {
        "en": "Its GPU is out of use; it is started again on another.",
        "ko": "GPU를 쓸 수 없게 되어 다른 GPU에서 다시 시작합니다.",
    },
    "no_checkpoint": {
        "en": "It ran for a day while others waited, and wrote no checkpoint to go on from.",
        "ko": "기다리는 사람이 있는데 하루 동안 실행했고, 이어서 할 체크포인트를 남기지 않았습니다.",
    },
    "parent_ended": {
        "en": "It ran on the slice of your own server, which has ended.",
        "ko": "내 서버의 자리에서 실행했는데 그 서버가 끝났습니다.",
    },
    "ran_long": {
        "en": "It ran for a day, and others wait. It waits in its turn, and goes on from its last checkpoint.",
        "ko": "하루 동안 실행했고 기다리는 사람이 있습니다. 차례를 기다려 마지막 체크포인트에서 이어집니다.",
    },
    "expired": {"en": "Its time was over.", "ko": "허용된 시간이 끝났습니다."},
    "limit": {
        "en": "It ran longer than its limit of {detail} s, and was ended.",
        "ko": "제한 시간 {detail}초를 넘어 종료했습니다.",
    },
    "cell": {"en": "Stopped at cell {detail}", "ko": "셀에서 멈추었습니다: {detail}"},
    "overlap": {
        "en": "Left out: execution {detail} of this schedule had not ended.",
        "ko": "건너뜀: 이 스케줄의 {detail}번 실행이 아직 끝나지 않았습니다.",
    },
    "overlaps": {
        "en": "Left out {1} times, at last at {2}: execution {0} of this schedule had not ended.",
        "ko": "{1}번 건너뜀(마지막 {2}): 이 스케줄의 {0}번 실행이 아직 끝나지 않았습니다.",
    },
    "owner_unknown": {
        "en": "Its owner is no longer known here. The schedule was paused.",
        "ko": "소유자가 더 이상 등록되어 있지 않아 스케줄을 일시 중지했습니다.",
    },
    "owner_disabled": {
        "en": "Its owner's account is disabled. The schedule was paused.",
        "ko": "소유자의 계정이 사용 중지되어 스케줄을 일시 중지했습니다.",
    },
    "owner_left_team": {
        "en": "Its owner is no longer in the team {detail}, which was to pay. The schedule was paused.",
        "ko": "소유자가 비용을 낼 팀 {detail}에 더 이상 속해 있지 않아 스케줄을 일시 중지했습니다.",
    },
    "owner_lost_profile": {
        "en": "Its owner is in none of the teams that the profile {detail} is for. The schedule was paused.",
        "ko": "소유자가 프로필 {detail}을(를) 쓸 수 있는 팀에 속해 있지 않아 스케줄을 일시 중지했습니다.",
    },
    "deleted": {"en": "Its schedule was deleted.", "ko": "스케줄이 삭제되었습니다."},
    "asked": {"en": "Stopped on request.", "ko": "요청에 따라 중지했습니다."},
    "portal_down": {
        "en": "The portal was shut down while it ran.",
        "ko": "실행 중에 포털이 종료되었습니다.",
    },
    "gave_up": {"en": "Waited too long for a place.", "ko": "자리를 너무 오래 기다렸습니다."},
    "start_failed": {"en": "Could not start: {detail}", "ko": "시작하지 못했습니다: {detail}"},
    "ended": {"en": "Its place was taken back ({detail}).", "ko": "자리가 회수되었습니다({detail})."},
    "fetching": {"en": "The model is being copied.", "ko": "모델을 가져오고 있습니다."},
    "loading": {"en": "The model is being loaded.", "ko": "모델을 불러오고 있습니다."},
    "crashed": {
        "en": "It ended and is started again. {detail}",
        "ko": "종료되어 다시 시작합니다. {detail}",
    },
    **STOPPED_BY,
    "crashes": {
        "en": "It ended at every start and is not tried again. {detail}",
        "ko": "시작할 때마다 종료되어 더 시도하지 않습니다. {detail}",
    },
}


def note(code: str, detail: object = "") -> str:
    """The form kept in a row."""
    text = f"{code} {' '.join(str(detail).split())}".strip()
    return text if len(text) <= LIMIT else text[: LIMIT - 1] + "…"


def sentence(stored: str | None, language: str = "en") -> str | None:
    """What a reader sees; None where there is nothing to say."""
    if not stored:
        return None
    code, _, detail = stored.partition(" ")
    texts = SENTENCES.get(code)
    if texts is None:
        return stored
    text = texts.get(language, texts["en"])
    if "{0}" in text:
        return text.format(*detail.split("; "))
    return text.replace("{detail}", detail).strip()


def both(stored: str | None) -> dict[str, str] | None:
    """The sentence in every language, for whoever renders it."""
    if not stored:
        return None
    return {language: sentence(stored, language) or "" for language in ("en", "ko")}

"""Why a lease or a server ended, as codes in rows and sentences at the edge."""

from __future__ import annotations

from collections.abc import Mapping

from dure.errors import LANGUAGES, Text, fill
from dure_hub.backends.base import REASONS as BACKEND
from dure_hub.operations.people import Person

REASONS: Mapping[str, Text] = {
    "asked": {"en": "It was stopped as asked.", "ko": "요청에 따라 종료했습니다."},
    "stopped": {"en": "It was stopped.", "ko": "종료되었습니다."},
    "stopped_on_hub": {
        "en": "It was stopped on the hub's own page, or by its API.",
        "ko": "허브 자체 화면이나 API에서 종료했습니다.",
    },
    "cancelled": {"en": "The request was cancelled while it waited.", "ko": "대기 중에 요청을 취소했습니다."},
    "expired": {"en": "Its time was over.", "ko": "사용 시간이 끝났습니다."},
    "waited_too_long": {
        "en": "There was no room for it within the time a request may wait.",
        "ko": "대기할 수 있는 시간 안에 자리가 나지 않았습니다.",
    },
    "turn_passed": {
        "en": "Its turn came, and nobody started it in time, so its place went to the next.",
        "ko": "차례가 되었지만 제시간에 시작하지 않아 자리를 다음 사람에게 넘겼습니다.",
    },
    "unclaimed": {
        "en": "It did not start in time, so its place was given to the next.",
        "ko": "제시간에 시작되지 않아 자리를 다음 사람에게 넘겼습니다.",
    },
    "exited": {"en": "Its process ended by itself.", "ko": "프로세스가 스스로 종료되었습니다."},
    "lost": {
        "en": "Its process is gone, and nobody stopped it: perhaps the machine was restarted.",
        "ko": "프로세스가 사라졌습니다. 아무도 종료하지 않았으니 머신이 재시작되었을 수 있습니다.",
    },
    "replaced": {
        "en": "The hub had lost it and was asked for a new one.",
        "ko": "허브가 이 서버를 잃어버린 상태에서 새 서버가 요청되었습니다.",
    },
    "not_admitted": {
        "en": "The cluster did not let it in.",
        "ko": "클러스터가 받아들이지 않았습니다.",
    },
    "never_logged_in": {
        "en": "The hub does not know its owner yet, who must log in once in a browser.",
        "ko": "허브가 아직 이 사용자를 모릅니다. 브라우저에서 한 번 로그인해야 합니다.",
    },
    "device_fault": {"en": "Its GPU has a fault.", "ko": "GPU에 결함이 생겼습니다."},
    "device_drained": {
        "en": "Its GPU was cleared for maintenance.",
        "ko": "점검을 위해 GPU를 비웠습니다.",
    },
    "reclaimed": {
        "en": "Its GPU went back to a team inside its quota.",
        "ko": "할당량 안의 팀이 GPU를 되찾았습니다.",
    },
    "ran_long": {"en": "It ran for a day, and others wait.", "ko": "하루 동안 실행했고 기다리는 사람이 있습니다."},
    "parent_ended": {"en": "The server whose GPU it used has ended.", "ko": "GPU를 함께 쓰던 서버가 끝났습니다."},
    "idle": {"en": "Nobody used it for too long.", "ko": "오랫동안 사용하지 않아 종료했습니다."},
    "login_ended": {
        "en": "The login provider does not confirm its owner any more.",
        "ko": "로그인 제공자가 소유자를 더 이상 확인해 주지 않습니다.",
    },
    "left_team": {
        "en": "Its owner is no longer in the team that pays for it.",
        "ko": "소유자가 비용을 내는 팀에 더 이상 속해 있지 않습니다.",
    },
    "start_failed": {"en": "It could not be started.", "ko": "시작하지 못했습니다."},
}
_IDLE: Text = {"en": "Nobody used it for {span}.", "ko": "{span} 동안 사용하지 않아 종료했습니다."}
STOPPED_BY: Mapping[str, Text] = {
    "stopped_by": {"en": "An administrator stopped it ({detail}).", "ko": "관리자가 종료했습니다({detail})."},
    "stopped_by_lead": {
        "en": "A lead of its team stopped it ({detail}).",
        "ko": "팀 리드가 종료했습니다({detail}).",
    },
}
_TO_BE_STOPPED: Mapping[str, Text] = {
    "stopped_by": {
        "en": "An administrator ends this server ({detail}).",
        "ko": "관리자가 이 서버를 종료합니다({detail}).",
    },
    "stopped_by_lead": {
        "en": "A lead of its team ends this server ({detail}).",
        "ko": "팀 리드가 이 서버를 종료합니다({detail}).",
    },
}
_ENDED_EARLY: Text = {
    "en": "Its process ended with code {code} before it answered.",
    "ko": "서버가 응답하기 전에 코드 {code}(으)로 종료되었습니다.",
}
_SILENT: Text = {
    "en": "It did not answer within {span}, and was stopped.",
    "ko": "{span} 안에 응답하지 않아 종료했습니다.",
}
_BY_CLUSTER: Text = {
    "en": "The cluster ended it, or did not take it after all. It says: {detail}",
    "ko": "클러스터가 종료했거나 결국 받아들이지 않았습니다. 클러스터의 설명: {detail}",
}
_NAME_LENGTH = 36  # with the longest text that fits what a row keeps
_UNITS = ((86400, "day", "일"), (3600, "hour", "시간"), (60, "minute", "분"), (1, "second", "초"))
_ALL: Mapping[str, Text] = {**{str(code): text for code, text in BACKEND.items()}, **REASONS}


def idle_for(seconds: int) -> str:
    """The reason of a server that nobody used for so long."""
    return f"idle {seconds}"


def ended_early(exit_code: int | None) -> str:
    """The reason of a start whose process ended before it answered."""
    return f"ended_early {'?' if exit_code is None else exit_code}"


def silent_for(seconds: int) -> str:
    """The reason of a start that did not answer in that time."""
    return f"silent {seconds}"


def by_cluster(said: str) -> str:
    """The reason of what the place ended for a reason of its own, in its words."""
    return f"by_cluster {' '.join(said.split())}"


def stopped_by(who: str, why: str | None, *, lead: bool = False) -> str:
    """The reason of what an administrator (or a `lead` of its team) ended, for its owner to read."""
    code = "stopped_by_lead" if lead else "stopped_by"
    return f"{code} {who[:_NAME_LENGTH]}" + (f": {why}" if why else "")


def ended_by(person: Person, owner: str, why: str | None) -> str | None:
    """The same of somebody's thing that this person ends; None where it is their own."""
    return None if person.name == owner else stopped_by(person.name, why, lead=not person.admin)


def to_be_stopped(reason: str | None) -> dict[str, str]:
    """The same, in every language, while the server still runs."""
    code, _, detail = (reason or "").partition(" ")
    text = _TO_BE_STOPPED.get(code, _TO_BE_STOPPED["stopped_by"])
    return {language: fill(text, language, {"detail": detail}) for language in LANGUAGES}


def sentence(reason: str | None, language: str = "en") -> str | None:
    """The sentence for a code, ours or a backend's; what is no code is a sentence already (the hub's own)."""
    if reason is None:
        return None
    code, _, detail = reason.partition(" ")
    if code == "idle" and detail.isdecimal():
        return fill(_IDLE, language, {"span": span(int(detail), language)})
    if code == "ended_early" and detail:
        return fill(_ENDED_EARLY, language, {"code": detail})
    if code == "silent" and detail.isdecimal():
        return fill(_SILENT, language, {"span": span(int(detail), language)})
    if code == "by_cluster" and detail:
        return fill(_BY_CLUSTER, language, {"detail": detail})
    if code in STOPPED_BY and detail:
        return fill(STOPPED_BY[code], language, {"detail": detail})
    text = _ALL.get(reason)
    return reason if text is None else text.get(language, text["en"])


def both(reason: str | None) -> dict[str, str] | None:
    """The sentence in every language, for whoever renders it."""
    return None if reason is None else {language: sentence(reason, language) or "" for language in LANGUAGES}


def span(seconds: int, language: str) -> str:
    """A time span in the largest unit that counts it whole."""
    size, english, korean = next(unit for unit in _UNITS if seconds % unit[0] == 0)
    number = seconds // size
    if language == "ko":
        return f"{number}{korean}"
    return f"{number} {english}" + ("" if number == 1 else "s")

"""Every error a person can see: a code, typed facts, and sentences in English and Korean.

Only `DureError` and its children reach a user. The error's class fixes code and HTTP status; its facts
fill the sentences. The same sentences serve page, widget, API, command and log. A fact that differs by language
is itself a mapping with `en` and `ko`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

Text = Mapping[str, str]
LANGUAGES = ("en", "ko")
_KINDS: dict[str, type[DureError]] = {}
_KOREAN_KINDS: Text = {
    "allocation": "할당",
    "endpoint": "엔드포인트",
    "environment": "환경",
    "execution": "실행",
    "file": "파일",
    "id": "ID",
    "job": "작업",
    "key": "키",
    "model": "모델",
    "notebook": "노트북",
    "path": "경로",
    "project": "프로젝트",
    "schedule": "스케줄",
    "snapshot": "스냅샷",
    "team": "팀",
    "token": "토큰",
    "user": "사용자",
}
"""What a fact named `kind` is called in a Korean sentence."""
_KOREAN_PHASES: Text = {
    "waiting": "대기 중",
    "held": "차례가 됨",
    "starting": "시작 중",
    "running": "실행 중",
    "stopping": "종료 중",
    "stopped": "종료됨",
    "failed": "실패",
}
"""The same for a fact named `phase`."""
_KOREAN: Mapping[str, Text] = {"kind": _KOREAN_KINDS, "phase": _KOREAN_PHASES}


class DureError(Exception):
    """Something a user can read: what happened, which rule, what to do next."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400
    message: ClassVar[Text] = {"en": "Something went wrong.", "ko": "문제가 생겼습니다."}
    next_step: ClassVar[Text] = {"en": "Try again.", "ko": "다시 시도하세요."}

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        language = reader_language()
        super().__init__(f"{self.text(language)} {self.advice(language)}".strip())

    def __init_subclass__(cls) -> None:
        _KINDS[cls.code] = cls

    def __reduce__(self) -> tuple[Any, ...]:
        # Made of facts alone, so it comes whole out of a pool of processes.
        return _made_again, (type(self), self.facts)

    def text(self, language: str = "en") -> str:
        """What happened, with the values, in the reader's language."""
        return fill(self.message, language, self.facts)

    def advice(self, language: str = "en") -> str:
        """What the reader can do next."""
        return fill(self.next_step, language, self.facts)

    def to_wire(self, language: str = "en") -> dict[str, Any]:
        """The one error shape of the API."""
        return {
            "error": {
                "code": self.code,
                "message": self.text(language),
                "next_step": self.advice(language),
                "facts": {name: _plain(value) for name, value in self.facts.items()},
            }
        }


def reader_language() -> str:
    """The language of whoever sits at this process: DURE_LANGUAGE, else the locale's; English where unknown."""
    for name in ("DURE_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return "ko" if value.lower().startswith("ko") else "en"
    return "en"


class RemoteError(DureError):
    """An error of a portal newer than this client: its own sentences, unchanged."""

    code = "remote"
    message: ClassVar[Text] = {"en": "{message}"}
    next_step: ClassVar[Text] = {"en": "{next_step}"}


def fill(text: Text, language: str, facts: Mapping[str, Any]) -> str:
    """Put facts into the sentence of `language`, else the English one; a missing fact shows as `unknown`."""
    return text.get(language, text["en"]).format_map(_Facts(language, facts))


def as_text(value: Any, language: str) -> Any:
    """A value as it stands in a sentence of this language."""
    if isinstance(value, Mapping) and set(value) >= set(LANGUAGES):
        return value[language if language in value else "en"]
    return value


def from_wire(body: Mapping[str, Any], status: int) -> DureError:
    """The exception for an error body; unknown codes keep the server's own sentences."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return BadAnswer(status=status)
    kind = _KINDS.get(str(error.get("code")))
    facts = error.get("facts")
    if kind is not None and isinstance(facts, Mapping):
        return kind(**facts)
    return RemoteError(
        message=error.get("message", ""), next_step=error.get("next_step", ""), code=error.get("code")
    )


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    return str(value)


def _made_again(kind: type[DureError], facts: Mapping[str, Any]) -> DureError:
    return kind(**facts)


class _Facts(dict[str, Any]):
    def __init__(self, language: str, facts: Mapping[str, Any]) -> None:
        super().__init__(facts)
        self.language = language

    def __getitem__(self, key: str) -> Any:
        value = as_text(super().__getitem__(key), self.language)
        return _KOREAN[key].get(str(value), value) if key in _KOREAN and self.language == "ko" else value

    def __missing__(self, key: str) -> str:
        return "unknown"


class BadAnswer(DureError):
    """Something that is not the portal answered."""

    code, status = "bad_answer", 502
    message: ClassVar[Text] = {
        "en": "The address answered with HTTP {status}, but not as a Dure portal does.",
        "ko": "해당 주소가 HTTP {status}로 응답했지만 Dure 포털의 응답이 아닙니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Check DURE_URL; `dure status` on the portal's machine prints its address.",
        "ko": "DURE_URL을 확인하세요. 포털 머신에서 `dure status`가 주소를 보여 줍니다.",
    }


class PortalUnreachable(DureError):
    """No answer at all."""

    code, status = "portal_unreachable", 503
    message: ClassVar[Text] = {
        "en": "The portal at {url} does not answer.",
        "ko": "{url}의 포털이 응답하지 않습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Wait a moment and try again; `dure status` on its machine says what is missing.",
        "ko": "잠시 후 다시 시도하세요. 포털 머신의 `dure status`가 원인을 알려 줍니다.",
    }


class NotLoggedIn(DureError):
    """No token, or one that has ended."""

    code, status = "not_logged_in", 401
    message: ClassVar[Text] = {
        "en": "This needs a login, and none was given or it has ended.",
        "ko": "로그인이 필요합니다. 로그인 정보가 없거나 만료되었습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Log in again, or set DURE_TOKEN to a token of yours.",
        "ko": "다시 로그인하거나 DURE_TOKEN에 내 토큰을 설정하세요.",
    }


class NotAllowed(DureError):
    """Known, but not permitted."""

    code, status = "not_allowed", 403
    message: ClassVar[Text] = {
        "en": "{user} may not do this: it needs {scope}.",
        "ko": "{user} 님에게는 권한이 없습니다. {scope} 권한이 필요합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Ask an administrator of this portal.",
        "ko": "포털 관리자에게 문의하세요.",
    }


class BadRequest(DureError):
    """A value breaks a rule; `field`, `value` and `rule` name them."""

    code, status = "bad_request", 422
    message: ClassVar[Text] = {
        "en": "{field} = {value} is not accepted: {rule}.",
        "ko": "{field} = {value} 값은 사용할 수 없습니다: {rule}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Change {field} and send it again. Nothing was changed.",
        "ko": "{field} 값을 고쳐 다시 보내세요. 변경된 것은 없습니다.",
    }


class NotFound(DureError):
    """`kind` and `name` name what is missing."""

    code, status = "not_found", 404
    message: ClassVar[Text] = {
        "en": "There is no {kind} named {name}.",
        "ko": "이름이 {name}인 {kind}이(가) 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "List what there is, and check the spelling.",
        "ko": "목록을 확인하고 이름을 다시 살펴보세요.",
    }


class Conflict(DureError):
    """A name is taken, or the thing is not in a state for it; `rule` says which."""

    code, status = "conflict", 409
    message: ClassVar[Text] = {
        "en": "The {kind} {name} is in the way: {rule}.",
        "ko": "{kind} {name} 때문에 진행할 수 없습니다: {rule}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Choose another name; where one is made up for you, as for a job, leave `name` out.",
        "ko": "다른 이름을 쓰세요. 작업처럼 이름이 자동으로 만들어지는 것은 `name`을 생략해도 됩니다.",
    }


class Unsupported(DureError):
    """A backend's declared gap, with the backend's own sentence."""

    code, status = "unsupported", 501
    message: ClassVar[Text] = {"en": "{feature}: {why}", "ko": "{feature}: {why}"}
    next_step: ClassVar[Text] = {
        "en": "`dure doctor` lists what this machine can do.",
        "ko": "`dure doctor`가 이 머신에서 가능한 것을 보여 줍니다.",
    }


class NotRunning(DureError):
    """A server that does not run, or is ending, has no end to move."""

    code, status = "not_running", 409
    message: ClassVar[Text] = {
        "en": "The server {name} is {phase}; only one that starts or runs can be extended.",
        "ko": "서버 {name}의 상태: {phase}. 시작 중이거나 실행 중인 서버만 연장할 수 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Ask for a new one once it has stopped. Nothing was changed.",
        "ko": "종료된 뒤에 새로 요청하세요. 변경된 것은 없습니다.",
    }


class NotReady(DureError):
    """A part of the portal is starting or being restarted."""

    code, status = "not_ready", 503
    message: ClassVar[Text] = {
        "en": "{part} does not answer right now.",
        "ko": "{part}이(가) 지금 응답하지 않습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "It restarts by itself; try again in a few seconds.",
        "ko": "자동으로 다시 시작됩니다. 몇 초 후 다시 시도하세요.",
    }


class ServerFault(DureError):
    """A bug of ours: the text stays in the log, under `reference`."""

    code, status = "server_fault", 500
    message: ClassVar[Text] = {
        "en": "The portal made a mistake (reference {reference}).",
        "ko": "포털에 오류가 있었습니다(참조 {reference}).",
    }
    next_step: ClassVar[Text] = {
        "en": "Nothing of yours was lost. Tell an administrator the reference; it is in the portal's log.",
        "ko": "손실된 데이터는 없습니다. 관리자에게 참조 번호를 알려 주세요. 포털 로그에 있습니다.",
    }

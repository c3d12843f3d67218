"""Everybody's servers: who, what, since and until when, how long unused; extend, or stop with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from dure.errors import Text
from dure_widgets.administration import Administration
from dure_widgets.controllers.environments_view import EnvironmentsController
from dure_widgets.panel import Panel, assemble


class EnvironmentsView(Panel):
    """Everybody's servers and what happened last, for administrators; it looks again by itself.

    Asks `extend` (owner, name, hours) and `stop` (owner, name, reason; with `now` at once, else its owner is told
    first). `portal` is whom to ask instead of the environment's portal; with `bind=False` the view asks nobody and
    shows the `environments` and `events` of its `state` (as JSON of their wire types, None while unknown) and
    `notes`: what came of an action, by "owner/name".
    """

    _esm = assemble("common.js", "environments_view.js")
    _css = assemble("common.css", "environments_view.css")

    def __init__(
        self, *, portal: Administration | None = None, bind: bool = True, language: str | None = None
    ) -> None:
        super().__init__(language=language, state={"environments": None, "events": None, "notes": {}})
        if bind:
            EnvironmentsController(self, portal or Administration())

    TEXTS: ClassVar[Mapping[str, Text]] = {
        "title": {"en": "Everybody's servers", "ko": "모두의 서버"},
        "waiting_for": {"en": "Looking…", "ko": "확인하는 중…"},
        "empty": {"en": "No server matches.", "ko": "해당하는 서버가 없습니다."},
        "person": {"en": "Person", "ko": "사용자"},
        "everybody": {"en": "everybody", "ko": "모두"},
        "ended_too": {"en": "Ended ones too", "ko": "종료된 서버도 보기"},
        "who": {"en": "Who", "ko": "사용자"},
        "server": {"en": "Server", "ko": "서버"},
        "profile": {"en": "Profile", "ko": "프로필"},
        "state": {"en": "State", "ko": "상태"},
        "since": {"en": "Since", "ko": "시작"},
        "until": {"en": "Until", "ko": "종료 예정"},
        "idle": {"en": "Last used", "ko": "마지막 사용"},
        "actions": {"en": "Actions", "ko": "작업"},
        "left": {"en": "{time} left", "ko": "{time} 남음"},
        "over": {"en": "time is over", "ko": "시간 종료"},
        "ago": {"en": "{time} ago", "ko": "{time} 전"},
        "in_use": {"en": "in use", "ko": "사용 중"},
        "idle_end": {"en": "ends in {time} unless used", "ko": "사용하지 않으면 {time} 뒤 종료"},
        "checks.in_use": {"en": "In use: {in_use}.", "ko": "사용 중: {in_use}."},
        "checks.unknown": {"en": "Unknown: {unknown}.", "ko": "알 수 없음: {unknown}."},
        "check.gpu": {"en": "GPU", "ko": "GPU"},
        "check.kernels": {"en": "kernels", "ko": "커널"},
        "check.terminals": {"en": "terminals", "ko": "터미널"},
        "check.pages": {"en": "pages", "ko": "페이지"},
        "check.jobs": {"en": "jobs", "ko": "작업"},
        "check.requests": {"en": "requests", "ko": "요청"},
        "extend": {"en": "+{hours} h", "ko": "+{hours}시간"},
        "extend_name": {
            "en": "Extend {owner}'s {name} by {hours} hours",
            "ko": "{owner} 님의 {name}을(를) {hours}시간 연장",
        },
        "at_limit": {"en": "It cannot be extended further.", "ko": "더 연장할 수 없습니다."},
        "stop": {"en": "Stop…", "ko": "중지…"},
        "stop_name": {"en": "Stop {owner}'s {name}", "ko": "{owner} 님의 {name} 중지"},
        "reason": {"en": "Why? {owner} will read this.", "ko": "이유({owner} 님이 읽게 됩니다)"},
        "reason_missing": {
            "en": "Say why: its owner reads it.",
            "ko": "이유를 적어 주세요. 주인이 읽습니다.",
        },
        "stop_soon": {"en": "Tell them, then stop", "ko": "알린 뒤 중지"},
        "stop_now": {"en": "Stop now", "ko": "지금 중지"},
        "keep": {"en": "Keep it", "ko": "그대로 두기"},
        "extended": {"en": "Its end is now {time}.", "ko": "종료 시각을 {time}(으)로 옮겼습니다."},
        "told_to_stop": {
            "en": "Its owner is told; it ends when its time below “Until” is over. Extending it calls that off.",
            "ko": "주인에게 알렸습니다. ‘종료 예정’ 시각에 종료되며, 연장하면 취소됩니다.",
        },
        "asked_to_stop": {"en": "It is being stopped.", "ko": "중지하고 있습니다."},
        "events": {"en": "What happened last", "ko": "최근 기록"},
        "no_events": {"en": "Nothing yet.", "ko": "아직 없습니다."},
        "when": {"en": "When", "ko": "시각"},
        "did": {"en": "What", "ko": "내용"},
        "thing": {"en": "To what", "ko": "대상"},
        "why": {"en": "Why", "ko": "이유"},
        "for": {"en": "{actor} for {owner}", "ko": "{actor} ({owner} 대신)"},
        "waiting": {"en": "waiting", "ko": "대기 중"},
        "held": {"en": "its turn", "ko": "차례가 됨"},
        "starting": {"en": "starting", "ko": "시작 중"},
        "running": {"en": "running", "ko": "실행 중"},
        "stopping": {"en": "stopping", "ko": "중지 중"},
        "stopped": {"en": "stopped", "ko": "중지됨"},
        "failed": {"en": "failed", "ko": "실패"},
        "environment.request": {"en": "asked for a server", "ko": "서버 요청"},
        "environment.hold": {"en": "place held", "ko": "자리 보류"},
        "environment.take": {"en": "took its turn", "ko": "차례에 시작"},
        "environment.pass": {"en": "turn passed on", "ko": "차례 넘김"},
        "environment.put_back": {"en": "put back in line", "ko": "대기열로 되돌림"},
        "environment.ready": {"en": "server ready", "ko": "서버 준비됨"},
        "environment.extend": {"en": "moved its end", "ko": "종료 시각 변경"},
        "environment.stop": {"en": "stopped it", "ko": "서버 중지"},
        "environment.stop_set": {"en": "set its end", "ko": "종료 예고"},
        "environment.end": {"en": "server ended", "ko": "서버 종료됨"},
        "environment.receipt": {"en": "saved before its end", "ko": "종료 전 저장"},
        "environment.fail": {"en": "server failed", "ko": "서버 시작 실패"},
    }

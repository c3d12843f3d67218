"""Champion and canary of an endpoint side by side, and the steps of a rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dure.endpoints import as_rows
from dure.errors import BadRequest, Text
from dure_widgets.controllers.canary_panel import CanaryController, Serving
from dure_widgets.controllers.payer import TEXTS as PAYER_TEXTS
from dure_widgets.controllers.payer import given
from dure_widgets.panel import TICK, Panel, assemble
from dure_widgets.portal import Portal


class CanaryPanel(Panel):
    """The endpoint `name`, which serves versions of `model` (of the same name where none is given).

    Where the endpoint is there already, what counts is the model that it serves. `profile` is what each of its
    servers holds. With `sample`, rows that the model takes (as `Endpoint.predict` does), a button sends requests
    with them from this kernel, one row each, so that the counts move; `BadRequest` where it has no row. `team` and
    `project`, chosen at first, pay for what is deployed; a team is asked for where you are in several. With
    `bind=False` the widget asks nobody; `portal` is whom to ask instead of the environment's.
    """

    UNSHOWN: ClassVar[frozenset[str]] = frozenset({TICK, "send"})
    _esm = assemble("common.js", "payer.js", "canary_panel.js")
    _css = assemble("common.css", "serving.css")

    def __init__(
        self,
        name: str,
        *,
        model: str | None = None,
        profile: str = "cpu",
        sample: Any = None,
        team: str | None = None,
        project: str | None = None,
        portal: Portal | None = None,
        bind: bool = True,
        language: str | None = None,
    ) -> None:
        rows = None if sample is None else _rows(sample)
        state = {
            "name": name,
            "wanted": model or name,
            "model": model or name,
            "known": False,
            "endpoint": None,
            "versions": [],
            "chosen": {"payer": given(team, project)},
            "payer": None,
            "wrong": {},
            "sendable": rows is not None,
            "sent": None,
        }
        super().__init__(language=language, state=state)
        if bind:
            CanaryController(self, portal or Portal(), Serving(name, model or name, profile, rows))

    TEXTS: ClassVar[Mapping[str, Text]] = {
        **PAYER_TEXTS,
        "title": {"en": "Endpoint {name}", "ko": "엔드포인트 {name}"},
        "not_known": {"en": "Its state is not known yet.", "ko": "상태를 아직 받지 못했습니다."},
        "empty": {"en": "Nothing is served under this name yet.", "ko": "이 이름으로 서비스 중인 것이 없습니다."},
        "no_versions": {
            "en": "The model {model} has no version yet: register one first.",
            "ko": "모델 {model}에 아직 버전이 없습니다. 먼저 등록하세요.",
        },
        "champion": {"en": "Champion", "ko": "챔피언"},
        "canary": {"en": "Canary", "ko": "카나리"},
        "no_canary": {"en": "No canary.", "ko": "카나리가 없습니다."},
        "version_n": {"en": "Version {version}", "ko": "버전 {version}"},
        "version": {"en": "Version", "ko": "버전"},
        "weight": {"en": "Share", "ko": "비중"},
        "requests": {"en": "Requests", "ko": "요청"},
        "errors": {"en": "Errors", "ko": "오류"},
        "error_share": {"en": "{count} ({share})", "ko": "{count} ({share})"},
        "p50": {"en": "Latency p50", "ko": "지연 p50"},
        "p95": {"en": "Latency p95", "ko": "지연 p95"},
        "ms": {"en": "{value} ms", "ko": "{value} ms"},
        "serves": {
            "en": "Serves the model {model} of {owner}.",
            "ko": "{owner} 님의 모델 {model}을(를) 서비스합니다.",
        },
        "other_model": {
            "en": "This endpoint serves the model {model} of {owner}, not {wanted}; its versions are listed.",
            "ko": "이 엔드포인트는 {wanted}이(가) 아니라 {owner} 님의 모델 {model}을(를) 서비스합니다. "
            "아래 버전은 {model}의 버전입니다.",
        },
        "not_mine": {
            "en": "Only {owner} and administrators change it.",
            "ko": "{owner} 님과 관리자만 변경할 수 있습니다.",
        },
        "champion_first": {
            "en": "A canary can start when the champion is ready.",
            "ko": "챔피언이 준비되면 카나리를 시작할 수 있습니다.",
        },
        "end": {"en": "End this endpoint", "ko": "엔드포인트 종료"},
        "end_sure": {"en": "End it? Click again", "ko": "종료할까요? 다시 클릭"},
        "deploy": {"en": "Deploy", "ko": "배포"},
        "start": {"en": "Start canary", "ko": "카나리 시작"},
        "change": {"en": "Change share", "ko": "비중 변경"},
        "percent": {"en": "Share of the requests (%)", "ko": "요청 비중(%)"},
        "no_other": {
            "en": "Register another version of {model} to try it here.",
            "ko": "{model}의 다른 버전을 등록하면 여기서 시험할 수 있습니다.",
        },
        "promote": {"en": "Promote", "ko": "승격"},
        "rollback": {"en": "Roll back", "ko": "롤백"},
        "rollback_sure": {"en": "End the canary? Click again", "ko": "카나리를 끝낼까요? 다시 클릭"},
        "send": {"en": "Send {count} requests", "ko": "요청 {count}개 보내기"},
        "sending": {"en": "Sending… {left} left", "ko": "보내는 중… {left}개 남음"},
        "answered_by": {"en": "Answered by {who}", "ko": "응답: {who}"},
        "by_version": {"en": "version {version}: {count}", "ko": "버전 {version}: {count}"},
        "not_answered": {"en": "not answered: {count}", "ko": "응답 없음: {count}"},
        "announce": {"en": "{name}: {state}", "ko": "{name}: {state}"},
        "queued": {"en": "queued", "ko": "대기 중"},
        "starting": {"en": "starting", "ko": "시작 중"},
        "waiting": {"en": "waiting", "ko": "대기 중"},
        "ready": {"en": "ready", "ko": "준비됨"},
        "degraded": {"en": "degraded", "ko": "일부만 응답"},
        "failed": {"en": "failed", "ko": "실패"},
        "stopping": {"en": "stopping", "ko": "종료 중"},
        "stopped": {"en": "stopped", "ko": "종료됨"},
    }


def _rows(sample: Any) -> Sequence[Any]:
    rows = as_rows(sample)
    if not isinstance(rows, list) or not rows:
        raise BadRequest(field="sample", value=repr(sample)[:80], rule=SAMPLE_RULE)
    return rows


SAMPLE_RULE: Text = {
    "en": "it is a list, an array or a frame with at least one row",
    "ko": "행이 하나 이상 있는 리스트, 배열 또는 데이터프레임이어야 합니다",
}

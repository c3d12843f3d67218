"""Errors that only the service raises, and the one place where errors become answers."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dure.errors import BadRequest, DureError, NotLoggedIn, ServerFault, Text
from dure.wire.ids import new_id
from dure_hub.services.languages import language_of
from dure_hub.services.pages.rendering import page
from dure_hub.services.places import BASE, login_url, root_of, wants_html
from dure_hub.services.refusals import tell_refusal

log = logging.getLogger("dure.services")
_SHOWN = 80


class NoSuchPage(DureError):
    """A path that nothing answers."""

    code, status = "no_such_page", 404
    message: ClassVar[Text] = {"en": "There is nothing at {path}.", "ko": "{path}에는 아무것도 없습니다."}
    next_step: ClassVar[Text] = {
        "en": "Start again from the portal's home page; its page “API” lists the API.",
        "ko": "포털의 홈에서 다시 시작하세요. API 목록은 “API” 페이지에 있습니다.",
    }


class MethodNotAllowed(DureError):
    """A path that exists, asked with a verb it does not have."""

    code, status = "method_not_allowed", 405
    message: ClassVar[Text] = {
        "en": "{path} does not take {method}.",
        "ko": "{path}은(는) {method} 요청을 받지 않습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "The Allow header of this answer names what it takes.",
        "ko": "이 응답의 Allow 헤더에 가능한 방식이 있습니다.",
    }


class TooLarge(DureError):
    """A body over the limit of its path."""

    code, status = "too_large", 413
    message: ClassVar[Text] = {
        "en": "The request is larger than {path} takes.",
        "ko": "요청이 {path}에서 받을 수 있는 크기보다 큽니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Send less at once; code and data go to PUT /snapshots.",
        "ko": "한 번에 보내는 양을 줄이세요. 코드와 데이터는 PUT /snapshots로 보냅니다.",
    }


class BadMessage(DureError):
    """Something that is not a readable HTTP request of its kind."""

    code, status = "bad_message", 400
    message: ClassVar[Text] = {
        "en": "The request could not be read: {rule}.",
        "ko": "요청을 읽을 수 없습니다: {rule}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Send JSON with `Content-Type: application/json`; the portal's page “API” shows the fields.",
        "ko": "`Content-Type: application/json`으로 JSON을 보내세요. 항목은 포털의 “API” 페이지에 있습니다.",
    }


class WriteUnproven(DureError):
    """A write by cookie that does not show it comes from our own page."""

    code, status = "write_unproven", 403
    message: ClassVar[Text] = {
        "en": "This change came with your login cookie, but not from a page of this portal.",
        "ko": "로그인 쿠키가 있지만 이 포털의 페이지에서 온 요청이 아닙니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Reload the page and try again; programs send a token instead of a cookie.",
        "ko": "페이지를 새로 고치고 다시 시도하세요. 프로그램은 쿠키 대신 토큰을 보내야 합니다.",
    }


class NotANavigation(DureError):
    """A page asked for by a script or a frame."""

    code, status = "not_a_navigation", 403
    message: ClassVar[Text] = {
        "en": "This page opens only in a window of its own.",
        "ko": "이 페이지는 자체 창에서만 열립니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Open it from the address bar or a link; programs use /api/v1.",
        "ko": "주소창이나 링크로 여세요. 프로그램은 /api/v1을 사용합니다.",
    }


class OpenedFromElsewhere(DureError):
    """A page that does something by being opened, opened by a link of another site."""

    code, status = "opened_from_elsewhere", 403
    message: ClassVar[Text] = {
        "en": "A page of another site led here, and opening {page} starts a program.",
        "ko": "다른 사이트에서 온 링크입니다. {page}을(를) 열면 프로그램이 시작됩니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Open it yourself by the link below if you meant to.",
        "ko": "직접 열려면 아래 링크를 누르세요.",
    }


class AdministratorsOnly(DureError):
    """A dashboard, asked for by somebody who is no administrator."""

    code, status = "administrators_only", 403
    message: ClassVar[Text] = {
        "en": "The dashboards are for administrators; you are logged in as {user}.",
        "ko": "대시보드는 관리자만 볼 수 있습니다. 지금은 {user}(으)로 로그인되어 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Your own servers and jobs are on the portal's first page; for more, ask an administrator.",
        "ko": "내 서버와 작업은 포털 첫 페이지에 있습니다. 더 필요하면 관리자에게 문의하세요.",
    }


class NotForJobs(DureError):
    """Something that would outlive the job whose token asks for it."""

    code, status = "not_for_jobs", 403
    message: ClassVar[Text] = {
        "en": "{path} is closed to code in a job: what it starts would outlive the job.",
        "ko": "작업 안의 코드는 {path}에 요청할 수 없습니다. 시작한 것이 작업보다 오래 남기 때문입니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Ask from a notebook, or with a token of your own in DURE_TOKEN. In a job, MLflow, models and "
        "served endpoints stay open.",
        "ko": "노트북에서 요청하거나 DURE_TOKEN에 내 토큰을 설정하세요. 작업 안에서는 MLflow, 모델 등록, "
        "서빙 중인 엔드포인트를 쓸 수 있습니다.",
    }


class NotForExecutions(DureError):
    """Something that a scheduled notebook's token may not ask for."""

    code, status = "not_for_executions", 403
    message: ClassVar[Text] = {
        "en": "{path} is closed to a notebook that runs on schedule: what it makes would outlive the execution.",
        "ko": "예약 실행 중인 노트북은 {path}에 요청할 수 없습니다. 만든 것이 실행보다 오래 남기 때문입니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Ask from a notebook of your own server. On schedule, training, models, endpoints and canaries stay "
        "open.",
        "ko": "내 서버의 노트북에서 요청하세요. 예약 실행에서는 학습, 모델, 엔드포인트, canary를 쓸 수 있습니다.",
    }


class NoTokenFromToken(DureError):
    """A token of the portal asks for another one."""

    code, status = "no_token_from_token", 403
    message: ClassVar[Text] = {
        "en": "A token of this portal cannot make another token.",
        "ko": "포털 토큰으로는 다른 토큰을 만들 수 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Log in and make it by “Make a token” on the home page, or ask an administrator, who has "
        "`dure token` on the portal's machine.",
        "ko": "로그인해서 홈의 “토큰 만들기”로 만들거나, 포털 머신에서 `dure token`을 쓸 수 있는 관리자에게 "
        "부탁하세요.",
    }


class LoginFailed(DureError):
    """The hub's part of a login did not fit ours."""

    code, status = "login_failed", 400
    message: ClassVar[Text] = {
        "en": "The login could not be finished: {why_en}.",
        "ko": "로그인을 마치지 못했습니다: {why_ko}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Open the portal again; a login must be finished within ten minutes in the same browser.",
        "ko": "포털을 다시 여세요. 로그인은 같은 브라우저에서 10분 안에 마쳐야 합니다.",
    }


def install(app: FastAPI) -> None:
    """Give every error of the application the one shape."""
    app.add_exception_handler(DureError, _on_dure_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)


def answer(request: Request, error: DureError, headers: Mapping[str, str] | None = None) -> Response:
    """The error as JSON, or as a page where a person looks at it."""
    if isinstance(error, NotLoggedIn) and getattr(request.state, "page", False):
        return RedirectResponse(login_url(request), status_code=303)
    language = language_of(request)
    if wants_html(request):
        body = error.to_wire(language)["error"]
        return page(request, "error.html", status=error.status, headers=headers, error=body)
    extra = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    # What was refused may be no text that UTF-8 knows, such as half a surrogate pair.
    text = json.dumps(error.to_wire(language), ensure_ascii=False).encode("utf-8", "replace")
    return Response(text, error.status, {**extra, **(headers or {})}, media_type="application/json")


async def _on_dure_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DureError)  # noqa: S101 - what it is registered for
    await tell_refusal(request, error)
    return answer(request, error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
    return answer(request, invalid(error.errors(), language_of(request)))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    path = root_of(request) + request.url.path
    kinds: dict[int, DureError] = {
        404: NoSuchPage(path=path),
        405: MethodNotAllowed(path=path, method=request.method),
        413: TooLarge(path=path),
    }
    return answer(request, kinds.get(error.status_code, BadMessage(rule=error.detail)), error.headers)


def invalid(errors: Sequence[Mapping[str, Any]], language: str) -> BadRequest:
    """The first broken rule, with field and value; `more` counts the others."""
    first = errors[0]
    field = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path")) or "body"
    return BadRequest(
        field=field,
        value=_shown(field, first),
        rule=rule_of(first, language),
        more=len(errors) - 1,
    )


def rule_of(error: Mapping[str, Any], language: str) -> str:
    """The broken rule in the reader's language; pydantic's own English where it is a rare one."""
    text = RULES.get(str(error["type"]))
    if text is None:
        return str(error["msg"])
    return text[language].format_map({name: str(value) for name, value in error.get("ctx", {}).items()})


def _shown(field: str, error: Mapping[str, Any]) -> str | None:
    """The refused value, cut short. A secret is never sent back, wherever it was put by mistake."""
    if error["type"] in ("missing", "json_invalid", "nul"):
        return None
    text = str(error.get("input"))
    secret = any(word in field.lower() for word in ("token", "secret", "password", "authorization"))
    if secret or "dure_" in text:
        return "•••"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


RULES: dict[str, Text] = {
    "missing": {"en": "it is required", "ko": "필수 항목입니다"},
    "extra_forbidden": {"en": "there is no such field", "ko": "없는 항목입니다"},
    "json_invalid": {"en": "the body is not valid JSON", "ko": "본문이 올바른 JSON이 아닙니다"},
    "model_attributes_type": {"en": "the body must be a JSON object", "ko": "본문은 JSON 객체여야 합니다"},
    "string_type": {"en": "it must be text", "ko": "텍스트여야 합니다"},
    "string_pattern_mismatch": {"en": "it must match {pattern}", "ko": "{pattern} 형식이어야 합니다"},
    "string_too_long": {"en": "at most {max_length} characters", "ko": "최대 {max_length}자입니다"},
    "string_too_short": {"en": "at least {min_length} characters", "ko": "최소 {min_length}자입니다"},
    "int_type": {"en": "it must be a whole number", "ko": "정수여야 합니다"},
    "int_parsing": {"en": "it must be a whole number", "ko": "정수여야 합니다"},
    "int_parsing_size": {"en": "it has too many digits", "ko": "자릿수가 너무 많습니다"},
    "int_from_float": {"en": "it must be a whole number", "ko": "정수여야 합니다"},
    "bool_parsing": {"en": "it must be true or false", "ko": "true 또는 false여야 합니다"},
    "greater_than_equal": {"en": "it must be at least {ge}", "ko": "{ge} 이상이어야 합니다"},
    "less_than_equal": {"en": "it must be at most {le}", "ko": "{le} 이하여야 합니다"},
    "too_long": {"en": "at most {max_length} entries", "ko": "최대 {max_length}개입니다"},
    "nul": {
        "en": "no text in it has the character NUL (U+0000)",
        "ko": "텍스트에 NUL 문자(U+0000)를 쓸 수 없습니다",
    },
    "project_in_team": {
        "en": "a project is named with its team: vision/segmentation",
        "ko": "프로젝트는 vision/segmentation처럼 팀과 함께 씁니다",
    },
    "dict_type": {"en": "it must be an object", "ko": "객체여야 합니다"},
}


class Faults:
    """Outermost: a bug becomes a 500 with a reference, its text goes to the log and nowhere else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and stand in for an answer that was never begun."""
        begun = False

        async def watch(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            if scope["type"] != "http":
                raise
            reference = new_id()
            log.exception("fault %s in %s %s", reference, scope["method"], _logged_path(scope))
            if begun:
                raise  # half an answer is out; the server closes the connection
            await answer(Request(scope, receive), ServerFault(reference=reference))(scope, receive, send)


def _logged_path(scope: Scope) -> str:
    # Without the query: a login's code is in one.
    path = str(scope["path"])
    return path if path.startswith(BASE) else "(elsewhere)"

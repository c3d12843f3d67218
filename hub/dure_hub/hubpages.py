"""What the hub's own pages say, in English and Korean, and which of the two a reader gets.

The templates call `dure.say("key")`. JupyterHub hands them no request, but `static_url`, a method of the handler,
is in every page's names: the language is read there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context

from dure.wire import languages
from dure_hub.settings import Settings

LANGUAGES = {"en": "English", "ko": "한국어"}
COOKIE = "dure-lang"

SENTENCES: Mapping[str, Mapping[str, str]] = {
    "sign in": {"en": "Sign in", "ko": "로그인"},
    "sign in to": {"en": "Sign in to Dure", "ko": "두레에 로그인"},
    "sign in with": {"en": "Sign in with {service}", "ko": "{service}(으)로 로그인"},
    "tagline": {"en": "GPUs your team shares, in Jupyter", "ko": "팀이 함께 쓰는 GPU, Jupyter에서"},
    "username": {"en": "Username", "ko": "사용자 이름"},
    "password": {"en": "Password", "ko": "비밀번호"},
    "show": {"en": "Show", "ko": "보기"},
    "hide": {"en": "Hide", "ko": "숨기기"},
    "no account": {
        "en": "No account, or a forgotten password? Ask an administrator of this portal.",
        "ko": "계정이 없거나 비밀번호를 잊었다면 포털 관리자에게 문의하세요.",
    },
    "theirs": {
        "en": "With your account of {service}. Forgot the password, or may not sign in? Ask those who run it.",
        "ko": "{service} 계정으로 로그인합니다. 비밀번호를 잊었거나 로그인할 수 없다면 그 담당자에게 문의하세요.",
    },
    "elsewhere": {
        "en": "You sign in there, and come back here. This portal never sees your password.",
        "ko": "로그인은 그곳에서 하고 다시 돌아옵니다. 이 포털은 비밀번호를 보지 않습니다.",
    },
    "one account": {
        "en": "On this machine every server runs as one operating-system user: people here can reach each "
        "other's files. It is meant for one team that trusts each other.",
        "ko": "이 머신의 모든 서버는 운영체제 사용자 하나로 실행되므로 서로의 파일에 접근할 수 있습니다. "
        "서로 신뢰하는 한 팀을 위한 구성입니다.",
    },
    "wrong": {
        "en": "Username or password is not right.",
        "ko": "사용자 이름 또는 비밀번호가 맞지 않습니다.",
    },
    "expired form": {
        "en": "This page had been open for too long. Sign in again.",
        "ko": "페이지를 연 지 오래되었습니다. 다시 로그인하세요.",
    },
    "throttled": {
        "en": "Too many failed attempts. Try again in {seconds} s.",
        "ko": "로그인 실패가 너무 많습니다. {seconds}초 후에 다시 시도하세요.",
    },
    "home": {"en": "Home", "ko": "홈"},
    "sign out": {"en": "Sign out", "ko": "로그아웃"},
    "signed out": {"en": "You are signed out.", "ko": "로그아웃되었습니다."},
    "change password": {"en": "Change password", "ko": "비밀번호 변경"},
    "present password": {"en": "Present password", "ko": "현재 비밀번호"},
    "new password": {"en": "New password (8 characters or more)", "ko": "새 비밀번호(8자 이상)"},
    "again": {"en": "New password once more", "ko": "새 비밀번호 확인"},
    "wrong present": {"en": "The present password is not right.", "ko": "현재 비밀번호가 맞지 않습니다."},
    "differ": {"en": "The two new passwords differ.", "ko": "새 비밀번호 두 개가 서로 다릅니다."},
    "changed": {
        "en": "Your password is changed. Other sessions of yours were signed out.",
        "ko": "비밀번호가 변경되었습니다. 다른 곳의 로그인은 모두 해제되었습니다.",
    },
    "to portal": {"en": "Go to the portal", "ko": "포털로 이동"},
    "start a server": {"en": "Start a server", "ko": "서버 시작"},
    "choose profile": {
        "en": "Choose a profile on the portal's page, and your server starts.",
        "ko": "포털 페이지에서 프로필을 고르면 서버가 시작됩니다.",
    },
    "starting": {"en": "Your server is starting", "ko": "서버를 시작하는 중입니다"},
    "starting more": {
        "en": "This page goes on by itself as soon as it answers.",
        "ko": "서버가 응답하면 자동으로 이동합니다.",
    },
    "stopping": {"en": "Your server is stopping", "ko": "서버를 종료하는 중입니다"},
    "stopping more": {"en": "It takes a few seconds.", "ko": "몇 초 걸립니다."},
    "not running": {"en": "This server is not running", "ko": "이 서버는 실행 중이 아닙니다"},
    "not running more": {
        "en": "It has stopped or was never started. What was saved is still there.",
        "ko": "종료되었거나 시작된 적이 없습니다. 저장한 내용은 그대로 있습니다.",
    },
    "failed before": {"en": "The last start did not succeed.", "ko": "지난 시작은 성공하지 못했습니다."},
    "see why": {"en": "See why, and try again", "ko": "이유 보고 다시 시도"},
    "not found": {"en": "There is no such page", "ko": "없는 페이지입니다"},
    "not found more": {
        "en": "The address may be mistyped, or what it led to is gone.",
        "ko": "주소가 잘못되었거나 대상이 사라졌습니다.",
    },
    "not allowed": {"en": "You may not open this", "ko": "열 수 있는 권한이 없습니다"},
    "error": {"en": "That did not work", "ko": "요청을 처리하지 못했습니다"},
    "authorize": {"en": "Allow this server to see who you are?", "ko": "이 서버가 내 정보를 보도록 허용할까요?"},
    "authorize more": {
        "en": "{client} asks to be told that you are {user}. Go on only if you trust its owner: "
        "pages of that server run in your browser.",
        "ko": "{client}이(가) {user} 님인지 확인하려고 합니다. 그 서버의 페이지가 내 브라우저에서 실행되므로 "
        "소유자를 신뢰할 때만 계속하세요.",
    },
    "allow": {"en": "Allow", "ko": "허용"},
    "needs script": {"en": "This page needs JavaScript.", "ko": "이 페이지에는 JavaScript가 필요합니다."},
}

_HUB_SENTENCES = {
    "Invalid username or password": "wrong",
    "Login form invalid or expired. Try again.": "expired form",
}
"""Sentences of the hub's own handlers, and ours for them."""


def choose_language(asked: str | None, kept: str | None, accepted: str, default: str) -> str:
    """`?lang=`, else the cookie, else the browser's first language that we speak, else the portal's."""
    for wish in (asked, kept):
        if wish in LANGUAGES:
            return wish
    return languages.accepted(accepted) or default


def language_of(handler: Any, default: str | None = None) -> str:
    """The language of who made this request."""
    settled = default or handler.settings.get("template_vars", {})["dure"].default
    headers = handler.request.headers.get("Accept-Language", "")
    return choose_language(handler.get_query_argument("lang", None), handler.get_cookie(COOKIE), headers, settled)


class Pages:
    """What every template of the hub can call, as `dure`."""

    def __init__(self, settings: Settings, *, one_account: bool) -> None:
        self.default = settings.language
        self.languages = LANGUAGES
        self.own_passwords = settings.auth == "password"
        self.one_account = one_account
        self.directory = (settings.login_title or "LDAP") if settings.auth == "ldap" else ""
        self.root = settings.base_url
        self.home = settings.at("/services/dure/")
        self.spawn = f"{self.home}spawn"

    @pass_context
    def language(self, context: Context) -> str:
        """The reader's language; a choice by `?lang=` is kept in a cookie."""
        handler = _handler(context)
        language = language_of(handler, self.default)
        if handler.get_query_argument("lang", None) in LANGUAGES:
            secure = handler.request.protocol == "https"
            handler.set_cookie(COOKIE, language, path=self.root, samesite="Lax", expires_days=365, secure=secure)
        return language

    @pass_context
    def say(self, context: Context, key: str, **facts: Any) -> str:
        """One of `SENTENCES` in the reader's language, with its facts."""
        return SENTENCES[key][language_of(_handler(context), self.default)].format(**facts)

    @pass_context
    def told(self, context: Context, sentence: str) -> str:
        """A sentence of the hub's own, in ours where we have one."""
        key = _HUB_SENTENCES.get(sentence)
        return sentence if key is None else SENTENCES[key][language_of(_handler(context), self.default)]

    def wait(self, server_name: str) -> str:
        """The portal's page that follows this server; the hub's default server has no name."""
        return f"{self.home}wait/{server_name or 'default'}"

    @pass_context
    def reader(self, context: Context) -> str | None:
        """Who reads this page; the hub's own `user` is whom a page is about, on some pages."""
        person = _handler(context).current_user
        return getattr(person, "name", None)

    @pass_context
    def in_language(self, context: Context, language: str) -> str:
        """This page in another language: a query alone, so that no path of a mistyped address is repeated."""
        query = _handler(context).request.query
        kept = "".join(f"{part}&" for part in query.split("&") if part and not part.startswith("lang="))
        return f"?{kept}lang={language}"


def _handler(context: Context) -> Any:
    return context["static_url"].__self__

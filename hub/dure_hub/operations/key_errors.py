"""What can go wrong with a machine's key."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text


class KeyTooLong(DureError):
    """A key that would live longer than the portal allows."""

    code, status = "key_too_long", 422
    message: ClassVar[Text] = {
        "en": "A key lives for {longest_s} s at most here; {asked_s} s were asked for.",
        "ko": "이 포털에서 키의 유효 기간은 최대 {longest_s}초인데 {asked_s}초를 요청했습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Ask for less; an administrator can raise `key_lifetime_max_s`. Nothing was made.",
        "ko": "더 짧게 요청하세요. 관리자가 `key_lifetime_max_s`를 늘릴 수 있습니다. 만들어진 것은 없습니다.",
    }


class KeyMisfit(DureError):
    """Parts of a request for a key that do not go together."""

    code, status = "key_misfit", 422
    message: ClassVar[Text] = {
        "en": "This key cannot be made: {rule}.",
        "ko": "이 키는 만들 수 없습니다: {rule}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Change the request. Nothing was made.",
        "ko": "요청을 고치세요. 만들어진 것은 없습니다.",
    }


ENDPOINTS_ALONE: Text = {
    "en": "`endpoints` are for the scope `predict`, and `full` may all",
    "ko": "`endpoints`는 `predict` 범위에만 쓰며 `full`은 모두 쓸 수 있습니다",
}
ADMIN_ALONE: Text = {
    "en": "`admin` goes with the scope `full` alone",
    "ko": "`admin`은 `full` 범위와만 쓸 수 있습니다",
}


class KeyNotEnough(DureError):
    """A key asked for something that its scopes do not hold."""

    code, status = "key_not_enough", 403
    message: ClassVar[Text] = {
        "en": "The key {key} has the scopes {scopes}, which do not allow {path}.",
        "ko": "{key} 키의 범위는 {scopes}이며 {path}에는 쓸 수 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Make a key with another scope: `dure keys create`.",
        "ko": "다른 범위로 키를 만드세요: `dure keys create`.",
    }


class NoKeyFromToken(DureError):
    """A token or key that asks for another: a leaked one could make itself last for ever."""

    code, status = "no_key_from_token", 403
    message: ClassVar[Text] = {
        "en": "A key is made in a notebook or by your login, not with a token or key of the portal.",
        "ko": "키는 노트북이나 로그인으로 만들며, 포털의 토큰이나 키로는 만들 수 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Run `dure keys create` in a terminal of your server.",
        "ko": "내 서버의 터미널에서 `dure keys create`를 실행하세요.",
    }

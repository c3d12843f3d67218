"""What a browser carries between requests: sealed cookies, and nothing on our side."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from fastapi import Request, Response

SESSION_COOKIE = "dure-session"
LOGIN_COOKIE = "dure-login"
LANGUAGE_COOKIE = "dure-lang"
HUB_SESSION_COOKIE = "jupyterhub-session-id"
COOKIE_PATH = "/services/"
"""Never `/`: people's own servers under /user/ would see the cookie."""

SESSION_LIFETIME_S = 14 * 86400
LOGIN_LIFETIME_S = 600


@dataclass(frozen=True)
class Session:
    """The hub's token of one browser, and the secret that its writes must show."""

    token: str
    csrf: str

    @classmethod
    def new(cls, token: str) -> Session:
        """A session with a fresh secret."""
        return cls(token, secrets.token_urlsafe(32))


class Seal:
    """Encrypts and signs small values. What was changed, is too old or was sealed by another key opens as None.

    Sealed cookies need no table of sessions: they hold through a restart, and nobody can fill our memory.
    """

    def __init__(self, key: str) -> None:
        digest = hashlib.sha256(b"dure portal cookies\n" + key.encode()).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(digest))

    def close(self, purpose: str, value: dict[str, Any]) -> str:
        """Seal a value for one purpose."""
        return self._fernet.encrypt(json.dumps([purpose, value]).encode()).decode()

    def open(self, purpose: str, text: str | None, lifetime_s: int) -> dict[str, Any] | None:
        """The value, if it was sealed for this purpose no longer than `lifetime_s` ago."""
        if not text or not text.isascii():
            return None
        try:
            found, value = json.loads(self._fernet.decrypt(text, ttl=lifetime_s))
        except InvalidToken:
            return None
        return value if found == purpose and isinstance(value, dict) else None


def read_session(seal: Seal, request: Request) -> Session | None:
    """The session in the request's cookie."""
    value = seal.open("session", request.cookies.get(SESSION_COOKIE), SESSION_LIFETIME_S)
    return None if value is None else Session(value["token"], value["csrf"])


def write_session(seal: Seal, response: Response, session: Session, *, secure: bool) -> None:
    """Give the browser its session."""
    text = seal.close("session", {"token": session.token, "csrf": session.csrf})
    set_cookie(response, SESSION_COOKIE, text, SESSION_LIFETIME_S, secure=secure)


def set_cookie(response: Response, name: str, text: str, lifetime_s: int, *, secure: bool) -> None:
    """A cookie that scripts cannot read and other sites' requests do not carry."""
    response.set_cookie(
        name, text, max_age=lifetime_s, path=COOKIE_PATH, httponly=True, samesite="lax", secure=secure
    )


def drop_cookie(response: Response, name: str) -> None:
    """Make the browser forget one of our cookies."""
    response.delete_cookie(name, path=COOKIE_PATH, httponly=True, samesite="lax")

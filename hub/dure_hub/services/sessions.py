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

from dure_hub import cookies

SESSION_COOKIE = "dure-session"
LOGIN_COOKIE = "dure-login"
LANGUAGE_COOKIE = "dure-lang"
HUB_SESSION_COOKIE = cookies.SESSION
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


@dataclass(frozen=True)
class Jar:
    """How cookies are set: `secure` by https alone, `alone` as those that no other host can set.

    Where people have hosts below ours, a page of theirs may set cookies for ours: another login, say. Browsers
    keep `__Host-` for those that our own answers set; their path is `/`, under which nobody's server is then.
    `root` is what stands before our paths, `/dure`: what else is on the host does not get them.
    """

    secure: bool = False
    alone: bool = False
    root: str = ""

    def name(self, name: str) -> str:
        """What a cookie is called."""
        return f"__Host-{name}" if self.alone else name

    @property
    def path(self) -> str:
        """Where browsers send it."""
        return "/" if self.alone else self.root + COOKIE_PATH


def read_session(seal: Seal, request: Request, jar: Jar) -> Session | None:
    """The session in the request's cookie."""
    value = seal.open("session", request.cookies.get(jar.name(SESSION_COOKIE)), SESSION_LIFETIME_S)
    return None if value is None else Session(value["token"], value["csrf"])


def write_session(seal: Seal, response: Response, session: Session, jar: Jar) -> None:
    """Give the browser its session."""
    text = seal.close("session", {"token": session.token, "csrf": session.csrf})
    set_cookie(response, SESSION_COOKIE, text, SESSION_LIFETIME_S, jar)


def set_cookie(response: Response, name: str, text: str, lifetime_s: int, jar: Jar) -> None:
    """A cookie that scripts cannot read and other sites' requests do not carry."""
    response.set_cookie(
        jar.name(name),
        text,
        max_age=lifetime_s,
        path=jar.path,
        httponly=True,
        samesite="lax",
        secure=jar.secure,
    )


def drop_cookie(response: Response, name: str, jar: Jar) -> None:
    """Make the browser forget one of our cookies."""
    response.delete_cookie(jar.name(name), path=jar.path, secure=jar.secure, httponly=True, samesite="lax")

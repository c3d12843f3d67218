"""The one HTTP client of the SDK: where the portal is, who asks, what may be sent again.

A portal that restarts is away for some seconds. What is safe to repeat is repeated with growing pauses for up to
`patience_s`: reads, uploads by digest, and requests that carry their own id. The rest is sent again only where
no connection came about, so that the portal cannot have seen it.
"""

from __future__ import annotations

import json
import os
import ssl
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from dure.errors import BadAnswer, BadRequest, DureError, PortalUnreachable, Text, from_wire, reader_language
from dure.sdk_errors import CertificateNotTrusted, NoPortal, NoToken, TokenFileMissing

if TYPE_CHECKING:
    from pydantic import BaseModel

    M = TypeVar("M", bound=BaseModel)

API = "/api/v1"
AWAY = (502, 503, 504)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_default: Client | None = None


class Client:
    """Speaks to one portal as one person. Blocking; works inside a running event loop, as in a notebook."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        patience_s: float = 20.0,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = checked_url(url or find_url())
        self.token = checked_token(token or find_token())
        self.patience_s = patience_s
        self.sleep, self.now = sleep, now
        self._http = httpx.Client(
            base_url=self.url,
            transport=transport,
            timeout=httpx.Timeout(60, connect=5),
            headers={"Authorization": f"Bearer {self.token}", "Accept-Language": reader_language()},
            verify=trusted(self.url),
            # A proxy of the environment cannot reach this machine's own loopback.
            trust_env=httpx.URL(self.url).host not in LOOPBACK,
        )
        # Jobs and endpoints keep the client they came by, so nobody but the last of them knows when to close it.
        weakref.finalize(self, self._http.close)

    def get(self, path: str, *, patience_s: float | None = None, **query: Any) -> Any:
        """The JSON of a read."""
        return said(self.send("GET", API + path, repeatable=True, params=_given(query), patience_s=patience_s))

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        repeatable: bool = False,
        timeout_s: float | None = None,
        **query: Any,
    ) -> Any:
        """Ask for a change; `repeatable` where a second one is the same request, as by an id in the body.

        `timeout_s` is for what takes longer than others to answer.
        """
        more: dict[str, Any] = {} if timeout_s is None else {"timeout": timeout_s}
        answer = self.send("POST", API + path, repeatable=repeatable, json=body, params=_given(query), **more)
        return said(answer) if answer.content else None

    def put(self, path: str, body: Mapping[str, Any], *, timeout_s: float | None = None) -> Any:
        """Bring something to be as the body says; a second one is the same request."""
        more: dict[str, Any] = {} if timeout_s is None else {"timeout": timeout_s}
        answer = self.send("PUT", API + path, repeatable=True, json=body, **more)
        return said(answer) if answer.content else None

    def delete(self, path: str, *, repeatable: bool = False, **query: Any) -> None:
        """End something; `repeatable` where ending what has ended is no error."""
        self.send("DELETE", API + path, repeatable=repeatable, params=_given(query))

    def has(self, path: str) -> bool:
        """Whether something is there."""
        return self.send("HEAD", API + path, repeatable=True, missing_is_fine=True).is_success

    def put_file(self, path: str, file: Path) -> None:
        """Upload a file to an address that is its digest."""
        self.send("PUT", API + path, repeatable=True, file=file, timeout=600.0)

    def send(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool = False,
        patience_s: float | None = None,
        missing_is_fine: bool = False,
        file: Path | None = None,
        **request: Any,
    ) -> httpx.Response:
        """Send until answered or out of patience; `path` is on the front port. Raises only `DureError`s."""
        body = request.pop("json", None)
        if body is not None:
            request |= {"content": encoded(body), "headers": {"Content-Type": "application/json"}}
        deadline = self.now() + (self.patience_s if patience_s is None else patience_s)
        pause = 0.2
        while True:
            answer: httpx.Response | None = None
            problem: Exception | None = None
            try:
                answer = self._once(method, path, file, request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as away:
                if (why := distrust(away)) is not None:
                    raise CertificateNotTrusted(url=self.url, why=why) from away
                problem, again = away, True
            except httpx.RequestError as broken:
                problem, again = broken, repeatable
            except httpx.InvalidURL as wrong:
                raise BadRequest(field="path", value=repr(path)[:80], rule=PATH_RULE) from wrong
            else:
                again = repeatable and answer.status_code in AWAY
            if not again or self.now() + pause > deadline:
                return self._checked(answer, problem, missing_is_fine)
            self.sleep(pause)
            pause = min(pause * 2, 3.0)

    def _once(self, method: str, path: str, file: Path | None, request: Mapping[str, Any]) -> httpx.Response:
        if file is None:
            return self._http.request(method, path, **request)
        with file.open("rb") as content:
            return self._http.request(method, path, content=content, **request)

    def _checked(
        self, answer: httpx.Response | None, problem: Exception | None, missing_is_fine: bool
    ) -> httpx.Response:
        if answer is None:
            raise PortalUnreachable(url=self.url) from problem
        if answer.is_success or (missing_is_fine and answer.status_code == 404):
            return answer
        raise self._error(answer)

    def _error(self, answer: httpx.Response) -> DureError:
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or "error" not in body:
            return (
                PortalUnreachable(url=self.url)
                if answer.status_code in AWAY
                else BadAnswer(status=answer.status_code)
            )
        return from_wire(body, answer.status_code)


def _given(query: Mapping[str, Any]) -> dict[str, Any]:
    """What of a query was given: null is left out, where httpx would send an empty text."""
    return {name: value for name, value in query.items() if value is not None}


def said(answer: httpx.Response) -> Any:
    """The JSON of an answer. Other text under a good status came from something that is not the portal."""
    try:
        return answer.json()
    except ValueError as error:
        raise BadAnswer(status=answer.status_code) from error


def read(kind: type[M], answer: Any) -> M:
    """An answer as what it should be; `BadAnswer` where it is something else."""
    from pydantic import ValidationError

    try:
        return kind.model_validate(answer)
    except ValidationError as error:
        raise BadAnswer(status=200) from error


def read_all(kind: type[M], answer: Any) -> list[M]:
    """An answer that should be a list of these."""
    if not isinstance(answer, list):
        raise BadAnswer(status=200)
    return [read(kind, entry) for entry in answer]


def encoded(body: Any) -> bytes:
    """A body as JSON; `BadRequest` names what in it JSON has no word for."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        field, value = _culprit(body, "", 8)
        raise BadRequest(field=field or "body", value=repr(value)[:80], rule=JSON_RULE) from error


def _culprit(value: Any, path: str, depth: int) -> tuple[str, Any]:
    inner: Any = ()
    if isinstance(value, Mapping):
        inner = ((f"{path}.{key}".lstrip("."), part) for key, part in value.items())
    elif isinstance(value, list | tuple):
        inner = ((f"{path}[{number}]", part) for number, part in enumerate(value))
    for name, part in inner:
        try:
            json.dumps(part, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError):
            return _culprit(part, name, depth - 1) if depth else (name, part)
    return path, value


JSON_RULE: Text = {
    "en": "a value is a finite number, a text, true, false or null; fill in missing values, write dates as texts",
    "ko": "값은 유한한 수, 문자열, true, false, null 중 하나여야 합니다. 빈 값은 채우고 날짜는 문자열로 쓰세요",
}
PATH_RULE: Text = {
    "en": "a name in an address has no control characters",
    "ko": "주소에 들어가는 이름에는 제어 문자를 쓸 수 없습니다",
}
URL_RULE: Text = {
    "en": "it is the address you open in the browser, with http:// or https:// in front",
    "ko": "http:// 또는 https://로 시작하는, 브라우저로 여는 주소여야 합니다",
}
TOKEN_RULE: Text = {
    "en": "a token is one word of ASCII letters, digits and signs",
    "ko": "토큰은 공백 없이 ASCII 문자로만 이루어진 한 단어여야 합니다",
}
CERTIFICATES_RULE: Text = {
    "en": "it is a PEM file with the certificates to believe",
    "ko": "신뢰할 인증서가 든 PEM 파일이어야 합니다",
}
EMPTY: Text = {"en": "it is empty", "ko": "비어 있습니다"}
NO_TEXT: Text = {"en": "it is not a text file", "ko": "텍스트 파일이 아닙니다"}


def checked_url(text: str) -> str:
    """An address that can be asked, without a slash at its end."""
    try:
        parsed: httpx.URL | None = httpx.URL(text.strip())
    except httpx.InvalidURL:
        parsed = None  # refused below, with the same sentence
    if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host:
        raise BadRequest(field="DURE_URL", value=text, rule=URL_RULE)
    return text.strip().rstrip("/")


def checked_token(text: str) -> str:
    """A token that a header can carry. The error does not show it."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise BadRequest(field="DURE_TOKEN", value="***", rule=TOKEN_RULE)
    return text


def distrust(problem: BaseException) -> str | None:
    """Why the portal's certificate was not believed, in OpenSSL's words; None where that is not the problem."""
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        cause = cause.__cause__ or cause.__context__
    return None


def trusted(url: str) -> ssl.SSLContext | bool:
    """Whom to believe: what SSL_CERT_FILE names, also for this machine's loopback, the near end of an `ssh -L`."""
    if not url.startswith("https:"):
        return True
    try:
        return httpx.create_ssl_context()
    except (OSError, ssl.SSLError) as why:
        file = os.environ.get("SSL_CERT_FILE")
        raise BadRequest(field="SSL_CERT_FILE", value=file, rule=CERTIFICATES_RULE) from why


def find_url() -> str:
    """The portal's address from the environment."""
    if url := os.environ.get("DURE_URL"):
        return url
    raise NoPortal()


def find_token() -> str:
    """A token from the environment: DURE_TOKEN, the file DURE_TOKEN_FILE names, or the server's own."""
    if token := os.environ.get("DURE_TOKEN", "").strip():
        return token
    if path := os.environ.get("DURE_TOKEN_FILE"):
        try:
            if kept := Path(path).read_text().strip():
                return kept
        except OSError as error:
            raise TokenFileMissing(path=path, why=error.strerror or str(error)) from error
        except UnicodeDecodeError as error:
            raise TokenFileMissing(path=path, why=NO_TEXT) from error
        raise TokenFileMissing(path=path, why=EMPTY)
    if token := os.environ.get("JUPYTERHUB_API_TOKEN", ""):
        return token
    raise NoToken()


def client() -> Client:
    """The client that the SDK's functions use; made anew when address or token in the environment change."""
    global _default
    if _default is None or (
        not _fixed and (_default.url, _default.token) != (find_url().strip().rstrip("/"), find_token())
    ):
        _default = Client()
    return _default


_fixed = False


def use(chosen: Client | None) -> None:
    """Let the SDK speak through this client from now on; None goes back to the environment's."""
    global _default, _fixed
    _default, _fixed = chosen, chosen is not None


def ask(kind: type[M], /, **fields: Any) -> M:
    """A request of this kind. A value that breaks a rule is a `BadRequest` before anything is sent."""
    from pydantic import ValidationError

    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadRequest(
            field=".".join(str(part) for part in first["loc"][:2]), value=repr(first["input"]), rule=first["msg"]
        ) from None

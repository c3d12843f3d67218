"""Login by the hub's OAuth, with PKCE and a sealed state cookie; nothing is kept on our side meanwhile."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse

from dure.errors import LANGUAGES
from dure_hub.services.errors import LoginFailed, NotANavigation
from dure_hub.services.places import CALLBACK, LOGIN, is_navigation, root_of, safe_next
from dure_hub.services.portal import portal_of
from dure_hub.services.sessions import (
    LANGUAGE_COOKIE,
    LOGIN_COOKIE,
    LOGIN_LIFETIME_S,
    Session,
    drop_cookie,
    set_cookie,
    write_session,
)

CLIENT = "service-dure"
AUTHORIZE = "/hub/api/oauth2/authorize"

_NOT_BEGUN = {
    "why_en": "it was not begun in this browser, or it took too long",
    "why_ko": "이 브라우저에서 시작하지 않았거나 시간이 초과되었습니다",
}
_NOT_AGREED = {"why_en": "JupyterHub did not agree to it", "why_ko": "JupyterHub가 동의하지 않았습니다"}
_CODE_REFUSED = {
    "why_en": "its code was not accepted; it may have been used already",
    "why_ko": "코드를 쓸 수 없습니다. 이미 사용한 코드일 수 있습니다",
}

router = APIRouter(include_in_schema=False)


@router.get(LOGIN)
async def login(
    request: Request, target: Annotated[str, Query(alias="next", max_length=4000)] = ""
) -> RedirectResponse:
    """Send the browser to the hub; who is logged in there comes straight back."""
    portal, root = portal_of(request), root_of(request)
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "client_id": CLIENT,
        "redirect_uri": root + CALLBACK,
        "response_type": "code",
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    response = RedirectResponse(f"{root}{AUTHORIZE}?{urlencode(query)}", status_code=302)
    kept = portal.seal.close("login", {"state": state, "verifier": verifier, "next": safe_next(target, root)})
    set_cookie(response, _cookie(state), kept, LOGIN_LIFETIME_S, portal.jar)
    return response


@router.get(CALLBACK)
async def oauth_callback(
    request: Request,
    state: Annotated[str, Query(max_length=200)] = "",
    code: Annotated[str, Query(max_length=400)] = "",
    error: Annotated[str, Query(max_length=200)] = "",
) -> RedirectResponse:
    """Finish the login that this browser began, and go where it wanted to."""
    if not is_navigation(request):
        raise NotANavigation
    portal = portal_of(request)
    kept = portal.seal.open("login", request.cookies.get(portal.jar.name(_cookie(state))), LOGIN_LIFETIME_S)
    if kept is None or not hmac.compare_digest(kept["state"].encode(), state.encode()):
        raise LoginFailed(**_NOT_BEGUN)
    if error or not code:
        raise LoginFailed(**_NOT_AGREED)
    token = await portal.ops.hub.exchange(code, verifier=kept["verifier"], redirect=root_of(request) + CALLBACK)
    if token is None:
        raise LoginFailed(**_CODE_REFUSED)
    response = RedirectResponse(safe_next(kept["next"], root_of(request)), status_code=302)
    write_session(portal.seal, response, Session.new(token), portal.jar)
    drop_cookie(response, _cookie(state), portal.jar)
    return response


@router.get("/services/dure/language")
async def language(
    request: Request,
    to: Annotated[str, Query(max_length=10)],
    target: Annotated[str, Query(alias="next", max_length=4000)] = "",
) -> RedirectResponse:
    """Choose the language of the pages."""
    root = root_of(request)
    response = RedirectResponse(safe_next(target, root), status_code=303)
    if to in LANGUAGES:
        # No secret, and the hub's own pages read it too.
        path, secure = f"{root}/", portal_of(request).jar.secure
        response.set_cookie(LANGUAGE_COOKIE, to, 365 * 86400, path=path, samesite="lax", secure=secure)
    return response


def _cookie(state: str) -> str:
    # One cookie a login: two windows that log in at once do not spoil each other's.
    return f"{LOGIN_COOKIE}-{hashlib.sha256(state.encode()).hexdigest()[:12]}"

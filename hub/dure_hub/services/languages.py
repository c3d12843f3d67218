"""Which language a reader gets: the one they chose, else the browser's, else the portal's."""

from __future__ import annotations

from fastapi import Request

from dure.errors import LANGUAGES
from dure.wire.languages import accepted
from dure_hub.services.sessions import LANGUAGE_COOKIE


def language_of(request: Request) -> str:
    """`en` or `ko` for this request."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    return accepted(request.headers.get("accept-language", "")) or request.app.state.portal.ops.settings.language

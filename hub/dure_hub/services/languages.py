"""Which language a reader gets: the one they chose, else the browser's, else the portal's."""

from __future__ import annotations

from fastapi import Request

from dure.errors import LANGUAGES
from dure_hub.services.sessions import LANGUAGE_COOKIE


def language_of(request: Request) -> str:
    """`en` or `ko` for this request."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    return accepted(request.headers.get("accept-language", "")) or request.app.state.portal.ops.settings.language


def accepted(header: str) -> str | None:
    """The best of our languages in an Accept-Language header; none if it names none of them."""
    best: tuple[float, str] | None = None
    for part in header.split(",")[:20]:
        tag, _, quality = part.strip().partition(";q=")
        name = tag.split("-")[0].lower()
        try:
            weight = float(quality or 1)
        except ValueError:
            continue
        if name in LANGUAGES and weight > 0 and (best is None or weight > best[0]):
            best = (weight, name)
    return best[1] if best else None

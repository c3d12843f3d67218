"""Templates, and the headers that every page carries."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from dure_hub import dashboards
from dure_hub.services.languages import language_of
from dure_hub.services.pages.words import say
from dure_hub.services.places import BASE, HOME, STATIC, root_of

ROOT = Path(__file__).parents[2]
STATIC_FOLDER = ROOT / "static"
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")
TEMPLATES = ROOT / "templates" / "portal"


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    frames: bool = False,
    **values: Any,
) -> HTMLResponse:
    """A page in the reader's language. Scripts run only with this answer's nonce; nobody may frame it.

    With `frames` it may show pages of this portal in frames.
    """
    language = language_of(request)
    nonce, root = secrets.token_urlsafe(16), root_of(request)
    identity = getattr(request.state, "identity", None)
    text = (
        templates()
        .get_template(template)
        .render(
            t=lambda key, **facts: say(key, language, facts),
            language=language,
            nonce=nonce,
            root=root,
            base=root + BASE,
            identity=identity,
            unread=getattr(request.state, "unread", 0),
            simulated=_simulated(request),
            here=_here(request),
            asset=lambda name: root + asset(name),
            dashboard=lambda name: root + dashboards.address(name),
            sentence=lambda texts: texts.get(language, texts.get("en", "")),
            reason=lambda thing: reason_of(thing, language),
            **values,
        )
    )
    carried = {**page_headers(nonce, frames, _people(request)), **(headers or {})}
    return HTMLResponse(text.encode("utf-8", "replace"), status, carried)


def page_headers(nonce: str, frames: bool = False, people: str = "") -> dict[str, str]:
    """What keeps a page to itself. `people` are the hosts of people's servers, to which a form's answer may lead.

    People's servers share our origin, so a window they open could be read by them: the opener policy cuts that
    tie even within one origin, where the browser knows it.
    """
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self'; font-src 'self'; "
        f"connect-src 'self'; form-action 'self'{people}; base-uri 'none'; frame-ancestors 'none'"
    )
    if frames:
        policy += "; frame-src 'self'"
    return {
        "Content-Security-Policy": policy,
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "noopener-allow-popups",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def reason_of(thing: Any, language: str) -> str | None:
    """Why a server, a job or a model server is as it is, in the reader's language where it has words for it."""
    texts = getattr(thing, "reason_text", None)
    text = (texts.get(language) if isinstance(texts, Mapping) else None) or thing.reason
    return None if text is None else str(text)


@cache
def templates() -> Environment:
    """The templates; a name that a template uses and nobody gave is an error, not an empty string."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["utc"] = utc
    made.filters["iso"] = iso
    made.filters["timed"] = timed
    made.filters["gib"] = gib
    made.filters["short"] = short
    return made


@cache
def asset(name: str) -> str:
    """The path of a static file, which changes with its content, so that browsers may keep it."""
    digest = sha256((STATIC_FOLDER / name).read_bytes()).hexdigest()[:12]
    return f"{STATIC}/{name}?v={digest}"


def iso(at: datetime) -> str:
    """For `<time datetime>`; the page's script shows it in the viewer's zone."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc(at: datetime) -> str:
    """What is shown where no script runs."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def timed(sentence: str) -> Markup:
    """A sentence with its times as `<time>`, so that the page's script shows them in the viewer's zone."""
    parts = _TIME.split(sentence)
    shown = [
        Markup('<time datetime="{}" data-when>{}</time>').format(part, utc(datetime.fromisoformat(part)))
        if index % 2
        else escape(part)
        for index, part in enumerate(parts)
    ]
    return Markup("").join(shown)


def gib(mebibytes: int) -> str:
    """A size in GiB, with one digit where it matters."""
    return f"{mebibytes / 1024:.1f}".removesuffix(".0")


def _people(request: Request) -> str:
    portal = getattr(request.app.state, "portal", None)
    shared = urlsplit("" if portal is None else portal.ops.settings.subdomain_host)
    return f" {shared.scheme}://*.{shared.netloc}" if shared.netloc else ""


def short(number: float) -> str:
    """A number with one digit after the point where it matters."""
    return f"{number:.1f}".removesuffix(".0")


def _simulated(request: Request) -> bool:
    portal = getattr(request.app.state, "portal", None)
    return portal is not None and bool(portal.ops.settings.simulated_fleet)


def _here(request: Request) -> str:
    # Where the language links come back to; a form's answer has no address of its own.
    return root_of(request) + (request.url.path if request.method == "GET" else HOME)

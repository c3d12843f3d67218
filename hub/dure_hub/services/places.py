"""Paths of the portal, and where a browser may be sent.

They are as this service gets them: Envoy takes `base_url` off what comes in. What goes out to a browser has it
before the path: by `settings.at`, or by `root_of` where there is only the request.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlencode

from fastapi import Request

BASE = "/services/dure"
API = f"{BASE}/api/v1"
HOME = f"{BASE}/"
LOGIN = f"{BASE}/login"
CALLBACK = f"{BASE}/oauth_callback"
STATIC = f"{BASE}/static"


def root_of(request: Request) -> str:
    """What stands before each path of ours where browsers see it: `/dure` where `base_url` is `/dure/`."""
    portal = getattr(request.app.state, "portal", None)
    return "" if portal is None else str(portal.ops.settings.at(""))


def safe_next(text: str | None, root: str = "") -> str:
    """`text` if it is a path of ours or of a service behind our login, else the home page; as browsers see them.

    No other host, scheme, or path that a browser would read as one (`//`, a backslash, a control character), nor
    one that climbs out of ours (`..`, however it is spelled).
    """
    home = root + HOME
    if not text or not text.startswith(f"{root}/services/") or len(text) > 2000:
        return home
    path = text.partition("?")[0]
    if (
        "\\" in text
        or "//" in path
        or any(ord(letter) <= 32 or ord(letter) == 127 for letter in text)
        or any(part in (".", "..") for part in re.split(r"[/\\]", unquote(unquote(path))))
    ):
        return home
    return text


def login_url(request: Request) -> str:
    """Where to log in, and come back to the page asked for; a lost form comes back to where it was shown."""
    root = root_of(request)
    path = request.url.path if request.method in ("GET", "HEAD") else HOME
    query = f"?{request.url.query}" if request.url.query and path != HOME else ""
    return f"{root}{LOGIN}?{urlencode({'next': safe_next(root + path + query, root)})}"


def wants_html(request: Request) -> bool:
    """Whether a person looks at the answer: everything but the API answers a browser with a page."""
    path = request.url.path
    return not path.startswith(API) and "text/html" in request.headers.get("accept", "")


def is_navigation(request: Request) -> bool:
    """Whether a window of its own shows the answer, as far as the browser says.

    A page of somebody's server shares our origin: its script could read ours by fetch or frame and act with
    the secret found there. Browsers name the destination to https and loopback addresses; clients that name
    none are not browsers there.
    """
    return request.headers.get("sec-fetch-dest", "document") == "document"


def is_frame(request: Request) -> bool:
    """Whether the browser says that a frame shows the answer."""
    return request.headers.get("sec-fetch-dest") == "iframe"

"""Names of the hub's cookies that no other hub on the same host has.

Cookies know hosts and paths, and no ports. With JupyterHub's own names, another hub on this host would end the
logins here, and this one those there; a form that was open meanwhile would be refused. JupyterHub has settings for
some of these names only. Light: a person's server imports this too.
"""

from __future__ import annotations

from typing import Any

LOGIN, SESSION = "dure-hub-login", "dure-session-id"
FORM_PATH = "/hub"
"""Where the hub's form cookie (`_xsrf`) belongs; that of another hub has `/hub/`, which is another place."""


class _OwnPlace(dict[str, Any]):
    """Options of a cookie whose path stays: JupyterHub sets it to `/hub/`, whatever was asked for."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key != "path":
            super().__setitem__(key, value)

    def __deepcopy__(self, _memo: dict[int, Any]) -> _OwnPlace:
        return self  # a copy would be made item by item, and lose the path


def keep_apart_in_hub(form_path: str = FORM_PATH, *, https: bool = False) -> dict[str, Any]:
    """Give this process's hub the names; what belongs into its `tornado_settings`.

    `form_path` is `FORM_PATH` where the hub is. With `https` its form cookie keeps to that; JupyterHub sees to the
    others.
    """
    from jupyterhub.handlers import base
    from jupyterhub.objects import Hub

    Hub.cookie_name = LOGIN
    base.SESSION_COOKIE_NAME = SESSION
    return {"xsrf_cookie_kwargs": _OwnPlace(path=form_path, **({"secure": True} if https else {}))}


def keep_apart_in_server() -> None:
    """Have a person's server find the hub's session, so that a logout there ends what it remembers."""
    from jupyterhub.services.auth import HubAuth

    def get_session_id(_self: Any, handler: Any) -> str:
        return str(handler.get_cookie(SESSION, ""))

    HubAuth.get_session_id = get_session_id

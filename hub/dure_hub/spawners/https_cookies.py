"""Has the form cookie of a person's server keep to https where people come by it; Jupyter says nothing of that."""

from __future__ import annotations

import os
from typing import Any

SAID = "DURE_HTTPS"
"""The variable that says so to a server, as 1."""


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server_app: Any) -> None:
    """Each handler asks these settings when it sets the cookie."""
    if os.environ.get(SAID) == "1":
        settings = server_app.web_app.settings
        settings["xsrf_cookie_kwargs"] = {**settings.get("xsrf_cookie_kwargs", {}), "secure": True}

"""Who asks MLflow: the name in the header that only Envoy can add, as a user of MLflow's own store.

MLflow's basic-auth application calls `authorize` for each request, Flask and FastAPI routes alike. The server
listens on a Unix socket that only this portal's processes can open, and Envoy sets both headers from the
portal's own check on every request, so a client's headers never arrive. No password is ever used: the random one
of a new user is forgotten at once.
"""

from __future__ import annotations

import secrets
from typing import Any

from flask import Response, request
from mlflow.exceptions import MlflowException
from werkzeug.datastructures import Authorization

USER_HEADER = "x-dure-user"
ADMIN_HEADER = "x-dure-admin"


def authorize() -> Authorization | Response:
    """The user of this request, made on first sight, administrator as the header says; 401 without a name.

    Without the administrator header the flag is taken away: only what the portal says now counts.
    """
    name = request.headers.get(USER_HEADER, "").strip()
    if not name:
        return Response("Log in to the portal first.", status=401, mimetype="text/plain")
    _keep(name, request.headers.get(ADMIN_HEADER) == "1")
    return Authorization("basic", {"username": name, "password": ""})


def _keep(name: str, admin: bool) -> None:
    store = _store()
    try:
        user = store.get_user(name)
    except MlflowException:
        try:
            store.create_user(name, secrets.token_urlsafe(32), is_admin=admin)
            return
        except MlflowException:
            user = store.get_user(name)  # a request beside this one made it first
    if user.is_admin != admin:
        store.update_user(name, is_admin=admin)


def _store() -> Any:
    # Imported when first used: MLflow imports this module while its own is still half made.
    from mlflow.server.auth import store

    return store

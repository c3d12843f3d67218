"""The FastAPI application: routes, the guard of each, one error shape."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dure.wire.base import Answer
from dure_hub.operations import Operations
from dure_hub.services import (
    about,
    budgets,
    check,
    costs,
    devices,
    endpoints,
    environments,
    errors,
    events,
    fleet,
    gpu,
    keys,
    login,
    metrics,
    models,
    notices,
    organisation,
    profiles,
    queue,
    quotas,
    schedules,
    shares,
    snapshots,
    tokens,
    training,
)
from dure_hub.services.compression import Compression
from dure_hub.services.identity import Identities
from dure_hub.services.limits import BodyLimit
from dure_hub.services.pages import docs, home, spawn, waiting
from dure_hub.services.pages import notices as notice_pages
from dure_hub.services.pages import schedules as schedule_pages
from dure_hub.services.pages import shares as share_pages
from dure_hub.services.pages.rendering import STATIC_FOLDER
from dure_hub.services.places import API, BASE, STATIC
from dure_hub.services.portal import Portal
from dure_hub.services.sessions import Seal

PUBLIC = frozenset(
    {
        f"{API}/about",
        f"{API}/openapi.json",
        f"{BASE}/health",
        f"{BASE}/login",
        f"{BASE}/oauth_callback",
        f"{BASE}/language",
        # Answers for itself who may pass: it is the guard of what lies behind Envoy.
        f"{BASE}/check/{{path:path}}",
    }
)
"""The routes without a guard; every other has one."""


class Problem(Answer):
    """What went wrong, in the reader's language; `facts` are the values in the sentences."""

    code: str
    message: str
    next_step: str
    facts: dict[str, Any] = {}


class ErrorAnswer(Answer):
    """The one shape of every error."""

    error: Problem


def application(ops: Operations) -> FastAPI:
    """The portal's service over these operations. It starts nothing and closes nothing of theirs."""
    app = FastAPI(
        title="Dure",
        version=about.portal_version(),
        description="A team shares its GPUs. Send `Authorization: Bearer <token>`.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        servers=[{"url": ops.settings.at("")}] if ops.settings.at("") else None,
        generate_unique_id_function=lambda route: route.name,
    )
    identities = Identities(ops.hub, ops.tokens)
    app.state.portal = Portal(ops, identities, Seal(ops.settings.folder.secret("session-key")))
    errors.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(Compression)
    app.add_middleware(errors.Faults)
    app.add_middleware(Headers)
    app.include_router(_api(), responses={"default": {"model": ErrorAnswer, "description": "An error."}})
    for router in (about.public, docs.public, login.router, check.router):
        app.include_router(router)
    for router in (
        home.router,
        spawn.router,
        waiting.router,
        schedule_pages.router,
        share_pages.router,
        notice_pages.router,
        docs.router,
    ):
        app.include_router(router)
    app.mount(STATIC, StaticFiles(directory=STATIC_FOLDER), name="static")
    return app


def _api() -> APIRouter:
    api = APIRouter(prefix=API)
    for router in (
        about.router,
        profiles.router,
        environments.router,
        training.router,
        snapshots.router,
        models.router,
        endpoints.router,
        schedules.router,
        shares.router,
        tokens.router,
        keys.router,
        keys.logins,
        events.router,
        notices.router,
        fleet.router,
        devices.router,
        gpu.router,
        queue.router,
        metrics.router,
        costs.router,
        budgets.router,
        quotas.router,
        organisation.router,
    ):
        api.include_router(router)
    return api


class Headers:
    """What every answer carries: no guessing of types, no keeping of what is somebody's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to whatever answers."""

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", _keeping(scope))
            await send(message)

        await self._app(scope, receive, add if scope["type"] == "http" else send)


def _keeping(scope: Scope) -> str:
    if not scope["path"].startswith(f"{STATIC}/"):
        return "no-store"
    # An address with its content's digest never means anything else.
    return "public, max-age=31536000, immutable" if b"v=" in scope["query_string"] else "no-cache"

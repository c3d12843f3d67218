"""Routes for Envoys that run elsewhere: REST xDS (v3), at a port of its own that no route leads to.

Who may ask: whoever has the token. It gives out where everybody's servers are, and who asks decides how long
others wait, so a network policy alone is not enough. Envoy sends no header of ours with such a question, and takes
the path from the protocol's own definition. What is ours to choose is its `node`, which it says in each body.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any

import uvicorn
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dure_hub.dataplane.answering import Answers, Question
from dure_hub.dataplane.asking import CLUSTERS, ROUTES
from dure_hub.dataplane.files import Files
from dure_hub.dataplane.taking import xds_token
from dure_hub.settings import Settings

LIMIT = 2**20
"""Bytes of one question; Envoy's have 80 kB."""

_TOLD_EVERY_S = 60.0
_GRACE_S = 3
_log = logging.getLogger(__name__)


class _Node(BaseModel):
    id: str = ""
    metadata: dict[str, Any] = {}


class _Detail(BaseModel):
    message: str = ""


class _Asked(BaseModel):
    """A DiscoveryRequest, as far as we read it."""

    version_info: str = ""
    node: _Node = _Node()
    error_detail: _Detail = _Detail()


class Discovery:
    """The application, and what is to run beside it."""

    def __init__(self, settings: Settings) -> None:
        self.answers = Answers(Files(settings.folder))
        self._token = xds_token(settings).encode()
        self._refused: dict[str, float] = {}
        paths = {kind: f"/v3/discovery:{kind}" for kind in (CLUSTERS, ROUTES)}
        self.app = Starlette(
            routes=[
                Route(path, self._endpoint(kind), methods=["POST"], include_in_schema=False)
                for kind, path in paths.items()
            ]
        )

    def _endpoint(self, kind: str) -> Any:
        async def answer(request: Request) -> Response:
            address = request.client.host if request.client else ""
            body = await _body(request)
            if body is None:
                return Response(status_code=413)
            try:
                asked = _Asked.model_validate_json(body)
            except ValidationError:
                return Response(status_code=400)
            if not self._may(asked, address):
                return Response(status_code=403)
            question = _question(asked, kind, address)
            text = await self.answers.answer(question, request.is_disconnected)
            if text is None:
                return Response(status_code=304)
            return Response(text, media_type="application/json")

        return answer

    def _may(self, asked: _Asked, address: str) -> bool:
        shown = str(asked.node.metadata.get("token", "")).encode()
        if hmac.compare_digest(shown, self._token):
            return True
        now = time.monotonic()
        if now - self._refused.get(address, -_TOLD_EVERY_S) >= _TOLD_EVERY_S:
            self._refused = {address: now}  # an Envoy with another token asks ten times a second
            _log.warning("%s asked for routes without the token that xds_token_file names", address)
        return False


@asynccontextmanager
async def answering(settings: Settings) -> AsyncIterator[None]:
    """Answer such Envoys, if there may be any, for as long as the body runs; the body ends if that fails."""
    if not settings.xds_port:
        yield
        return
    discovery = Discovery(settings)
    config = uvicorn.Config(
        discovery.app,
        host=settings.own_host,
        port=settings.xds_port,
        access_log=False,
        log_config=None,
        lifespan="off",
        proxy_headers=False,  # who asks is who connects
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Beside(config)
    discovery.answers.keep()  # from now on it is waited for
    async with asyncio.TaskGroup() as group:
        watch = group.create_task(discovery.answers.watch())
        group.create_task(server.serve())
        try:
            yield
        finally:
            server.should_exit = True
            watch.cancel()


class _Beside(uvicorn.Server):
    """One that leaves signals to the service that it runs beside."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


def _question(asked: _Asked, kind: str, address: str) -> Question:
    port = asked.node.metadata.get("statistics", 0)  # Envoy knows numbers as floats alone
    return Question(
        envoy=f"{asked.node.id}@{address}",
        kind=kind,
        version=asked.version_info,
        reason=asked.error_detail.message,
        address=address,
        statistics=int(port) if isinstance(port, int | float) else 0,
    )


async def _body(request: Request) -> bytes | None:
    """The whole body; None where it is too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LIMIT:
            return None
    return body

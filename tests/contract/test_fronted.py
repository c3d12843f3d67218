"""By network MLflow and Voila answer Envoy alone, which shows a key; by their own socket all who can open it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect

from dure_hub.supervisor.fronted import HEADER, FrontedApp, FrontedServer
from dure_hub.supervisor.sockets import listen, listen_at

KEY = "a key of these tests"
pytestmark = pytest.mark.timeout(60)


async def said(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers anything."""
    if scope["type"] == "lifespan":
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"said"})


class Names(RequestHandler):
    """Says which headers it was given, and how much."""

    def post(self) -> None:
        names = sorted(name.lower() for name in self.request.headers)
        self.write(json.dumps({"names": names, "length": len(self.request.body)}))

    get = post


class Echo(WebSocketHandler):
    """Echoes."""

    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message)


@asynccontextmanager
async def asgi(socket: Path) -> AsyncIterator[str]:
    by_network = listen_at("127.0.0.1", 0)
    config = uvicorn.Config(FrontedApp(said, KEY), lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listen(socket), by_network]))
    try:
        async with asyncio.timeout(20):
            while not server.started:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield f"127.0.0.1:{by_network.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def tornado() -> AsyncIterator[str]:
    by_network = listen_at("127.0.0.1", 0)
    by_network.setblocking(False)
    server = HTTPServer(FrontedServer(Application([(r"/ws", Echo), (r".*", Names)]), KEY))
    server.add_socket(by_network)
    try:
        yield f"127.0.0.1:{by_network.getsockname()[1]}"
    finally:
        server.stop()
        await server.close_all_connections()


async def status(address: str, **more: Any) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"http://{address}/x", **more)).status_code


@pytest.mark.parametrize("shown", [{}, {HEADER: ""}, {HEADER: "another"}, {HEADER: KEY + "x"}, {HEADER: "é"}])
async def test_who_does_not_show_the_key_is_not_answered(tmp_path: Path, shown: dict[str, str]) -> None:
    sent = {name: value.encode() for name, value in {**shown, "x-dure-user": "admin"}.items()}
    async with asgi(tmp_path / "s") as one, tornado() as other:
        assert await status(one, headers=sent) == 403
        assert await status(other, headers=sent) == 403


async def test_who_shows_it_is_and_so_is_who_opens_the_socket(tmp_path: Path) -> None:
    async with asgi(tmp_path / "s") as one, tornado() as other:
        assert await status(one, headers={HEADER: KEY}) == 200
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(tmp_path / "s"))) as own:
            assert (await own.get("http://localhost/x")).text == "said"
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"http://{other}/x"
            answer = (await client.post(url, headers={HEADER: KEY}, content=b"x" * 100_000)).json()
            assert answer["length"] == 100_000
            assert HEADER not in answer["names"], "nobody behind it learns the key"
            refused = await client.post(url, content=b"x" * 100_000)
            again = await client.get(url, headers={HEADER: KEY})
            assert (refused.status_code, again.status_code) == (403, 200)


async def test_a_websocket_needs_it_too(tmp_path: Path) -> None:
    from tornado.httpclient import HTTPClientError, HTTPRequest

    async with asgi(tmp_path / "s") as one, tornado() as other:
        for address in (one, other):
            with pytest.raises(HTTPClientError, match="403"):
                await websocket_connect(f"ws://{address}/ws")
        held = await websocket_connect(HTTPRequest(f"ws://{other}/ws", headers={HEADER: KEY}))
        await held.write_message("hello")
        assert await held.read_message() == "hello"
        held.close()

"""The model server: `python -m dure.server --model FOLDER --port N --name NAME --version V`, on loopback only.

`POST /invocations` takes MLflow's `{"inputs": [[…], …]}`, `POST /v2/models/NAME/infer` the Open Inference
Protocol. After SIGTERM it goes on serving for a moment while it asks clients to leave, then ends when the last
request is answered: nothing that was accepted is dropped.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from dure.errors import BadRequest, DureError, NotFound
from dure.serving import Model

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_LIMIT = 32 << 20
SO_ATTACH_FILTER = 26
"""From asm-generic/socket.h of Linux; Python's socket module does not name it."""
DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte of the TCP header that has the flags
    (0x45, 0, 1, 0x02),  # SYN?
    (0x06, 0, 0, 0),  # yes: keep nothing of it
    (0x06, 0, 0, 0xFFFFFFFF),  # no: keep all
)
"""Classic BPF (linux/bpf_common.h). Only SYN: whoever shakes hands at this moment may finish that."""
QUIET_S = 0.1
"""How long nobody must have come for the line to be empty: a handshake on loopback takes far less."""
LINGER_S = 2.0
"""How long it still takes requests after SIGTERM, each answered with `connection: close`."""
KEEP_ALIVE_S = 3600
"""Longer than any proxy keeps an idle connection: the proxy closes first, so no request meets a closed one."""


class TooLarge(DureError):
    """A body beyond the limit."""

    code, status = "body_too_large", 413
    message = {
        "en": "The request has more than {limit_mb} MiB.",
        "ko": "요청이 {limit_mb} MiB를 넘습니다.",
    }
    next_step = {"en": "Send fewer rows at a time.", "ko": "한 번에 보내는 행을 줄이세요."}


class WrongMethod(DureError):
    """A path that exists, by another method."""

    code, status = "wrong_method", 405
    message = {"en": "{path} does not take {method}.", "ko": "{path}은(는) {method} 요청을 받지 않습니다."}
    next_step = {"en": "Use {allowed}.", "ko": "{allowed}을(를) 사용하세요."}


class Application:
    """Routes of one model. A plain ASGI application: nothing to import means ready sooner."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.draining = False
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="inference")
        base = f"/v2/models/{model.name}"
        self._gets: dict[str, Callable[[], tuple[int, Any]]] = {
            "/health": lambda: (200, {"status": "ok"}),
            "/ready": self._ready,
            "/v2/health/live": lambda: (200, {"live": True}),
            "/v2/health/ready": self._ready,
            "/v2": lambda: (200, {"name": "dure", "version": "1", "extensions": []}),
            base: self._metadata,
            f"{base}/ready": self._ready,
        }
        self._posts: dict[str, Callable[[Any], Any]] = {
            "/invocations": self.invocations,
            f"{base}/infer": self.infer,
            f"{base}/versions/{model.version}/infer": self.infer,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise ValueError(f"no {scope['type']} here")
        try:
            status, body = await self._answer(scope["method"], scope["path"], receive)
        except DureError as error:
            status, body = error.status, error.to_wire(_language(scope))
        content = json.dumps(body, ensure_ascii=False).encode()
        headers = [
            (b"content-type", b"application/json; charset=utf-8"),
            (b"content-length", str(len(content)).encode()),
            (b"x-dure-model-version", self.model.version.encode()),
        ]
        if self.draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, method: str, path: str, receive: Receive) -> tuple[int, Any]:
        path = path.rstrip("/") or "/"
        if path in self._gets:
            if method not in ("GET", "HEAD"):
                raise WrongMethod(path=path, method=method, allowed="GET")
            return self._gets[path]()
        if path not in self._posts:
            raise NotFound(kind="path", name=path)
        if method != "POST":
            raise WrongMethod(path=path, method=method, allowed="POST")
        body = parse(await read(receive))
        # In a thread: a long prediction must not keep the readiness check waiting.
        return 200, await asyncio.get_running_loop().run_in_executor(self._threads, self._posts[path], body)

    def invocations(self, body: Any) -> Any:
        """MLflow's form of a request."""
        given = [body[key] for key in ("inputs", "instances") if key in body]
        if len(given) != 1:
            raise self.model.bad(f"a body with {sorted(body)}", "it holds `inputs` (or `instances`) once")
        return {"predictions": self.model.predict(given[0]), "model_version": self.model.version}

    def infer(self, body: Any) -> Any:
        """The Open Inference Protocol's form, with one input tensor."""
        inputs = body.get("inputs")
        if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
            raise self.model.bad(f"a body with {sorted(body)}", "`inputs` is a list of one tensor")
        rows = _shaped(self.model, inputs[0])
        found = self.model.predict(rows)
        text = any(isinstance(value, str) for value in found)
        whole = all(isinstance(value, int) for value in found)
        width = [len(found[0])] if isinstance(found[0], list) else []
        output = {
            "name": "predictions",
            "shape": [len(found), *width],
            "datatype": "BYTES" if text else "INT64" if whole else "FP32",
            "data": [part for row in found for part in row] if width else found,
        }
        answer = {"model_name": self.model.name, "model_version": self.model.version, "outputs": [output]}
        return answer | ({"id": body["id"]} if isinstance(body.get("id"), str) else {})

    def _ready(self) -> tuple[int, Any]:
        return (503 if self.draining else 200), {"ready": not self.draining, "model_version": self.model.version}

    def _metadata(self) -> tuple[int, Any]:
        rows = {"name": "rows", "datatype": self.model.dtype, "shape": [-1, *self.model.shape]}
        out = {"name": "predictions", "datatype": "BYTES" if self.model.classes else "FP32", "shape": [-1]}
        described = {"platform": "pytorch", "versions": [self.model.version], "inputs": [rows], "outputs": [out]}
        return 200, {"name": self.model.name, **described}


class Server(uvicorn.Server):
    """uvicorn, but SIGTERM first asks clients to leave while every request is still answered."""

    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self.application = application

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first SIGTERM starts the drain; any further signal ends it."""
        if sig != signal.SIGTERM or self.application.draining:
            super().handle_exit(sig, frame)
            return
        self.application.draining = True
        # A signal handler runs between two steps of the loop, which must be woken for the timer to count.
        loop = asyncio.get_event_loop()
        loop.call_soon_threadsafe(loop.call_later, LINGER_S, self._leave)

    def _leave(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer whoever has connected by now; each answer closes its connection, so they become fewer."""
        deadline = time.monotonic() + LINGER_S
        listeners = [listener for server in self.servers for listener in server.sockets]
        for listener in listeners:
            take_no_more(listener)
        # Who stands in the line of a closed listener is cut off: first the loop must have let everybody in.
        came = time.monotonic()
        while came + QUIET_S > (now := time.monotonic()) and now < deadline:
            came = now if select.select(listeners, [], [], 0)[0] else came
            await asyncio.sleep(0.001)
        for server in self.servers:
            server.close()
        while self.server_state.connections and not self.force_exit and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)


def take_no_more(listener: Any) -> None:
    """Let the kernel drop first packets, so that nobody joins the line between a look at it and its end.

    Newcomers try again and are refused, as by any server that has left. Linux's alone (socket(7),
    SO_ATTACH_FILTER; a filter sees the packet from its TCP header on); elsewhere a small gap remains, and where
    the kernel lets root alone filter.
    """
    if sys.platform != "linux":
        return
    steps = b"".join(struct.pack("HBBI", *step) for step in DROP_SYN)
    kept = ctypes.create_string_buffer(steps)
    program = struct.pack("HP", len(DROP_SYN), ctypes.addressof(kept))
    with contextlib.suppress(PermissionError):
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


async def read(receive: Receive) -> bytes:
    """The whole body, up to the limit."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = bool(message.get("more_body", False))
        if len(body) > BODY_LIMIT:
            raise TooLarge(limit_mb=BODY_LIMIT >> 20)
    return bytes(body)


def parse(content: bytes) -> dict[str, Any]:
    """A body as a JSON object."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise Unreadable(field="body", value=repr(content[:40]), rule="it is one JSON object") from None
    if not isinstance(body, dict):
        raise Unreadable(field="body", value=type(body).__name__, rule="it is one JSON object")
    return body


class Unreadable(BadRequest):
    """Not JSON, or not an object."""

    code, status = "unreadable", 400


def _shaped(model: Model, tensor: dict[str, Any]) -> Any:
    """The data of a v2 tensor as rows: it may come flat, with its shape beside it."""
    data, shape = tensor.get("data"), tensor.get("shape")
    if not isinstance(data, list) or not isinstance(shape, list) or not all(type(n) is int for n in shape):
        raise model.bad("the tensor", "it has `shape` (whole numbers) and `data` (a list)")
    if tuple(shape[1:]) != model.shape or not shape or shape[0] < 1:
        raise model.bad(f"shape {shape}", f"the shape is [rows, {', '.join(map(str, model.shape))}]")
    if len(data) == shape[0] and (not model.shape or isinstance(data[0], list)):
        return data
    width = len(data) // shape[0]
    if any(isinstance(part, list) for part in data) or width * shape[0] != len(data) or len(model.shape) != 1:
        raise model.bad(f"data of {len(data)} entries", f"it does not fill the shape {shape}")
    return [data[start : start + width] for start in range(0, len(data), width)]


def _language(scope: Scope) -> str:
    wanted = next((value for name, value in scope["headers"] if name == b"accept-language"), b"")
    return "ko" if wanted.lower().startswith(b"ko") else "en"


def main(words: list[str] | None = None) -> int:
    """Load the model and serve it until SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m dure.server", description="Serve one saved model on loopback."
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of the saved model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True)
    chosen = parser.parse_args(words)
    try:
        model = Model(chosen.model, chosen.name, chosen.version)
    except DureError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    application = Application(model)
    config = uvicorn.Config(
        application,
        host="127.0.0.1",
        port=chosen.port,
        access_log=False,
        log_level="warning",
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=25,
        server_header=False,
    )
    server = Server(config, application)
    sys.stdout.write(f"Serving {model.name} version {model.version} on port {chosen.port}\n")
    sys.stdout.flush()
    server.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Kernels of a running portal, spoken to through its front port with their owner's token."""

from __future__ import annotations

import json
import time

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from dure.wire.ids import new_id
from tests.e2e.portal import Portal


def kernel_socket(portal: Portal, lease: str = "*", server: str = "") -> ClientConnection:
    """A kernel in a server of ana's, which is her only one unless told by its lease, and a websocket to it."""
    record = next((portal.data / "run" / "server").glob(f"{lease}/spec.json"))
    token = json.loads(record.read_text())["secret"]
    base = f"{portal.url}/user/ana{'/' * bool(server)}{server}"
    made = httpx.post(f"{base}/api/kernels", headers={"Authorization": f"token {token}"}, json={}, timeout=30)
    assert made.status_code == 201, made.text
    address = base.replace("http", "ws") + f"/api/kernels/{made.json()['id']}/channels"
    return connect(address, additional_headers={"Authorization": f"token {token}"})


def compute(socket: ClientConnection, code: str, patience_s: float = 30) -> str:
    """Run `code` in the kernel over this very socket; what it printed."""
    message = {
        "header": {
            "msg_id": new_id(),
            "msg_type": "execute_request",
            "username": "",
            "session": "s",
            "version": "5.3",
        },
        "parent_header": {},
        "metadata": {},
        "channel": "shell",
        "content": {"code": code, "silent": False},
    }
    socket.send(json.dumps(message))
    printed = ""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        answer = json.loads(socket.recv(timeout=patience_s))
        if answer["parent_header"].get("msg_id") != message["header"]["msg_id"]:  # type: ignore[index]
            continue
        if answer["msg_type"] == "stream":
            printed += answer["content"]["text"]
        # The reply comes on another channel and may overtake what was printed; this cannot.
        if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
            return printed
    pytest.fail("the kernel did not answer")

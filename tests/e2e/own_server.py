"""Somebody's server in a whole portal, as its owner uses it: kernels, terminals, files."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from websockets.sync.client import connect

from dure.wire.ids import new_id
from tests.e2e.kernels import compute
from tests.e2e.portal import Portal, until


@dataclass
class OwnServer:
    """Of one person, who has no other."""

    portal: Portal
    client: httpx.Client
    owner: str = "ana"
    token: str = ""

    @property
    def home(self) -> Path:
        """Their folder."""
        return self.portal.data / "users" / self.owner

    @property
    def base(self) -> str:
        """The server's address."""
        return f"{self.portal.url}/user/{self.owner}"

    @property
    def headers(self) -> dict[str, str]:
        """What opens it."""
        return {"Authorization": f"token {self.token}"}

    def start(self) -> None:
        """Ask for it, and wait until it runs."""
        answer = self.client.post("/environments", json={"id": new_id(), "profile": "cpu"})
        assert answer.status_code == 202, answer.text
        until(lambda: self.phase() == "running", lambda: f"their server{self.portal.logs()}", timeout=120)
        (self.token,) = [one["secret"] for one in self.records()]

    def records(self) -> list[dict[str, str]]:
        """What the portal has on disk of their servers."""
        specs = [json.loads(one.read_text()) for one in (self.portal.data / "run" / "server").glob("*/spec.json")]
        return [spec for spec in specs if spec["owner"] == self.owner]

    def phase(self) -> str:
        """How far it is."""
        answer = self.client.get("/environments/default")
        return str(answer.json()["phase"]) if answer.status_code == 200 else "none"

    def stop(self) -> None:
        """Stop it, and wait until nothing of it is left."""
        assert self.client.delete("/environments/default").status_code in (202, 204)
        until(lambda: not self.records(), "their server to be gone", timeout=60)

    def restart(self) -> None:
        """Stop it, and start it anew."""
        self.stop()
        self.start()

    def kernel(self) -> str:
        """Of a new one, the id."""
        made = httpx.post(f"{self.base}/api/kernels", headers=self.headers, json={}, timeout=60)
        return str(made.raise_for_status().json()["id"])

    def run(self, code: str) -> str:
        """What this prints in a new kernel."""
        address = f"{self.base.replace('http', 'ws')}/api/kernels/{self.kernel()}/channels"
        with connect(address, additional_headers=self.headers) as socket:
            return compute(socket, code, patience_s=90)

    def type(self, line: str, last: str, patience_s: float = 60) -> str:
        """What a new terminal shows after this line, up to the word `last`, which the line may not hold."""
        made = httpx.post(f"{self.base}/api/terminals", headers=self.headers, json={}, timeout=30)
        name = made.raise_for_status().json()["name"]
        address = f"{self.base.replace('http', 'ws')}/terminals/websocket/{name}"
        said, deadline = "", time.monotonic() + patience_s
        with connect(address, additional_headers=self.headers) as socket:
            socket.send(json.dumps(["stdin", f"{line}\r"]))
            while last not in said:
                kind, *text = json.loads(socket.recv(timeout=max(deadline - time.monotonic(), 0.1)))
                said += str(text[0]) if kind == "stdout" else ""
        httpx.delete(f"{self.base}/api/terminals/{name}", headers=self.headers, timeout=30).raise_for_status()
        return said

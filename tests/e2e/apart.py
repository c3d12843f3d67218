"""People with accounts of their own in a whole portal: each has a server, a kernel, and what they try with it."""

from __future__ import annotations

import json
import pwd
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

from dure.wire.ids import new_id
from dure_hub.policies.naming import account_name
from tests.e2e.kernels import compute
from tests.e2e.portal import until
from tests.support.accounts import ApartPortal

ATTEMPTS = Path(__file__).parents[1] / "contract" / "backends" / "attempts.py"
REFUSALS = (401, 403, 404)
REFUSED = ("PermissionError", "FileNotFoundError", "ConnectionRefusedError")
"""What an attempt on somebody else's may come to."""


@dataclass
class Someone:
    """A person with a token, a server and a kernel."""

    name: str
    client: httpx.Client
    portal: ApartPortal
    lease: str = ""
    token: str = ""
    kernel: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def user(self) -> pwd.struct_passwd:
        """Their account as the system has it."""
        return pwd.getpwnam(account_name(str(self.portal.settings["system_account_prefix"]), self.name))

    @property
    def home(self) -> Path:
        """Their folder."""
        return self.portal.data / "users" / self.name

    def start(self) -> None:
        """A server, and a kernel in it."""
        asked = {"id": new_id(), "profile": "cpu"}
        answer = self.client.post("/environments", json=asked)
        assert answer.status_code == 202, answer.text

        def running() -> dict[str, Any] | None:
            seen: dict[str, Any] = self.client.get("/environments/default").json()
            assert seen["phase"] != "failed", f"{seen}{self.portal.logs()}"
            return seen if seen["phase"] == "running" else None

        found = until(running, f"{self.name}'s server", timeout=120)
        assert found is not None
        for record in (self.portal.data / "run" / "server").glob("*/spec.json"):
            spec = json.loads(record.read_text())
            if spec["owner"] == self.name:
                self.lease, self.token = spec["lease"], spec["secret"]
        base, headers = f"{self.portal.url}/user/{self.name}", {"Authorization": f"token {self.token}"}
        made = httpx.post(f"{base}/api/kernels", headers=headers, json={}, timeout=60)
        assert made.status_code == 201, made.text
        self.kernel = base.replace("http", "ws") + f"/api/kernels/{made.json()['id']}/channels"
        said = self.run("import os, json; print(json.dumps([os.getpid(), os.getppid(), os.getuid()]))")
        self.facts = dict(zip(("kernel", "server", "uid"), json.loads(said), strict=True))

    def run(self, code: str) -> str:
        """What this prints in their kernel."""
        with connect(self.kernel, additional_headers={"Authorization": f"token {self.token}"}) as socket:
            return compute(socket, code, patience_s=60)

    def tries(self, *attempts: tuple[str, Any]) -> list[Any]:
        """What comes of these in their kernel."""
        text = ATTEMPTS.read_text().partition("def status(")[0]
        code = f"{text}\nprint(json.dumps([tried(*one) for one in {list(attempts)!r}]))"
        return list(json.loads(self.run(code).splitlines()[-1]))


def is_shut(answer: httpx.Response) -> bool:
    """Whether a server of somebody else's answered with nothing: a refusal, or the way to a login."""
    login = "/hub/api/oauth2/authorize?"
    to_login = answer.status_code == 302 and answer.headers["location"].startswith(login) and not answer.text
    return to_login or answer.status_code in (*REFUSALS, 405)

"""A portal for the SDK's tests: it answers as told and remembers what was asked. Its time passes at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from dure.client import Client, use

Answer = httpx.Response | Exception | dict[str, Any] | list[Any]
URL = "http://portal.test"


class FakePortal:
    """Routes by `"METHOD /path"`; a list of answers is given one after the other, the last for ever."""

    def __init__(self, routes: dict[str, Any]) -> None:
        self.routes = routes
        self.asked: list[httpx.Request] = []
        self.bodies: list[Any] = []
        self.time = 0.0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.asked.append(request)
        content = request.read()
        self.bodies.append(json.loads(content) if content[:1] in (b"{", b"[") else content)
        answer = self.routes[f"{request.method} {request.url.path}"]
        if isinstance(answer, Queue):
            answer = answer.next()
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def paths(self, method: str) -> list[str]:
        """What was asked by this method."""
        return [request.url.path for request in self.asked if request.method == method]

    def pass_time(self, seconds: float) -> None:
        """Sleep without sleeping."""
        self.time += seconds

    def client(self, **options: Any) -> Client:
        """A client of this portal."""
        transport = httpx.MockTransport(self)
        clock: Callable[[], float] = lambda: self.time  # noqa: E731
        return Client(URL, "secret-token", transport=transport, sleep=self.pass_time, now=clock, **options)


class Queue:
    """Answers one after the other; the last stays."""

    def __init__(self, *answers: Any) -> None:
        self.answers = [*answers]

    def next(self) -> Any:
        """The next one."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def portal(routes: dict[str, Any]) -> Iterator[FakePortal]:
    """The SDK speaks to this portal inside the block."""
    fake = FakePortal(routes)
    use(fake.client())
    try:
        yield fake
    finally:
        use(None)


JOB: dict[str, Any] = {
    "id": "01JD0000000000000000000000",
    "name": "train-a1",
    "owner": "ana",
    "profile": "cpu",
    "state": "queued",
    "entry": "entry.py:train",
    "processes": 2,
    "device": "cpu",
    "created_at": "2026-11-22T00:00:00Z",
    "from_a_newer_portal": True,
}


def job(state: str, **more: Any) -> dict[str, Any]:
    """A job as the portal shows it."""
    return {**JOB, "state": state, **more}


def replica(version: int, role: str = "champion", phase: str = "ready", percent: int = 100) -> dict[str, Any]:
    """One served version."""
    return {"version": version, "role": role, "phase": phase, "percent": percent}


def endpoint(state: str = "ready", **more: Any) -> dict[str, Any]:
    """An endpoint as the portal shows it."""
    shown = {"name": "digits", "owner": "ana", "model": "digits", "profile": "cpu", "state": state}
    return {**shown, "url": "/serve/digits/", "created_at": "2026-11-22T00:00:00Z", **more}


def error(status: int, code: str, **facts: Any) -> httpx.Response:
    """An error in the API's shape."""
    body = {"code": code, "message": f"message of {code}", "next_step": "do this", "facts": facts}
    return httpx.Response(status, json={"error": body})

"""A start for somebody whom the hub has not met."""

from __future__ import annotations

from pathlib import Path

import httpx

from dure_hub.hubapi import HubApi
from dure_hub.settings import Settings


async def test_two_first_starts_at_once_are_both_made(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, hub_port=1)
    settings.folder.create()
    (settings.folder.secrets / "portal-token").write_text("secret")
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/hub/api")
        asked.append(path)
        if path == "/users/ana":  # the other start was first
            return httpx.Response(409, json={"message": "User ana already exists"})
        return httpx.Response(404 if len(asked) == 1 else 201)

    hub = HubApi(settings, httpx.MockTransport(answer))
    await hub.start_server("ana", "second", {})
    assert asked == ["/users/ana/servers/second", "/users/ana", "/users/ana/servers/second"]
    await hub.close()

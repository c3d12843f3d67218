"""The addresses by which the portal has a server made ready for its end, and by which pages answer."""

from __future__ import annotations

import hmac
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError, authenticated

from dure_lab.ending import CHECKPOINT, Ending

HOOK_S = 60.0
"""How long the owner's program may take at a checkpoint that does not say it."""
LONGEST_HOOK_S = 3600.0
_WORDS = 4096
_PATHS = 1000


class OfTheEnding(APIHandler):
    """What these have in common. None of it is use of the server: else asking would put off an idle end."""

    auth_resource = "dure"
    _track_activity = False

    def initialize(self, ending: Ending) -> None:
        self.ending = ending

    def body(self) -> dict[str, Any]:
        """The request's; an empty one where there is none."""
        found = self.get_json_body()
        if found is not None and not isinstance(found, dict):
            raise HTTPError(400, "the body is one JSON object")
        return found or {}

    def text(self, name: str, default: str | None = None) -> str:
        """A text of the body."""
        found = self.body().get(name, default)
        if not isinstance(found, str) or len(found) > _WORDS or "\0" in found:
            raise HTTPError(400, f"{name} is a text of at most {_WORDS} characters")
        return found

    def hook_s(self, default: float | None = None) -> float:
        """The time that the owner's program may take."""
        found = self.body().get("hook_seconds", default)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= LONGEST_HOOK_S:
            raise HTTPError(400, f"hook_seconds is a number from 0 to {LONGEST_HOOK_S:.0f}")
        return float(found)


class BeforeStop(OfTheEnding):
    """For the portal alone, which shows the server's own token: no page has that, whatever cookie it has."""

    @authenticated
    @authorized
    async def post(self) -> None:
        """Let pages save and run the owner's program: body {"reason", "ends_at", "hook_seconds"}."""
        own: str = self.identity_provider.token
        shown: str = _token(self.request.headers.get("Authorization", ""))
        if not own or not hmac.compare_digest(own.encode(), shown.encode()):
            raise HTTPError(403, "only the server's own token may ask for this")
        reason, ends_at = self.text("reason"), self.text("ends_at")
        self.finish(await self.ending.run(reason, ends_at, self.hook_s()))


class Checkpoint(OfTheEnding):
    """The same for its owner, at any time, and nothing ends."""

    @authenticated
    @authorized
    async def post(self) -> None:
        """Body {"hook_seconds"}, which may be left out."""
        self.finish(await self.ending.run(CHECKPOINT, "", self.hook_s(HOOK_S)))


class Saved(OfTheEnding):
    """The answer of a page."""

    @authenticated
    @authorized
    def post(self) -> None:
        """Body {"id", "page", "saved": [paths], "failed": [paths]}."""
        number, page = self.text("id"), self.text("page")
        if not self.ending.answered(number, page, self._paths("saved"), self._paths("failed")):
            raise HTTPError(404, "nobody waits for this answer any more")
        self.set_status(204)
        self.finish()

    def _paths(self, name: str) -> list[str]:
        found = self.body().get(name)
        if not isinstance(found, list) or len(found) > _PATHS or not all(isinstance(one, str) for one in found):
            raise HTTPError(400, f"{name} is a list of at most {_PATHS} paths")
        return [one[:_WORDS] for one in found]


def _token(header: str) -> str:
    """What an Authorization header shows; empty where it shows none."""
    kind, _, token = header.partition(" ")
    return token.strip() if kind.lower() in ("token", "bearer") else ""

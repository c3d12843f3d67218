"""Before a server is ended on purpose, it is asked to save, and what it says is kept: its receipt.

Portal and hub both ask, whichever ends it. That a server is asked is on its row before it is, so it is asked once:
who comes later waits for the answer, or for what is left of the time where the one who asked was killed, and then
goes on. Nothing of this keeps a server from its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from dure_hub.backends.base import Handle, Phase, ServerBackend, hook_s
from dure_hub.operations import environment_rows as rows
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Environment, Lease

log = logging.getLogger(__name__)

_NAMES, _NAME, _OUTPUT = 100, 300, 4096
_MOST = 1_000_000
_LOOK_S = 0.2
_NEVER_RAN = ("start_failed", "unclaimed")


@dataclass(frozen=True)
class Left:
    """For how long a server may save, and when it ends at the latest; whether another process has `asked` it."""

    seconds: float
    ends_at: datetime
    asked: bool


class BeforeStop:
    """Asks servers that are about to be stopped."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, servers: ServerBackend) -> None:
        self._settings, self._store, self._clock, self._servers = settings, store, clock, servers

    async def ask(self, handle: Handle, reason: str) -> None:
        """Ask, for at most `before_stop_s`, and keep the answer. Raises nothing of what goes wrong with that.

        Asks nothing of a server that was never ready, and none twice: one that was asked by another process is
        only waited for.
        """
        if not self._settings.before_stop_s:
            return
        left = await self._store.run(partial(self._begin, lease_id=handle.lease, reason=reason))
        if left is None:
            return
        if left.asked:
            await self._wait(handle, left.seconds)
            return
        answer = None
        try:
            async with asyncio.timeout(left.seconds):
                told = left.ends_at.isoformat()
                answer = await self._servers.before_stop(handle, reason, told, hook_s(left.seconds))
        except TimeoutError:
            log.warning("lease %s: its server said nothing for %s s, and is stopped", handle.lease, left.seconds)
        except Exception:  # whatever this is, the server ends
            log.exception("lease %s: its server could not be asked, and is stopped", handle.lease)
        await self._store.run(partial(self._keep, lease_id=handle.lease, answer=answer))

    async def _wait(self, handle: Handle, seconds: float) -> None:
        """Until who has asked has its answer, the server is gone, or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                while not await self._store.read(partial(_answered, lease_id=handle.lease)):
                    if (await self._servers.poll(handle)).phase is not Phase.RUNNING:
                        return
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            log.warning("lease %s: nobody heard what its server saved, and it is stopped", handle.lease)

    def _begin(self, session: Session, *, lease_id: str, reason: str) -> Left | None:
        row = _row(session, lease_id)
        if row is None or row.active_at is None or reason in _NEVER_RAN:
            return None
        now, limit_s, before = self._clock(), self._settings.before_stop_s, row.receipt
        if before is None:
            row.receipt = {"reason": reason, "asked_at": now.isoformat()}
        elif "answered" in before:
            return None
        else:
            asked_s = (now - datetime.fromisoformat(before["asked_at"])).total_seconds()
            limit_s = limit_s - max(asked_s, 0.0)
        ends_at = now + timedelta(seconds=limit_s)
        return Left(limit_s, ends_at, before is not None) if limit_s > 0 else None

    def _keep(self, session: Session, *, lease_id: str, answer: Mapping[str, Any] | None) -> None:
        row = _row(session, lease_id)
        if row is None or row.receipt is None:
            return
        now, asked = self._clock(), row.receipt
        if answer is None:
            row.receipt = {**asked, "answered": False}
            return
        kept = receipt_of(answer)
        row.receipt = {**asked, "answered": True, "at": now.isoformat(), **kept}
        verdict = {"code": asked["reason"], "facts": facts_of(kept)}
        thing = rows.thing(row)
        record(session, now, PORTAL, "environment.receipt", thing, verdict, row.owner)


def receipt_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of an answer, which its owner may have made up: of known shape and size; unknown is null."""
    hook = answer.get("hook")
    return {
        "saved": _names(answer.get("saved")),
        "failed": _names(answer.get("failed")),
        "pages": _count(answer.get("pages")),
        "silent": _count(answer.get("silent")),
        "hook": None
        if not isinstance(hook, dict)
        else {
            "exit": _whole(hook.get("exit")),
            "seconds": _seconds(hook.get("seconds")),
            "output": _text(hook.get("output"))[-_OUTPUT:],
        },
    }


def facts_of(kept: Mapping[str, Any]) -> dict[str, Any]:
    """What an event tells of it: how many, not which."""
    hook = kept["hook"]
    return {
        "saved": len(kept["saved"]),
        "failed": len(kept["failed"]),
        "pages": kept["pages"],
        "silent": kept["silent"],
        "hook": None if hook is None else {"exit": hook["exit"], "seconds": hook["seconds"]},
    }


def _row(session: Session, lease_id: str) -> Environment | None:
    lease = session.get(Lease, lease_id)
    return None if lease is None else rows.of_lease(session, lease)


def _answered(session: Session, *, lease_id: str) -> bool:
    """Whether nobody waits for an answer any more."""
    row = _row(session, lease_id)
    return row is None or row.receipt is None or "answered" in row.receipt


def _names(found: object) -> list[str]:
    return [_text(one)[:_NAME] for one in found[:_NAMES]] if isinstance(found, list) else []


def _whole(found: object) -> int | None:
    return found if type(found) is int and -_MOST <= found <= _MOST else None


def _count(found: object) -> int | None:
    number = _whole(found)
    return number if number is not None and number >= 0 else None


def _seconds(found: object) -> float | None:
    usable = isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found <= _MOST
    return float(found) if usable and isinstance(found, int | float) else None


def _text(found: object) -> str:
    """Without what no database keeps and no page shows."""
    return found.encode(errors="replace").decode().replace("\0", "") if isinstance(found, str) else ""

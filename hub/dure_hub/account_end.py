"""What ends with an account, as far as it can be reached now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from sqlalchemy.orm import Session

from dure.errors import DureError
from dure_hub.hubapi import HubApi
from dure_hub.operations import leaving
from dure_hub.settings import Settings
from dure_hub.store import Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.session import database_url

T = TypeVar("T")


async def end_everything_of(settings: Settings, name: str, actor: str | None = None) -> list[str]:
    """Revoke the person's own tokens, empty their places in the queue, pause their schedules, stop their servers.

    Scheduled notebooks that run are stopped too: their tokens may start more.

    Answers with a sentence for each part not reached: the reconciler stops what the hub could not be asked to.
    Jobs that run go on under the leases they were given, with the tokens of those leases, and so do endpoints:
    others use them, and an administrator can delete them.
    """
    await asyncio.to_thread(_write, settings, name, partial(_end, actor=actor or PORTAL))
    missing = []
    hub = HubApi(settings)
    try:
        for server in await hub.servers():
            if server.user == name:
                await hub.stop_server(name, server.name)
    except DureError as error:
        missing.append(str(error))
    finally:
        await hub.close()
    return missing


def sign_out(settings: Settings, name: str, actor: str | None = None) -> list[str]:
    """Revoke the person's own tokens, forget where notices are sent, pause their schedules; the names of those.

    Whoever held the account may have made or changed them. Tokens of what runs end with its lease.
    """
    return _write(settings, name, partial(_sign_out, actor=actor or PORTAL)) or []


def tell(
    settings: Settings, name: str, verb: str, actor: str | None, facts: Mapping[str, object] | None = None
) -> None:
    """Write what is about to be done to an account. Before the first `up` there is no place for it.

    It is told first and then done: a command killed between the two has told too much, never too little.
    """

    def write(session: Session, name: str, now: datetime) -> None:
        verdict = {"code": verb.partition(".")[2], "facts": dict(facts or {})}
        record(session, now, actor or PORTAL, verb, f"user:{name}", verdict)

    _write(settings, name, write)


def revoke_tokens_of_administrator(settings: Settings, name: str) -> None:
    """End the person's own tokens and keys with administrator's rights, which are theirs no more."""
    _write(settings, name, leaving.revoke_tokens_of_administrator)


def _write(settings: Settings, name: str, work: Callable[[Session, str, datetime], T]) -> T | None:
    if not settings.database_url and not (settings.folder.db / "dure.sqlite").exists():
        return None
    store = Store(database_url(settings))
    try:
        with store.transaction() as session:
            return work(session, name, datetime.now(UTC))
    finally:
        store.close()


def _sign_out(session: Session, name: str, now: datetime, actor: str) -> list[str]:
    record(session, now, actor, "account.reset", f"user:{name}")
    leaving.revoke_tokens(session, name, now, actor)
    return leaving.pause_schedules(session, name, now, "password_reset")


def _end(session: Session, name: str, now: datetime, actor: str) -> None:
    leaving.revoke_tokens(session, name, now, actor)
    record(session, now, actor, "account.disable", f"user:{name}")
    leaving.leave_queue(session, name, now)
    leaving.pause_schedules(session, name, now, "owner_disabled")
    leaving.stop_executions(session, name)
    leaving.end_leases(session, name, now, "stopped")

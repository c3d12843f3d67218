"""What ends with a disabled account, as far as it can be reached now."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from dure.errors import DureError
from dure_hub.hubapi import HubApi
from dure_hub.settings import Settings
from dure_hub.store import Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Token


async def end_everything_of(settings: Settings, name: str) -> list[str]:
    """Revoke the person's own tokens and stop their servers. Answers with a sentence for each part not reached.

    Jobs run on under the leases they were given, with the tokens of those leases.
    """
    missing = []
    if (settings.folder.db / "dure.sqlite").exists():
        await asyncio.to_thread(_revoke_tokens, settings, name)
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


def _revoke_tokens(settings: Settings, name: str) -> None:
    store = Store(f"sqlite:///{settings.folder.db / 'dure.sqlite'}")
    now = datetime.now(UTC)

    def write(session: Session) -> None:
        own = update(Token).where(Token.owner == name, Token.lease_id.is_(None), Token.revoked_at.is_(None))
        session.execute(own.values(revoked_at=now))
        record(session, now, PORTAL, "account.disable", f"user:{name}")

    try:
        with store.transaction() as session:
            write(session)
    finally:
        store.close()

"""When a lease ended, as exactly as anybody knows, and why one has not."""

from __future__ import annotations

import logging
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure.errors import DureError
from dure_hub.backends.base import Handle, Kind, Seen, ServerBackend
from dure_hub.operations.errors import EndsUnseen, StillEnding
from dure_hub.operations.leading import last_seen
from dure_hub.policies.ends import End, end
from dure_hub.store import Store
from dure_hub.store.models import Environment, Lease

log = logging.getLogger(__name__)


def end_of(lease: Lease, seen: Seen | None, looked_at: datetime, ran_at: datetime | None) -> End:
    """The end of this lease, of which a look found `seen`; `ran_at` is when it was last known to run."""
    if seen is not None:
        known = ran_at or lease.granted_at
        return end(looked_at, lease.granted_at, seen.ended_ago_s, None if seen.exact else known)
    # what nobody claimed was never there to end: it was held until now
    return end(looked_at, lease.granted_at, None, ran_at if lease.claimed_at is not None else None)


async def still_ending(store: Store, servers: ServerBackend, owner: str, name: str) -> StillEnding:
    """Why a server of this name cannot start yet: its last one still ends, and the place may know why."""

    def read(session: Session) -> Handle | None:
        query = select(Lease).join(Environment, Environment.lease_id == Lease.id)
        lease = session.scalar(query.where(Environment.owner == owner, Environment.name == name))
        return None if lease is None else Handle(lease.id, Kind.SERVER, lease.handle)

    handle, why = await store.read(read), None
    try:
        why = None if handle is None else await servers.lingers(handle)
    except DureError as error:
        log.info("why %s/%s has not ended is not known: %s", owner, name, error)
    return StillEnding(name=name) if why is None else EndsUnseen(name=name, why=why)


def end_told(
    session: Session, lease_id: str, seen: Seen | None, looked_at: datetime, ran_at: datetime | None
) -> End:
    """The same for the hub, which looks at its own servers; where the portal has seen more lately, that counts."""
    lease = session.get(Lease, lease_id)
    if lease is None or seen is None:
        return End(looked_at)
    known = [at for at in (ran_at, last_seen(session)) if at is not None]
    return end_of(lease, seen, looked_at, max(known, default=None))

"""When a lease ended, as exactly as anybody knows."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from dure_hub.backends.base import Seen
from dure_hub.operations.leading import last_seen
from dure_hub.policies.ends import End, end
from dure_hub.store.models import Lease


def end_of(lease: Lease, seen: Seen | None, looked_at: datetime, ran_at: datetime | None) -> End:
    """The end of this lease, of which a look found `seen`; `ran_at` is when it was last known to run."""
    if seen is not None:
        known = ran_at or lease.granted_at
        return end(looked_at, lease.granted_at, seen.ended_ago_s, None if seen.exact else known)
    # what nobody claimed was never there to end: it was held until now
    return end(looked_at, lease.granted_at, None, ran_at if lease.claimed_at is not None else None)


def end_told(
    session: Session, lease_id: str, seen: Seen | None, looked_at: datetime, ran_at: datetime | None
) -> End:
    """The same for the hub, which looks at its own servers; where the portal has seen more lately, that counts."""
    lease = session.get(Lease, lease_id)
    if lease is None or seen is None:
        return End(looked_at)
    known = [at for at in (ran_at, last_seen(session)) if at is not None]
    return end_of(lease, seen, looked_at, max(known, default=None))

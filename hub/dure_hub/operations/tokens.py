"""Tokens the portal mints: for jobs, and for people outside a notebook. The store keeps only their SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from dure.errors import Conflict, NotFound
from dure.wire.ids import new_id
from dure_hub.operations import login_rows
from dure_hub.operations.people import Person
from dure_hub.store import Clock, Store
from dure_hub.store.events import record
from dure_hub.store.models import Environment, Lease, TeamLead, Token

PREFIX = "dure_"
EXECUTION = "execution"
"""The purpose of a scheduled notebook's token."""
KEY, ENDPOINTS = "key:", "endpoints"
"""What begins a machine key's scopes, and where the served models that it may ask are beside them."""


@dataclass(frozen=True)
class Holder:
    """Who a token acts for; with `lease`, it is that of a job or an execution (`purpose`), and ends with it.

    The person's `team` is the one that pays for this lease. With `key`, it is the machine's key of that name.
    """

    person: Person
    lease: str | None
    purpose: str = ""
    key: str | None = None
    endpoints: frozenset[str] = frozenset()


class Tokens:
    """Mints, finds and revokes."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._used: dict[str, datetime] = {}
        """Last uses of keys that are not written yet, to the minute."""

    async def mint(
        self,
        owner: str,
        *,
        admin: bool,
        scopes: Iterable[str],
        purpose: str,
        lifetime_s: float,
        lease: str | None = None,
        actor: str | None = None,
        name: str | None = None,
        endpoints: Sequence[str] = (),
        mark: str = "",
    ) -> tuple[str, str]:
        """A new token: its id, and its text, which is shown this once and kept nowhere.

        With a `lease` it ends with the lease; raises `Conflict` where that has ended. One of a person's own is
        not for whom the login provider confirms no more: raises `LoginEnded`. With a `name` it is a key; raises
        `Conflict` where one of the owner's that lives has that name.
        """
        text = PREFIX + mark + secrets.token_urlsafe(32)
        held_scopes = {"scopes": sorted(scopes)} | ({ENDPOINTS: sorted(endpoints)} if endpoints else {})

        def write(session: Session) -> str:
            now = self._clock()
            if lease is None:
                login_rows.refuse_if_gone(session, owner)
            held = session.get(Lease, lease) if lease is not None else None
            if held is not None and held.ended_at is not None:
                raise Conflict(kind="token", name=purpose, rule="its lease has ended")
            if name is not None:
                _refuse_second(session, owner, name, now)
            row = Token(
                id=new_id(),
                digest=_digest(text),
                owner=owner,
                admin=admin,
                scopes=held_scopes,
                purpose=purpose,
                lease_id=lease,
                made_at=now,
                expires_at=now + timedelta(seconds=lifetime_s),
                name=name,
            )
            session.add(row)
            facts = {"purpose": purpose} | ({"name": name, **held_scopes} if name else {})
            record(session, now, actor or owner, "token.mint", f"token:{row.id}", facts, owner)
            return row.id

        return await self._store.run(write), text

    async def find(self, text: str) -> Holder | None:
        """Whose token this is; None if it is unknown, has expired or was revoked."""
        if not text.startswith(PREFIX):
            return None
        digest = _digest(text)
        query = (
            select(Token, Lease.team).outerjoin(Lease, Lease.id == Token.lease_id).where(Token.digest == digest)
        )
        found = await self._store.read(lambda session: session.execute(query).first())
        row, team = found if found is not None else (None, None)
        if row is None or not hmac.compare_digest(row.digest, digest):
            return None
        now = self._clock()
        if row.revoked_at is not None or now >= row.expires_at:
            return None
        if row.name is not None:
            self._used[row.id] = now.replace(second=0, microsecond=0)
        person = Person(row.owner, row.admin, frozenset(row.scopes.get("scopes", ())), team=team)
        return Holder(person, row.lease_id, row.purpose, row.name, frozenset(row.scopes.get(ENDPOINTS, ())))

    def used_at(self, token_id: str) -> datetime | None:
        """The last use of a key that is not written yet."""
        return self._used.get(token_id)

    async def keep_uses(self) -> None:
        """Write the last uses of keys; what cannot be written now is written with the next."""
        uses = dict(self._used)
        if not uses:
            return

        def write(session: Session) -> None:
            for token_id, at in uses.items():
                session.execute(update(Token).where(Token.id == token_id).values(used_at=at))

        await self._store.run(write)
        for token_id, at in uses.items():
            if self._used.get(token_id) == at:
                del self._used[token_id]

    async def team_of_server(self, owner: str, name: str) -> str | None:
        """The team that pays for a running server of this person; None where there is none."""
        query = (
            select(Lease.team)
            .join(Environment, Environment.lease_id == Lease.id)
            .where(Environment.owner == owner, Environment.name == name, Lease.ended_at.is_(None))
        )
        return await self._store.read(lambda session: session.scalar(query))

    async def leads_of(self, name: str) -> frozenset[str]:
        """The teams that this person was made a lead of."""
        query = select(TeamLead.team).where(TeamLead.name == name)
        return frozenset(await self._store.read(lambda session: session.scalars(query).all()))

    async def revoke(self, token_id: str, person: Person | None = None) -> None:
        """End one token now; of somebody else only as an administrator. Ending it twice is no error."""

        def write(session: Session) -> None:
            row = session.get(Token, token_id)
            if row is None or (person is not None and not person.admin and row.owner != person.name):
                raise NotFound(kind="token", name=token_id)
            if row.revoked_at is None:
                row.revoked_at = self._clock()
                actor = person.name if person else row.owner
                record(session, self._clock, actor, "token.revoke", f"token:{token_id}", None, row.owner)

        await self._store.run(write)


def _refuse_second(session: Session, owner: str, name: str, now: datetime) -> None:
    query = select(Token.id).where(Token.owner == owner, Token.name == name)
    if session.scalar(query.where(Token.revoked_at.is_(None), Token.expires_at > now).limit(1)) is not None:
        raise Conflict(kind="key", name=name, rule="a key of yours that lives has this name")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

"""Keys of machines: made with scopes and an end, shown once, revoked by owners and administrators.

They are tokens with a name. Their last use is remembered to the minute and written once a minute, not with each
call; the minute before a kill may be lost.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import NotAllowed
from dure_hub.operations.key_errors import ADMIN_ALONE, ENDPOINTS_ALONE, KeyMisfit, KeyTooLong
from dure_hub.operations.people import ADMIN, USE, Person
from dure_hub.operations.tokens import ENDPOINTS, KEY, Tokens
from dure_hub.policies.keys import FULL, PREDICT
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.models import Token

MARK = "key_"
FLUSH_S = 60


class Keys:
    """Makes, lists and revokes."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, tokens: Tokens) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._tokens = tokens

    async def create(self, person: Person, ask: wire.KeyRequest) -> wire.NewKey:
        """A new key of one's own. Raises `KeyTooLong`, `KeyMisfit`, `NotAllowed`, `Conflict`, `LoginEnded`."""
        longest_s = self._settings.key_lifetime_max_s
        lifetime_s = ask.lifetime_s or min(self._settings.key_lifetime_s, longest_s)
        if lifetime_s > longest_s:
            raise KeyTooLong(asked_s=lifetime_s, longest_s=longest_s)
        if ask.endpoints and (PREDICT not in ask.scopes or FULL in ask.scopes):
            raise KeyMisfit(rule=ENDPOINTS_ALONE)
        if ask.admin and FULL not in ask.scopes:
            raise KeyMisfit(rule=ADMIN_ALONE)
        if ask.admin and not person.admin:
            raise NotAllowed(user=person.name, scope=ADMIN)
        made, text = await self._tokens.mint(
            person.name,
            admin=ask.admin,
            scopes=_words(ask),
            purpose="key",
            lifetime_s=lifetime_s,
            name=ask.name,
            endpoints=ask.endpoints,
            mark=MARK,
        )
        row = await self._store.read(lambda session: session.get_one(Token, made))
        return wire.NewKey.model_validate({**_shown(row, None), "key": text})

    async def list(self, person: Person, owner: str | None = None, *, live: bool = False) -> list[wire.Key]:
        """One's own keys, the newest first; somebody else's for administrators. `live` leaves out the others."""
        person.may_act_for(owner or person.name)
        now = self._clock()
        query = select(Token).where(Token.owner == (owner or person.name), Token.name.is_not(None))
        if live:
            query = query.where(Token.revoked_at.is_(None), Token.expires_at > now)

        def read(session: Session) -> list[Token]:
            return list(session.scalars(query.order_by(Token.made_at.desc(), Token.id.desc())))

        rows = await self._store.read(read)
        return [wire.Key.model_validate(_shown(row, self._tokens.used_at(row.id))) for row in rows]

    async def revoke(self, person: Person, key_id: str) -> None:
        """End a key now; of somebody else as an administrator. Twice is once. Raises `NotFound`."""
        await self._tokens.revoke(key_id, person)


def _words(ask: wire.KeyRequest) -> list[str]:
    """The scopes as tokens hold them. `full` is what a person's own token holds."""
    words = {f"{KEY}{scope}" for scope in ask.scopes}
    if FULL in ask.scopes:
        words |= {USE, ADMIN} if ask.admin else {USE}
    return sorted(words)


def _shown(row: Token, used_at: datetime | None) -> dict[str, object]:
    words = row.scopes.get("scopes", ())
    return {
        "id": row.id,
        "owner": row.owner,
        "name": row.name,
        "scopes": [word.removeprefix(KEY) for word in words if word.startswith(KEY)],
        "endpoints": row.scopes.get(ENDPOINTS, []),
        "admin": row.admin,
        "made_at": row.made_at,
        "expires_at": row.expires_at,
        "used_at": used_at or row.used_at,
        "revoked_at": row.revoked_at,
    }

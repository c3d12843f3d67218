"""Running servers that their owners share with colleagues, by the hub's own shares: it alone decides who enters.

Only where people have hosts of their own. Who is let in runs code as the owner. When that ends, the hub refuses at
once, and the server closes what the guest has open (`spawners/guests.py`). One that does not say that it does so
is not shared, and loses its shares when it starts.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from dure import wire
from dure.errors import BadRequest, DureError
from dure_hub.backends.base import Handle, ServerBackend
from dure_hub.hubapi import HubApi
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.notebook_shares import NotebookShares
from dure_hub.operations.people import Person
from dure_hub.operations.share_errors import NoSuchPerson, ShareNotRunning, ShareUnguarded, SharingOff
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, on_behalf, record
from dure_hub.store.models import Environment

WhyNot = Callable[[str], Awaitable[str | None]]
_TRIES = 3
_YOURSELF = {"en": "it is a colleague, not the owner", "ko": "소유자가 아닌 동료여야 합니다"}


@dataclass(frozen=True)
class Entrance:
    """A server of somebody else's that a person may enter, by its address."""

    owner: str
    name: str
    url: str


class Shares:
    """Everything one can do with shares of servers."""

    def __init__(
        self, settings: Settings, store: Store, clock: Clock, hub: HubApi, servers: ServerBackend
    ) -> None:
        self.why_not: WhyNot | None = None
        """Why somebody cannot log in; set where the accounts are known, else the hub's word counts."""
        self._subdomain_host = settings.subdomain_host
        self._store, self._clock, self._hub, self._servers = store, clock, hub, servers
        self.notebooks = NotebookShares(settings, store, clock, self.need_colleague, self.can_log_in)

    @property
    def offered(self) -> bool:
        """Whether people have hosts of their own."""
        return bool(self._subdomain_host)

    async def list(self, person: Person, name: str, owner: str | None = None) -> builtins.list[wire.Share]:
        """Who else may open a server, by name; of `owner`, for administrators. Raises `SharingOff`."""
        row = await self._row(person, name, owner)
        found = await self._hub.shares(row.owner, name)
        return [_share(who, since) for who, since in sorted(found.items())]

    async def share(self, person: Person, name: str, colleague: str, owner: str | None = None) -> wire.Share:
        """Let a colleague into a running server. Who may enter already is no error.

        Raises `SharingOff`, `ShareNotRunning`, `ShareUnguarded`, `NoSuchPerson`.
        """
        row = await self._row(person, name, owner)
        if row.phase != rows.RUNNING:
            raise ShareNotRunning(name=name, phase=row.phase)
        await self.need_colleague(row.owner, colleague)
        await self._need_guard(row)
        known = await self._hub.shares(row.owner, name)
        if colleague in known:
            return _share(colleague, known[colleague])
        await self._hub.make_known(colleague)
        await self._hub.share(row.owner, name, colleague)
        try:
            await self._record(person, row, "environment.share", colleague)
        except DureError:
            await self._hub.unshare(row.owner, name, colleague)  # nobody is let in without a trace
            raise
        found = await self._hub.shares(row.owner, name)
        return _share(colleague, found.get(colleague))

    async def unshare(self, person: Person, name: str, colleague: str, owner: str | None = None) -> None:
        """Let a colleague in no more, from this moment. Who had no access is no error."""
        row = await self._row(person, name, owner)
        if colleague not in await self._hub.shares(row.owner, name):
            return
        await self._hub.unshare(row.owner, name, colleague)
        await self._record(person, row, "environment.unshare", colleague)

    async def why_not_shared(self, person: Person, name: str, owner: str | None = None) -> ShareUnguarded | None:
        """What keeps this running server from being shared. Raises `SharingOff`."""
        row = await self._row(person, name, owner)
        try:
            if row.phase == rows.RUNNING:
                await self._need_guard(row)
        except ShareUnguarded as why:
            return why
        return None

    async def started(self, owner: str, name: str, handle: Handle) -> None:
        """End the shares of a server that answers now and has no guard, as with another image than before."""
        shared = await self._hub.shares(owner, name) if self.offered else {}
        if not shared:
            return
        for _ in range(_TRIES):  # a machine that starts many is slow to answer, and what is ended here is gone
            if await self._servers.watches_guests(handle):
                return
        for colleague in sorted(shared):
            await self._hub.unshare(owner, name, colleague)
            await self._tell(PORTAL, owner, name, "environment.unshare", ShareUnguarded.code, colleague)

    async def entrances(self, person: Person) -> builtins.list[Entrance]:
        """The servers of others that this person may enter; nothing where servers are not shared."""
        if not self.offered:
            return []
        found = await self._hub.shared_with(person.name)
        return [Entrance(owner, name, rows.url(owner, name, self._subdomain_host)) for owner, name in found]

    async def need_colleague(self, owner: str, colleague: str) -> None:
        """Refuse the owner themselves, and who cannot log in."""
        if colleague == owner:
            raise BadRequest(field="with", value=colleague, rule=_YOURSELF)
        if not await self.can_log_in(colleague):
            raise NoSuchPerson(person=colleague)

    async def can_log_in(self, person: str) -> bool:
        """Whether they have an account that is not disabled.

        Raises `NotReady` where the hub must be asked and is away.
        """
        return self.why_not is None or await self.why_not(person) is None

    async def _need_guard(self, row: Environment) -> None:
        recalled = await asyncio.to_thread(self._servers.recall, row.lease_id) if row.lease_id else None
        if recalled is None or not await self._servers.watches_guests(recalled[0]):
            raise ShareUnguarded(name=row.name)

    async def _row(self, person: Person, name: str, owner: str | None) -> Environment:
        person.may_act_for(owner or person.name)

        row = await self._store.read(lambda session: rows.existing(session, owner or person.name, name))
        if not self.offered:
            raise SharingOff
        return row

    async def _record(self, person: Person, row: Environment, verb: str, colleague: str) -> None:
        await self._tell(person.name, row.owner, row.name, verb, verb.partition(".")[2], colleague)

    async def _tell(self, actor: str, owner: str, name: str, verb: str, code: str, colleague: str) -> None:
        def write(session: Session) -> None:
            behalf = on_behalf(actor, owner)
            facts = {"code": code, "with": colleague}
            record(session, self._clock, actor, verb, rows.thing_of(owner, name), facts, behalf)

        # A change at the hub that was made is told of, also where who asked has left meanwhile.
        await asyncio.shield(self._store.run(write))


def _share(colleague: str, since: datetime | None) -> wire.Share:
    return wire.Share.model_validate({"with": colleague, "since": since})

"""Who asks: tokens of the portal, tokens of the hub, and sessions that hold one of the hub's."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from dure.errors import NotReady
from dure_hub.operations.key_errors import KeyNotEnough
from dure_hub.operations.people import ADMIN, METRICS, Person
from dure_hub.operations.tokens import EXECUTION, KEY, Holder
from dure_hub.policies import keys
from dure_hub.services.sessions import Session

if TYPE_CHECKING:
    from dure_hub.hubapi import HubApi
    from dure_hub.operations.tokens import Tokens


TOKEN_FRESH_S = 15.0
SESSION_FRESH_S = 3.0
STALE_S = 300.0
LIMIT = 2000
_INTO_SERVER = "access:servers!server="


@dataclass(frozen=True)
class Identity:
    """A person and how they showed who they are. `csrf` is set only for a session.

    `job` and `execution` are tokens of the portal that were made for a job or a scheduled notebook, and are to be
    worth nothing once that is over. `token` is what was shown, of a session the hub's token in it; it is in no
    text of this identity. `key` is a machine's key by name, `endpoints` the served models it is for, if it says.
    """

    person: Person
    via: Literal["hub", "portal", "job", "execution", "session", "key"]
    csrf: str | None = None
    token: str = field(default="", repr=False)
    key: str = ""
    endpoints: frozenset[str] = frozenset()

    def holds(self, scope: str) -> bool:
        """Whether this identity carries the scope."""
        if scope in (ADMIN, METRICS) and self.person.admin:
            return True
        return scope != ADMIN and scope in self.person.scopes

    def key_may(self, area: str | None, changes: bool) -> bool:
        """Whether this is a machine's key whose scopes allow this."""
        return self.via == "key" and keys.may(self._key_scopes(), area, changes)

    def key_may_predict(self, endpoint: str) -> bool:
        """Whether this is a machine's key that may ask this served model."""
        return self.via == "key" and keys.may_predict(self._key_scopes(), self.endpoints, endpoint)

    def _key_scopes(self) -> frozenset[str]:
        return frozenset(scope.removeprefix(KEY) for scope in self.person.scopes if scope.startswith(KEY))

    def not_enough(self, path: str) -> KeyNotEnough:
        """What to tell a key that may not."""
        return KeyNotEnough(key=self.key, scopes=", ".join(sorted(self._key_scopes())), path=path)


class Identities:
    """Finds people behind tokens. Remembers only those it found, at most `LIMIT` of them, by digest.

    What nobody knows is never remembered, so a caller without a login cannot make this grow.
    """

    def __init__(self, hub: HubApi, tokens: Tokens, now: Callable[[], float] = time.monotonic) -> None:
        self._hub = hub
        self._tokens = tokens
        self._now = now
        self._seen: OrderedDict[str, tuple[float, Person]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Person | None]] = {}
        self._teams: OrderedDict[str, tuple[float, frozenset[str] | None]] = OrderedDict()

    async def by_token(self, text: str, *, now: bool = False) -> Identity | None:
        """The holder of a token: `dure_…` is ours, anything else the hub's.

        With `now`, what is remembered does not count: the hub is asked, and must answer.
        """
        if text.startswith("dure_"):
            holder = await self._tokens.find(text)
            if holder is None:
                return None
            found = _of_holder(holder, await self._teams_of(holder.person.name), text)
            return replace(found, person=await self._leading(found.person)) if found.via == "portal" else found
        person = await self._of_hub(text, None, TOKEN_FRESH_S, now)
        return None if person is None else Identity(person, "hub", token=text)

    async def by_session(self, session: Session, hub_session: str, *, now: bool = False) -> Identity | None:
        """The person of a browser session; none once the hub's session it belongs to is over. `now` as above."""
        if not hub_session:
            return None
        person = await self._of_hub(session.token, hub_session, SESSION_FRESH_S, now)
        return None if person is None else Identity(person, "session", session.csrf, session.token)

    async def _of_hub(self, token: str, hub_session: str | None, fresh_s: float, now: bool) -> Person | None:
        key = sha256(f"{hub_session or ''}\n{token}".encode()).hexdigest()
        if now:
            person = await self._ask(token, hub_session)
            self._remember(key, person)
            return person
        known = self._seen.get(key)
        if known is not None and self._now() - known[0] < fresh_s:
            return known[1]
        # One page asks for many things at once; the hub is asked once for all of them.
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(token, hub_session))
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        try:
            person = await asyncio.shield(asking)
        except NotReady:
            # The hub restarts within seconds, and model servers, jobs and open pages go on meanwhile: whoever
            # it vouched for less than five minutes ago still counts. Nobody new gets in.
            if known is not None and self._now() - known[0] < STALE_S:
                return known[1]
            raise
        self._remember(key, person)
        return person

    async def _teams_of(self, name: str) -> frozenset[str] | None:
        """The hub's groups of a person whose token is ours; those last seen while the hub is away, else None."""
        known = self._teams.get(name)
        if known is not None and self._now() - known[0] < TOKEN_FRESH_S:
            return known[1]
        try:
            model = await self._hub.user(name)
        except NotReady:
            # Work that runs goes on reporting while the hub restarts.
            # Asked again only after a while: each asking waits for a hub that is not there.
            teams = known[1] if known is not None else None
            self._teams[name] = self._now() - TOKEN_FRESH_S + SESSION_FRESH_S, teams
            return teams
        teams = frozenset(str(group) for group in (model or {}).get("groups", ()))
        self._teams.pop(name, None)
        self._teams[name] = self._now(), teams
        while len(self._teams) > LIMIT:
            self._teams.popitem(last=False)
        return teams

    async def _ask(self, token: str, hub_session: str | None) -> Person | None:
        person = person_of(await self._hub.whoami(token, session_id=hub_session), hub_session)
        server = None if person is None else server_of(person)
        if person is None or server is None:
            # what runs in a server may be others' code: as with administrators, its token leads nothing
            return None if person is None else await self._leading(person)
        return replace(person, team=await self._tokens.team_of_server(person.name, server))

    async def _leading(self, person: Person) -> Person:
        """The same with the teams they lead, of those that they are in."""
        leads = await self._tokens.leads_of(person.name) if person.teams else frozenset()
        return replace(person, leads=leads & person.teams) if leads else person

    def _remember(self, key: str, person: Person | None) -> None:
        self._seen.pop(key, None)
        if person is None:
            return
        self._seen[key] = (self._now(), person)
        while len(self._seen) > LIMIT:
            self._seen.popitem(last=False)


def _of_holder(holder: Holder, teams: frozenset[str] | None, token: str) -> Identity:
    """A lease makes it the token of work; one not known to be an execution's counts as a job's, which may less.

    While the hub cannot say the teams (None), what work starts is charged to the team of its own lease.
    """
    if teams is None:
        teams = frozenset() if holder.person.team is None else frozenset({holder.person.team})
    person = replace(holder.person, teams=teams)
    if holder.key is not None:
        return Identity(person, "key", token=token, key=holder.key, endpoints=holder.endpoints)
    if holder.lease is None:
        return Identity(person, "portal", token=token)
    return Identity(person, "execution" if holder.purpose == EXECUTION else "job", token=token)


def server_of(person: Person) -> str | None:
    """The portal's name of the server whose own token this is; None where it is no server's.

    The hub gives each server's token the way into that server alone. A person could make such a token by hand; all
    it says is which of their own teams pays where none is named.
    """
    into = [scope.removeprefix(_INTO_SERVER) for scope in person.scopes if scope.startswith(_INTO_SERVER)]
    owner, _, name = into[0].partition("/") if len(into) == 1 else ("", "", "")
    return (name or "default") if owner == person.name else None


def person_of(model: Mapping[str, Any] | None, hub_session: str | None) -> Person | None:
    """The person in the hub's answer; none for a service, or for a token of another session than `hub_session`.

    A logout ends the hub's session: its tokens die, and the cookie with the session's id goes.
    """
    if model is None or model.get("kind", "user") != "user":
        return None
    if hub_session is not None and model.get("session_id") not in (None, hub_session):
        return None
    scopes = frozenset(str(scope) for scope in model.get("scopes", ()))
    # Only the scope counts: a token that was given less must not be an administrator by its owner's flag.
    teams = frozenset(str(group) for group in model.get("groups", ()))
    return Person(name=str(model["name"]), admin=ADMIN in scopes, scopes=scopes, teams=teams)

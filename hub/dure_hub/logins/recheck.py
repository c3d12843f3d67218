"""Asks the login provider again about everybody who has something here, whether or not they look at a page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from jupyterhub import orm

from dure_hub.logins.outcomes import Confirmed, Gone
from dure_hub.policies.logins import is_due

if TYPE_CHECKING:
    from dure_hub.logins.vouched import Vouched

log = logging.getLogger("dure.logins")
_AT_ONCE = 8
_SHORTEST_S = 1.0
_ROUNDS = 4
"""Rounds for each time between two questions about one person: who comes between two is not late."""


class Recheck:
    """One loop in the hub's process, and one question about a person at a time."""

    def __init__(self, authenticator: Vouched) -> None:
        self._authenticator = authenticator
        self._ops = authenticator.ops
        self._app: Any = None
        self._task: asyncio.Task[None] | None = None
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)

    def begin(self, app: Any) -> None:
        """Ask from now on, for as long as the hub runs."""
        self._app = app
        self._task = asyncio.get_running_loop().create_task(self._rounds(), name="dure logins")

    async def one(self, user: Any) -> None:
        """Ask about this person now; whoever else wants to know meanwhile waits for the same answer."""
        await asyncio.shield(self.begin_one(user))

    def begin_one(self, user: Any) -> asyncio.Task[None]:
        """Ask about this person, without waiting for the answer; one question at a time."""
        asking = self._asking.get(user.name)
        if asking is None:
            asking = self._asking[user.name] = asyncio.create_task(self._one(user))
            asking.add_done_callback(partial(self._asked, user.name))
        return asking

    def _asked(self, name: str, task: asyncio.Task[None]) -> None:
        self._asking.pop(name, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("%s could not be checked now: %s", name, error)

    async def _rounds(self) -> None:
        while True:
            await asyncio.sleep(max(_SHORTEST_S, self._ops.settings.login_check_s / _ROUNDS))
            try:
                await self.round()
            except Exception:
                log.exception("a round of checks failed; the next one comes by itself")

    async def round(self) -> None:
        """Ask about everybody who is due, and end what is over."""
        every_s = self._ops.settings.login_check_s * (1 - 1 / _ROUNDS)
        states = {state.name: state for state in await self._ops.logins.everybody()}
        now, due = self._ops.clock(), []
        for name in sorted({*self._signed_in(), *await self._ops.logins.active()}):
            state = states.get(name)
            if state is None or (state.ended_at is None and is_due(state.checked_at, round(every_s), now)):
                due.append(name)
        found = {name: self._user(name) for name in due}
        people = [user for user in found.values() if user is not None]
        for user, error in zip(people, await self._ask_all(people), strict=True):
            if error is not None:
                log.error("what the provider says of %s could not be taken over", user.name, exc_info=error)
        for name in (name for name, user in found.items() if user is None):  # taken off the hub's own list
            await self._ops.logins.unreachable(name, "the hub knows nobody of this name")
        for name in await self._ops.logins.due():
            await self._end(name)

    async def _ask_all(self, people: Sequence[Any]) -> list[BaseException | None]:
        """Ask about each, and what went wrong: one person's trouble keeps nobody else from being asked about."""
        return await asyncio.gather(*(self.one(user) for user in people), return_exceptions=True)

    async def _one(self, user: Any) -> None:
        from dure_hub.logins.vouched import heard

        logins, before = self._ops.logins, self._authenticator.logins_of[user.name]
        async with self._room:
            outcome = await heard(self._authenticator, user)
        if self._authenticator.logins_of[user.name] != before:
            return  # they have signed in anew meanwhile, and the provider has said so then
        if isinstance(outcome, Confirmed):
            await self._authenticator.take_over(user, outcome)
            await logins.confirmed(user.name, outcome.subject, outcome.teams, admin=outcome.admin)
        elif isinstance(outcome, Gone):
            await logins.gone(user.name, outcome.why)
        else:
            await logins.unreachable(user.name, outcome.why)
        state = await logins.state(user.name)
        ends_at = state.ends_at if state is not None and state.ended_at is None else None
        if ends_at is not None and ends_at <= self._ops.clock():
            await self._end(user.name)

    async def _end(self, name: str) -> None:
        if await self._ops.logins.end(name) and (user := self._user(name)) is not None:
            self._authenticator.end_hub_logins(user)

    def _user(self, name: str) -> Any:
        row = orm.User.find(self._app.db, name)
        return None if row is None else self._app.users[row]

    def _signed_in(self) -> set[str]:
        """Who holds a token of the hub's that lives; a browser's session of the portal is one."""
        now = datetime.now(UTC).replace(tzinfo=None)
        token = orm.APIToken
        live = self._app.db.query(orm.User.name).join(token, token.user_id == orm.User.id)
        return {
            name for (name,) in live.filter((token.expires_at.is_(None)) | (token.expires_at > now)).distinct()
        }

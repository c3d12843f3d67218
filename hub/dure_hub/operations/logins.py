"""What the login provider says of people, and what follows: new teams at once, an end after a warning.

Whoever asks the provider (the hub's process) tells the outcome here: `confirmed`, `gone`, or `unreachable`. A
provider that cannot be asked ends nobody, up to a bound. Somebody who is gone loses tokens, keys and their place
in the queue at once; servers that run get the notice that the settings say. Whoever is confirmed again before that
goes on as before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure.errors import NotFound
from dure_hub.operations import admission, closures, leaving, login_rows, waking
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.login_errors import NameOfAnother
from dure_hub.operations.login_rows import GONE, KEPT, LEFT_OUT, LEFT_TEAM, MANAGED, TEAMS
from dure_hub.policies import logins as policy
from dure_hub.policies.teams import Teams
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Environment, Lease, Login, Schedule, Ticket, Token

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoginState:
    """A login as its provider last told it. Times are UTC; null is unknown or never."""

    name: str
    checked_at: datetime | None = None
    failing_since: datetime | None = None
    why: str | None = None
    gone_at: datetime | None = None
    ends_at: datetime | None = None
    ended_at: datetime | None = None
    teams: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = field(default=())


class Logins:
    """Keeps what the provider said, and acts on it."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock

    async def state(self, name: str) -> LoginState | None:
        """What is known of one person; None where the provider was never asked."""
        return await self._store.read(lambda session: _state(session.get(Login, name)))

    async def subject(self, name: str) -> str | None:
        """The provider's own id of a person; None where it is not known."""
        query = select(Login.subject).where(Login.name == name)
        return await self._store.read(lambda session: session.scalar(query))

    async def everybody(self) -> list[LoginState]:
        """Everybody, by name."""
        query = select(Login).order_by(Login.name)
        found = await self._store.read(lambda session: [_state(row) for row in session.scalars(query)])
        return [state for state in found if state is not None]

    async def forget(self, name: str, actor: str) -> None:
        """Let another account of the provider have this name. Raises `NotFound`."""

        def write(session: Session) -> None:
            row = session.get(Login, name)
            if row is None:
                raise NotFound(kind="user", name=name)
            row.subject = None
            record(session, self._clock, actor, "login.forget", f"user:{name}")

        await self._store.run(write)

    async def confirmed(self, name: str, subject: str | None, teams: Teams | None, *, admin: bool = False) -> None:
        """The provider knows them. `teams` None is a provider that does not say; administrators may use any.

        Raises `NameOfAnother` where the name is another account's of the provider, and then changes nothing: many
        let people change their name, and give a free one to the next.
        """
        await self._store.run(lambda session: self._confirm(session, name, subject, teams, admin))

    async def unreachable(self, name: str, why: str) -> None:
        """Nobody could be asked. They go on, until the bound: then they count as gone."""

        def write(session: Session) -> None:
            now, row = self._clock(), login_rows.find(session, name)
            if row.ended_at is not None or row.gone_at is not None:
                return
            if row.failing_since is None:
                log.warning("%s cannot be checked from now on: %s", name, why)
                record(session, now, PORTAL, "login.unchecked", f"user:{name}", {"code": why[:250]})
            row.failing_since = row.failing_since or now
            row.why = why[:250]
            bound_s = self._settings.login_unchecked_s
            verdict = policy.unreachable(row.checked_at, row.failing_since, bound_s, now)
            if not verdict.allowed:
                self._leave(session, row, verdict.code, now)

        await self._store.run(write)

    async def gone(self, name: str, why: str) -> None:
        """The provider confirms them no more: disabled, removed, or signed out of everything there."""

        def write(session: Session) -> None:
            row = login_rows.find(session, name)
            if row.gone_at is None:
                self._leave(session, row, why, self._clock())

        await self._store.run(write)

    async def due(self) -> list[str]:
        """Who is gone, and whose notice is over."""
        now = self._clock()
        query = select(Login.name).where(Login.ends_at <= now, Login.ended_at.is_(None))
        return await self._store.read(lambda session: list(session.scalars(query)))

    async def end(self, name: str) -> bool:
        """Ask what is left of theirs to end, now. False where they are back, or where a gap puts it off.

        The hub may look before the portal does, whose look it is that moves ends: it is waited for.
        """

        def write(session: Session) -> bool:
            now, row = self._clock(), login_rows.find(session, name)
            if row.ends_at is None or row.ends_at > now:
                return False
            if waking.is_due(session, self._settings, now) or _later(session, name, now):
                return False
            leaving.revoke_tokens(session, name, now)
            leaving.end_leases(session, name, now, GONE)
            row.ended_at, row.notes = now, {**row.notes, KEPT: {}}
            record(session, now, PORTAL, "login.end", f"user:{name}", {"code": row.why})
            return True

        return await self._store.run(write)

    async def active(self) -> list[str]:
        """Whoever has something here that goes on: leases, tokens, schedules, a place in the queue."""
        now = self._clock()
        live = (Token.revoked_at.is_(None), Token.expires_at > now)
        queries = (
            select(Lease.owner).where(Lease.ended_at.is_(None)),
            select(Token.owner).where(*live),
            select(Schedule.owner).where(Schedule.next_at.is_not(None)),
            select(Ticket.owner).where(Ticket.state == "waiting"),
        )

        def read(session: Session) -> list[str]:
            return sorted({name for query in queries for name in session.scalars(query.distinct())})

        return await self._store.read(read)

    def _confirm(self, session: Session, name: str, subject: str | None, teams: Teams | None, admin: bool) -> None:
        now, row = self._clock(), login_rows.find(session, name)
        if row.subject and subject and row.subject != subject:
            log.warning("%s is refused: the provider's account is %s, not %s", name, subject, row.subject)
            raise NameOfAnother(name=name)
        before = dict(row.notes)
        if row.gone_at is not None:
            record(session, now, PORTAL, "login.return", f"user:{name}")
            self._put_back(session, row, GONE)
        if row.failing_since is not None:
            log.info("%s can be checked again", name)
        row.subject = row.subject or subject
        row.checked_at, row.failing_since, row.why = now, None, None
        row.gone_at = row.ends_at = row.ended_at = None
        if not admin:
            leaving.revoke_tokens_of_administrator(session, name, now)
        if teams is None:
            return
        self._note_teams(session, row, before, teams, now)
        mine = frozenset(teams.names)
        if not admin:
            leaving.leave_queue(session, name, now, but=mine)
            self._warn(
                session, row, LEFT_TEAM, now, lambda lease: lease.team is not None and lease.team not in mine
            )
        self._put_back(session, row, LEFT_TEAM, lambda lease: admin or lease.team is None or lease.team in mine)

    def _note_teams(
        self, session: Session, row: Login, before: dict[str, Any], teams: Teams, now: datetime
    ) -> None:
        names, left_out = list(teams.names), [list(pair) for pair in teams.left_out]
        if before.get(TEAMS) != names:
            facts = {"code": "teams", "facts": {"teams": names, "before": before.get(TEAMS)}}
            record(session, now, PORTAL, "login.teams", f"user:{row.name}", facts)
        if left_out and before.get(LEFT_OUT) != left_out:
            facts = {"code": "left_out", "facts": {"groups": left_out}}
            record(session, now, PORTAL, "login.left_out", f"user:{row.name}", facts)
            log.warning("groups of %s that can be no team: %s", row.name, left_out)
        row.notes = {**row.notes, TEAMS: names, LEFT_OUT: left_out, MANAGED: True}

    def _leave(self, session: Session, row: Login, why: str, now: datetime) -> None:
        """Nothing new from now on; what runs of theirs is warned."""
        row.gone_at, row.why = now, why[:250]
        leaving.revoke_tokens(session, row.name, now)
        leaving.leave_queue(session, row.name, now)
        leaving.pause_schedules(session, row.name, now, "owner_disabled")
        leaving.stop_executions(session, row.name)
        warned = self._warn(session, row, GONE, now, lambda _: True)
        row.ends_at = max(warned, default=now)
        facts = {"code": row.why, "facts": {"ends_at": row.ends_at.isoformat()}}
        record(session, now, PORTAL, "login.gone", f"user:{row.name}", facts)
        log.warning(
            "%s is confirmed no more (%s); everything of theirs ends at %s", row.name, row.why, row.ends_at
        )

    def _warn(
        self, session: Session, row: Login, why: str, now: datetime, meant: Callable[[Lease], bool]
    ) -> list[datetime]:
        """Move the ends of servers to after the notice; those ends."""
        kept, ends = dict(row.notes.get(KEPT, {})), []
        for lease, server in _servers(session, row.name):
            if not meant(lease) or lease.end_reason is not None:
                continue
            if lease.id not in kept:
                kept[lease.id] = {"until": lease.until.isoformat() if lease.until else None, "why": why}
                lease.until = policy.end_of(lease.until, self._settings.login_notice_s, now)
                facts = {"code": why, "facts": {"until": lease.until.isoformat()}}
                record(session, now, PORTAL, "environment.warn", rows.thing(server), facts, row.name)
            kept[lease.id] = {**kept[lease.id], "why": why}
            server.reason = why
            ends.append(lease.until or now)
        row.notes = {**row.notes, KEPT: kept}
        return ends

    def _put_back(
        self, session: Session, row: Login, why: str, meant: Callable[[Lease], bool] = lambda _: True
    ) -> None:
        """Give servers that were warned their ends again, where those still run."""
        kept = dict(row.notes.get(KEPT, {}))
        for lease, server in _servers(session, row.name):
            was = kept.get(lease.id)
            if was is None or was["why"] != why or not meant(lease):
                continue
            del kept[lease.id]
            if lease.end_reason is None:
                before = datetime.fromisoformat(was["until"]) if was["until"] else None
                lease.until = _end_again(session, lease, server, before)
                server.reason = None
        running = {lease.id for lease, _ in _servers(session, row.name)}
        row.notes = {**row.notes, KEPT: {lease: was for lease, was in kept.items() if lease in running}}


def _end_again(session: Session, lease: Lease, server: Environment, before: datetime | None) -> datetime | None:
    """When a server ends whose owner is back: as `before`, and never sooner than now. A stop and a drain that were
    set meanwhile stand, and so does an end that was put off."""
    drain, now = closures.drain_of(session, lease), lease.until
    until = before if before is None or now is None else max(before, now)
    for bound in (server.stop_at, None if drain is None else drain.until):
        if bound is not None and (until is None or until > bound):
            until = bound if now is None else max(bound, now)
    return until


def _servers(session: Session, name: str) -> Sequence[tuple[Lease, Environment]]:
    found = [
        (lease, rows.of_lease(session, lease)) for lease in leaving.held(session, name, (admission.NOTEBOOK,))
    ]
    return [(lease, server) for lease, server in found if server is not None]


def _later(session: Session, name: str, now: datetime) -> bool:
    """Whether anything of theirs was given a later end than their login."""
    ends = (lease.until for lease, _ in _servers(session, name) if lease.end_reason is None)
    return any(until is not None and until > now for until in ends)


def _state(row: Login | None) -> LoginState | None:
    if row is None:
        return None
    left_out: Collection[Any] = row.notes.get(LEFT_OUT, ())
    return LoginState(
        row.name,
        row.checked_at,
        row.failing_since,
        row.why,
        row.gone_at,
        row.ends_at,
        row.ended_at,
        tuple(row.notes.get(TEAMS, ())),
        tuple((str(group), str(why)) for group, why in left_out),
    )

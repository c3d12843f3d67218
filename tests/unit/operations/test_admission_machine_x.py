"""Any sequence of what may happen to tickets and leases, in one process: hypothesis looks for a wrong one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.operations import admission
from dure_hub.operations.errors import NeverFits
from dure_hub.operations.line import Line
from dure_hub.operations.profiles import Fleet
from dure_hub.policies import lifetime
from dure_hub.policies.queue import Ahead
from dure_hub.settings import Settings
from dure_hub.store import Store, database_url
from dure_hub.store.events import record
from dure_hub.store.migrate import migrate
from dure_hub.store.models import Lease, Ticket
from tests.support.replay import FLEET, MACHINES, PROFILES, Replay, active, in_commit_order

T = TypeVar("T")
START = datetime(2026, 1, 1, tzinfo=UTC)
OWNER = "ann"
picks = st.integers(0, 1 << 16)
"""Which of those there are, counted round and round."""


class Admission(RuleBasedStateMachine):
    """The rows are the system; what is kept here is what they must go on saying."""

    template: Path
    """A database as `up` makes it."""
    endangered: set[str]
    """Whose promises the line itself found in danger, in the transaction that is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="dure-machine-"))
        shutil.copy(self.template, self.folder / "dure.sqlite")
        self.store = Store(f"sqlite:///{self.folder / 'dure.sqlite'}")
        self.now, self.fleet, self.number = START, FLEET, 0
        self.asked: dict[str, dict[str, Any]] = {}
        self.lease_of: dict[str, str] = {}
        self.granted: dict[str, tuple[int | None, list[dict[str, Any]]]] = {}

    def do(self, work: Callable[[Session], T]) -> T:
        """One transaction, and what must hold of everything that was granted in it."""
        self.endangered.clear()
        with self.store.transaction() as session:
            answer = work(session)
        with self.store.reading() as session:
            tickets = {ticket.id: ticket for ticket in session.scalars(select(Ticket)).all()}
            leases = {lease.id: lease for lease in session.scalars(select(Lease)).all()}
        waiting = [ticket for ticket in tickets.values() if ticket.state == "waiting"]
        for ticket in tickets.values():
            if ticket.lease_id is None:
                assert ticket.state != "granted"
            elif ticket.id in self.lease_of:
                assert ticket.lease_id == self.lease_of[ticket.id], "granted a second time"
            else:
                self._new(ticket, leases[ticket.lease_id], waiting)
        assert len(leases) == len(self.lease_of), "a lease without a ticket"
        return answer

    def _new(self, ticket: Ticket, lease: Lease, waiting: Sequence[Ticket]) -> None:
        for other in waiting:
            # one that is shorter may go first: that makes nobody wait longer (the queue's own tests see to it)
            longer = (ticket.lifetime_s or 0) >= (other.lifetime_s or 0)
            passed = other.profile == ticket.profile and longer and _before(other, ticket)
            # whoever would start later than promised goes first: more priority, or a clock set back, came after it
            assert not passed or ticket.id in self.endangered, f"{ticket.id} overtook {other.id}"
        assert ticket.state == "granted"
        assert (lease.profile, lease.granted_at) == (ticket.profile, self.now)
        assert lease.rate == self.fleet.profiles[lease.profile].rate
        assert lease.until == self.now + timedelta(seconds=ticket.lifetime_s or 0)
        self.lease_of[ticket.id] = lease.id
        self.granted[lease.id] = lease.rate, lease.slices

    def pick(self, session: Session, which: int) -> Lease | None:
        """One of the active leases."""
        found = session.scalars(select(Lease).where(Lease.ended_at.is_(None)).order_by(Lease.granted_at)).all()
        return found[which % len(found)] if found else None

    @rule(
        profile=st.sampled_from(sorted(PROFILES)),
        life=st.sampled_from([60, 600]),
        priority=st.sampled_from([0, 0, 1]),
    )
    def ask(self, profile: str, life: int, priority: int) -> None:
        """A new request."""
        self.number += 1
        ticket = f"t{self.number:04}"
        self.asked[ticket] = {"profile": profile, "lifetime_s": life, "priority": priority}
        try:
            self._admit(ticket)
        except NeverFits:
            assert len(self.fleet.machines) < len(MACHINES)
            del self.asked[ticket]

    @precondition(lambda self: self.asked)
    @rule(which=picks, ungranted=st.booleans())
    def ask_again(self, which: int, ungranted: bool) -> None:
        """The same request once more: nothing new comes of it, and the answer is what became of it."""
        some = sorted(self.asked.keys() - self.lease_of.keys()) if ungranted else []
        some = some or sorted(self.asked)
        ticket = some[which % len(some)]
        before = self.lease_of.get(ticket)
        answer = self._admit(ticket)
        assert answer.id == (before or ticket)

    def _admit(self, ticket: str) -> Lease | Ticket:
        def work(session: Session) -> Lease | Ticket:
            return admission.admit(
                session,
                ticket_id=ticket,
                owner=OWNER,
                purpose=admission.NOTEBOOK,
                subject=ticket,
                now=self.now,
                fleet=self.fleet,
                **self.asked[ticket],
            )

        return self.do(work)

    @rule()
    def serve(self) -> None:
        """The reconciler serves the queue."""
        self.do(lambda session: admission.grant_waiting(session, self.fleet, self.now))

    @rule(which=picks, seconds=st.integers(-60, 1200))
    def extend(self, which: int, seconds: int) -> None:
        """An owner moves the end, as far as that is allowed."""

        def work(session: Session) -> None:
            lease = self.pick(session, which)
            if lease is None or lease.until is None or lease.end_reason is not None:
                return
            asked = lease.until + timedelta(seconds=seconds)
            verdict = lifetime.extension(asked, lease.until, max_s=3600, now=self.now)
            if verdict.code == "end_moved":
                lease.until, lease.renewals = asked, lease.renewals + 1
                record(session, self.now, OWNER, "lease.extend", f"lease:{lease.id}", verdict.to_json())

        self.do(work)

    @rule(which=picks)
    def want_end(self, which: int) -> None:
        """Somebody asks for the end; what is held stays held."""

        def work(session: Session) -> None:
            lease = self.pick(session, which)
            if lease is not None:
                held, fresh = active(session).leases, lease.end_reason is None
                assert admission.ask_end(session, lease, "asked", self.now, OWNER) == fresh
                assert active(session).leases == held

        self.do(work)

    @rule(which=picks)
    def end(self, which: int) -> None:
        """Nothing of it runs any more. A second end is none."""

        def work(session: Session) -> None:
            lease = self.pick(session, which)
            if lease is not None:
                assert admission.end_lease(session, lease.id, "exited", self.now) is lease
                assert admission.end_lease(session, lease.id, "lost", self.now) is None

        self.do(work)

    @precondition(lambda self: self.asked)
    @rule(which=picks, state=st.sampled_from(["cancelled", "expired"]))
    def cancel(self, which: int, state: str) -> None:
        """A ticket is given up; one that was granted stays so."""
        ticket = sorted(self.asked)[which % len(self.asked)]
        gone = self.do(lambda session: admission.cancel(session, ticket, state, self.now))
        assert gone is None or ticket not in self.lease_of

    @rule()
    def expire(self) -> None:
        """The reconciler ends what is over, and serves the queue in the same transaction."""

        def work(session: Session) -> None:
            for lease in session.scalars(select(Lease).where(Lease.ended_at.is_(None))).all():
                if lifetime.is_expired(lease.until, self.now):
                    admission.ask_end(session, lease, "expired", self.now)
                    admission.end_lease(session, lease.id, "expired", self.now)
            session.flush()
            admission.grant_waiting(session, self.fleet, self.now)

        self.do(work)

    @rule(seconds=st.sampled_from([0, 1, 60, 600, -5]))
    def move_clock(self, seconds: int) -> None:
        """Time passes, or is set back a little."""
        self.now += timedelta(seconds=seconds)

    @rule(percent=st.integers(50, 200))
    def change_prices(self, percent: int) -> None:
        """From now on; what was granted keeps its rate."""
        dearer = {
            name: replace(one, rate=None if one.rate is None else one.rate * percent // 100)
            for name, one in PROFILES.items()
        }
        self.fleet = Fleet(dearer, self.fleet.machines)

    @rule(away=st.booleans())
    def lose_node(self, away: bool) -> None:
        """A node goes or comes back, with whatever is held on it."""
        self.fleet = Fleet(self.fleet.profiles, MACHINES[:1] if away else MACHINES)

    @invariant()
    def nothing_is_held_twice(self) -> None:
        """On any device, nor more cores and memory than a node has."""
        with self.store.reading() as session:
            assert active(session).overshoot() == []

    @invariant()
    def a_grant_stays_what_it_was(self) -> None:
        """What is held and what it costs."""
        with self.store.reading() as session:
            rows = session.scalars(select(Lease)).all()
        assert {row.id: (row.rate, row.slices) for row in rows} == self.granted

    def teardown(self) -> None:
        """Whoever waits gets something in the end, and the events tell the same story as the rows."""
        try:
            self.fleet = FLEET
            for _ in range(len(self.asked) + 1):
                self._end_all()
                self.serve()
            self._end_all()
            replay = Replay()
            for transaction in in_commit_order(self.store):
                for event in transaction:
                    replay.apply(event)
                assert replay.picture.overshoot() == []
            assert replay.granted == self.lease_of
            assert replay.picture.leases == {}
            assert "waiting" not in replay.tickets.values()
        finally:
            self.store.close()
            shutil.rmtree(self.folder)

    def _end_all(self) -> None:
        def work(session: Session) -> None:
            for lease_id in session.scalars(select(Lease.id).where(Lease.ended_at.is_(None))).all():
                admission.end_lease(session, lease_id, "exited", self.now)

        self.do(work)


def _before(one: Ticket, other: Ticket) -> bool:
    """The queue's order, for tickets of one owner and class."""
    return (-one.priority, one.asked_at, one.id) < (-other.priority, other.asked_at, other.id)


@pytest.fixture
def endangered(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What the line finds each time that it looks ahead."""
    found: set[str] = set()
    really = Line.ahead

    def noting(self: Line) -> Ahead:
        answer = really(self)
        found.update(answer.endangered)
        return answer

    monkeypatch.setattr(Line, "ahead", noting)
    return found


@pytest.fixture
def template(tmp_path: Path) -> Path:
    made = Settings(data=tmp_path)
    made.folder.create()
    migrate(made)
    store = Store(database_url(made))
    store.close()
    return made.folder.db / "dure.sqlite"


@pytest.mark.timeout(3000)
def test_no_sequence_of_events_breaks_a_promise(
    template: Path, endangered: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admission, "template", template, raising=False)
    monkeypatch.setattr(Admission, "endangered", endangered, raising=False)
    run_state_machine_as_test(
        Admission,
        settings=settings(
            max_examples=2500,
            phases=[__import__("hypothesis").Phase.generate],
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )

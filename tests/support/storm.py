"""One process of the storm: threads that ask for slices, move ends, give back, let expire and serve the queue.

It may be killed at any moment and started again: each thread goes on with the last ticket that it may have asked
for, under the same id. Prints a line when it begins, and one for each ticket it has done with.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from dure.errors import NotReady
from dure_hub.operations import admission
from dure_hub.operations.admission import NOTEBOOK, TRAINING
from dure_hub.policies import lifetime
from dure_hub.store import Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Lease, Ticket
from tests.support.replay import FLEET, PROFILES, active

T = TypeVar("T")
_TRIES = 20


def now() -> datetime:
    """Leases of the storm are short, and end by real time."""
    return datetime.now(UTC)


class Hand:
    """One thread. Its leases are its own: they are found again after a restart by their owner."""

    def __init__(self, store: Store, name: str, seed: int) -> None:
        self.store, self.name = store, name
        self.chance = random.Random(f"{seed} {name}")

    def work(self, begin: int, end: int) -> None:
        """Tickets from `begin` to before `end`, and something else after each."""
        for item in range(begin, end):
            asked = self.ask(item)
            if self.chance.random() < 0.25:  # the answer was lost
                self.ask(item)
            self.chance.choice((self.renew, self.release, self.release, sweep_of(self), self.give_up))()
            print(asked, flush=True)

    def ask(self, item: int) -> str:
        """The id of its lease or waiting ticket."""
        ticket = f"{self.name}-{item:03}"
        chance = random.Random(ticket)  # the same request, however often it is asked
        profile, life = chance.choice(list(PROFILES)), chance.randint(1, 3)
        team, purpose = chance.choice((None, "red", "blue")), chance.choice((NOTEBOOK, TRAINING))

        def admit(session: Session) -> str:
            return admission.admit(
                session,
                ticket_id=ticket,
                owner=self.name,
                team=team,
                purpose=purpose,
                subject=ticket,
                profile=profile,
                lifetime_s=life,
                now=now(),
                fleet=FLEET,
            ).id

        return self.insist(admit)

    def renew(self) -> None:
        """Move the end of one of ours, as people do with their servers."""

        def move(session: Session) -> None:
            lease = self.one_of_ours(session)
            if lease is None or lease.end_reason is not None or lease.until is None:
                return
            asked = now() + timedelta(seconds=2)
            verdict = lifetime.extension(asked, lease.until, max_s=3600, now=now())
            if verdict.allowed:
                lease.until = asked
                lease.renewals += 1
                record(session, now(), self.name, "lease.extend", f"lease:{lease.id}", verdict.to_json())

        self.insist(move)

    def release(self) -> None:
        """Ask for the end of one of ours; it comes in a later transaction, as with the reconciler."""

        def ask_end(session: Session) -> str | None:
            lease = self.one_of_ours(session)
            if lease is not None:
                admission.ask_end(session, lease, "asked", now(), self.name)
            return None if lease is None else lease.id

        def end(session: Session) -> None:
            admission.end_lease(session, asked or "", "asked", now())
            session.flush()
            admission.grant_waiting(session, FLEET, now())

        asked = self.insist(ask_end)
        self.insist(end)

    def give_up(self) -> None:
        """Cancel what still waits of ours, at most one."""

        def cancel(session: Session) -> None:
            mine = select(Ticket.id).where(Ticket.owner == self.name, Ticket.state == "waiting").limit(1)
            ticket = session.scalar(mine)
            if ticket is not None:
                admission.cancel(session, ticket, "cancelled", now(), self.name)

        self.insist(cancel)

    def one_of_ours(self, session: Session) -> Lease | None:
        """Any lease of ours that has not ended."""
        query = select(Lease).where(Lease.owner == self.name, Lease.ended_at.is_(None)).order_by(Lease.id)
        found = session.scalars(query).all()
        return self.chance.choice(found) if found else None

    def insist(self, work: Callable[[Session], T]) -> T:
        """Do it in one transaction, again where the store had no time. What is promised then is there."""
        for _ in range(_TRIES):
            try:
                with self.store.transaction() as session:
                    answer = work(session)
                    session.flush()
                    held = active(session)
                    wrong = held.overshoot() + held.beyond_quota()
                    assert not wrong, wrong
                    return answer
            except NotReady:
                continue
        raise NotReady(part=f"the store, after {_TRIES} tries")


def sweep_of(hand: Hand) -> Callable[[], None]:
    """What the reconciler does: whatever is over or was asked to end ends, and the queue is served."""

    def look() -> list[str]:
        with hand.store.reading() as session:
            over = or_(Lease.until <= now(), Lease.end_reason.is_not(None))
            return list(session.scalars(select(Lease.id).where(Lease.ended_at.is_(None), over)).all())

    def sweep() -> None:
        found = look()

        def end(session: Session) -> None:
            for lease_id in found:
                lease = session.get_one(Lease, lease_id)
                over = lease.ended_at is None and lifetime.is_expired(lease.until, now())
                if lease.end_reason is None and not over:
                    continue  # its end was moved meanwhile
                admission.ask_end(session, lease, "expired", now(), PORTAL)
                admission.end_lease(session, lease_id, "expired", now(), PORTAL)
            session.flush()
            admission.grant_waiting(session, FLEET, now())

        hand.insist(end)

    return sweep


def last_asked(store: Store, worker: str) -> dict[str, int]:
    """The number of the newest ticket of each thread."""
    with store.reading() as session:
        ids = session.scalars(select(Ticket.id).where(Ticket.id.like(f"{worker}.%"))).all()
    found: dict[str, int] = {}
    for ticket in ids:
        name, _, item = ticket.rpartition("-")
        found[name] = max(found.get(name, 0), int(item))
    return found


def main(url: str, worker: str, threads: int, items: int, seed: int) -> None:
    """Do the work that is left."""
    store = Store(url)
    last = last_asked(store, worker)
    names = [f"{worker}.{number:02}" for number in range(threads)]
    print("begun", flush=True)
    with ThreadPoolExecutor(threads) as pool:
        hands = [Hand(store, name, seed) for name in names]
        for done in [pool.submit(hand.work, last.get(hand.name, 0), items) for hand in hands]:
            done.result()
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(word) for word in sys.argv[3:6]))

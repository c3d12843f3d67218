"""One process of the overshoot test: threads that take and give back slices of one store as fast as they can.

Prints the most slices it has ever seen held at once.
"""

from __future__ import annotations

import random
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from sqlalchemy import select

from dure.wire.ids import new_id
from dure_hub.backends.base import Inventory
from dure_hub.operations.admission import NOTEBOOK, admit, end_lease, grant_waiting
from dure_hub.operations.profiles import active_slices, fleet_of
from dure_hub.settings import Settings
from dure_hub.store import Store
from dure_hub.store.models import Lease

SETTINGS = Settings(memory_reserved_mb=0, cpu_profile_cores=1, cpu_overcommit=1, cpu_profile_memory_mb=64)
INVENTORY = Inventory(cpu_cores=5, memory_mb=1 << 20)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FLEET = fleet_of(INVENTORY, SETTINGS)


def hammer(store: Store, rounds: int, seen: list[int]) -> None:
    for _ in range(rounds):
        with store.transaction() as session:
            ticket = new_id()
            admit(
                session,
                ticket_id=ticket,
                owner="ann",
                purpose=NOTEBOOK,
                subject=ticket,
                profile="cpu",
                lifetime_s=3600,
                now=NOW,
                fleet=FLEET,
            )
        with store.transaction() as session:
            seen.append(len(active_slices(session)))
            if random.random() < 0.5:
                held = session.scalars(select(Lease.id).where(Lease.ended_at.is_(None))).all()
                if held:
                    end_lease(session, random.choice(held), "test", NOW)
            else:
                grant_waiting(session, FLEET, NOW)
            session.flush()
            seen.append(len(active_slices(session)))


def main(url: str, threads: int, rounds: int) -> None:
    store = Store(url)
    seen: list[int] = []
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(hammer, store, rounds, seen) for _ in range(threads)]:
            done.result()
    print(max(seen), len(seen))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

"""Sixty-four threads in two processes, killed again and again, on both databases: nothing is ever held twice."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from dure_hub.operations import admission
from dure_hub.settings import Settings
from dure_hub.store import Store, database_url
from dure_hub.store.migrate import migrate
from dure_hub.store.models import Lease, Quota, Ticket
from tests.support.postgres import database as database
from tests.support.postgres import postgres as postgres
from tests.support.replay import COUNTED, FLEET, QUOTAS, Replay, in_commit_order

ROOT = Path(__file__).parents[3]
WORKERS, THREADS, ITEMS, KILLS = ("p0", "p1"), 32, 3, 2
SEED = 5
LIMIT_S = 120


def life(url: str, worker: str, seed: int, lines: int | None) -> tuple[int, int]:
    """One process of the storm, killed after so many lines if it comes so far; its exit code and lines."""
    command = [sys.executable, "-m", "tests.support.storm", url, worker, str(THREADS), str(ITEMS), str(seed)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        seen = 0
        for _line in process.stdout:
            seen += 1
            if lines is not None and seen > lines:
                break
        else:
            said = process.communicate(timeout=LIMIT_S)[1]
            assert process.returncode == 0, said[-4000:]
    finally:
        process.kill()
        process.communicate()
    return process.returncode, seen


def lives(url: str, worker: str) -> int:
    """Start it, kill it at a random point of its work, start it again; how often it was killed."""
    chance = random.Random(f"{SEED} {worker}")
    killed = 0
    for number in range(KILLS):
        code, _ = life(url, worker, SEED + number, chance.randint(0, THREADS))
        killed += code == -9
    code, _ = life(url, worker, SEED + KILLS, None)
    assert code == 0
    return killed


def drain(store: Store) -> None:
    """End what runs and grant what waits, until nobody waits."""
    for _ in range(len(WORKERS) * THREADS * ITEMS):
        now = datetime.now(UTC)
        with store.transaction() as session:
            for lease in session.scalars(select(Lease).where(Lease.ended_at.is_(None))).all():
                admission.end_lease(session, lease.id, "asked", now)
            session.flush()
            if not admission.grant_waiting(session, FLEET, now):
                return
    pytest.fail("somebody waits for ever")


@pytest.fixture
def store(tmp_path: Path, database: str) -> Store:
    settings = Settings(data=tmp_path, database_url=database)
    settings.folder.create()
    migrate(settings)
    made = Store(database_url(settings))
    with made.transaction() as session:
        for (kind, name), gpus in QUOTAS.items():
            session.add(Quota(kind=kind, name=name, gpus=gpus, set_by="root", set_at=datetime.now(UTC)))
    return made


@pytest.mark.timeout(2 * LIMIT_S)
def test_no_slice_is_held_twice_at_any_commit(store: Store) -> None:
    url = store.engine.url.render_as_string(hide_password=False)
    with ThreadPoolExecutor(len(WORKERS)) as pool:
        killed = list(pool.map(lambda worker: lives(url, worker), WORKERS))
    assert killed == [KILLS] * len(WORKERS)
    drain(store)

    replay = Replay()
    wrong: list[str] = []
    most: Counter[str] = Counter()
    for number, transaction in enumerate(in_commit_order(store)):
        for event in transaction:
            replay.apply(event)
        found = replay.picture.overshoot() + replay.picture.beyond_quota()
        wrong += [f"commit {number}: {what}" for what in found]
        most |= Counter(replay.picture.counted[lease][2] for lease in replay.picture.leases)
    assert wrong == []
    assert most.keys() == COUNTED.keys()
    assert most["whole"] + most["small"] + most["share"] >= 6, "nobody stood in anybody's way"
    tell_the_same(store, replay)
    store.close()


def tell_the_same(store: Store, replay: Replay) -> None:
    """Rows and events: no ticket is lost or has two leases, no lease is without its events."""
    with store.reading() as session:
        tickets = session.scalars(select(Ticket)).all()
        leases = {lease.id: lease for lease in session.scalars(select(Lease)).all()}
    names = {f"{worker}.{n:02}-{i:03}" for worker in WORKERS for n in range(THREADS) for i in range(ITEMS)}
    assert {ticket.id for ticket in tickets} == names
    assert {ticket.id: ticket.state for ticket in tickets} == replay.tickets
    assert set(replay.tickets.values()) == {"granted", "cancelled"}
    assert {ticket.id: ticket.lease_id for ticket in tickets if ticket.lease_id} == replay.granted
    assert Counter(replay.granted.values()) == Counter(leases.keys())
    assert {lease.id for lease in leases.values() if lease.ended_at is not None} == replay.ended
    assert replay.picture.leases == {}
    assert {lease.id: lease.renewals for lease in leases.values() if lease.renewals} == replay.moved
    assert replay.moved

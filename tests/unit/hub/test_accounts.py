"""Accounts in the hub's database, and the slowing down of guesses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from jupyterhub import orm

from dure_hub.accounts import (
    AccountTaken,
    BadName,
    BadPassword,
    NoSuchAccount,
    add_user,
    check_password,
    disable_user,
    find_user,
    list_users,
    reset_password,
)
from dure_hub.authenticator import FREE_FAILURES, LONGEST_WAIT_S, Throttle
from dure_hub.settings import Settings
from dure_hub.store import Store
from dure_hub.store.migrate import migrate
from dure_hub.store.models import Environment, Event, Execution, Job, Lease, Schedule, Ticket, Token
from dure_hub.store.session import database_url
from tests.e2e.portal import free_port

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:alembic")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An empty data folder; nothing runs on it."""
    made = Settings(data=tmp_path, hub_port=free_port())
    made.folder.create()
    (made.folder.secrets / "portal-token").write_text("x")
    return made


@contextmanager
def hub_database(settings: Settings) -> Iterator[Any]:
    """A session in JupyterHub's own tables, which it makes."""
    session = orm.new_session_factory(f"sqlite:///{settings.folder.db / 'hub.sqlite'}")()
    try:
        yield session
    finally:
        session.close()
        session.get_bind().dispose()


def test_a_password_opens_its_own_account_only(settings: Settings) -> None:
    add_user(settings, "ana", "ana-secret", admin=True)
    add_user(settings, "ben", "ben-secret")
    assert check_password(settings, "ana", "ana-secret") == find_user(settings, "ana")
    assert check_password(settings, "ana", "ben-secret") is None
    assert check_password(settings, "ben", "ana-secret") is None
    assert check_password(settings, "zoe", "ana-secret") is None
    assert [(a.name, a.admin) for a in list_users(settings)] == [("ana", True), ("ben", False)]


def test_no_password_is_kept_as_it_is(settings: Settings) -> None:
    add_user(settings, "ana", "ana-secret")
    assert b"ana-secret" not in (settings.folder.db / "hub.sqlite").read_bytes()


def test_a_reset_replaces_the_password_and_opens_a_disabled_account(settings: Settings) -> None:
    add_user(settings, "ana", "ana-secret")
    assert len(disable_user(settings, "ana")) == 1, "no hub runs, and that is said"
    assert check_password(settings, "ana", "ana-secret") is None
    reset_password(settings, "ana", "a-new-one")
    assert check_password(settings, "ana", "ana-secret") is None
    assert check_password(settings, "ana", "a-new-one") is not None


@pytest.mark.parametrize("end", ["reset", "disable"])
def test_a_reset_and_a_disabling_end_every_login_of_that_person_only(settings: Settings, end: str) -> None:
    for name in ("ana", "ben"):
        add_user(settings, name, f"{name}-secret")
    with hub_database(settings) as hub:
        hub.add(orm.OAuthClient(identifier="jupyterhub"))  # which every token is made through
        for name in ("ana", "ben"):
            user = orm.User(name=name)
            hub.add(user)
            hub.commit()
            for session in ("s1", None):
                user.new_api_token(note=f"{name} {session}", session_id=session, scopes=[])
        before = {user.name: user.cookie_id for user in hub.query(orm.User)}
    if end == "reset":
        reset_password(settings, "ana", "a-new-one")
    else:
        disable_user(settings, "ana")
    with hub_database(settings) as hub:
        after = {user.name: user.cookie_id for user in hub.query(orm.User)}
        assert {token.user.name for token in hub.query(orm.APIToken)} == {"ben"}
        assert hub.query(orm.APIToken).count() == 2
    assert after["ben"] == before["ben"]
    assert after["ana"]
    assert after["ana"] != before["ana"]


def test_a_disabled_persons_places_and_servers_end_even_while_the_hub_is_away(settings: Settings) -> None:
    add_user(settings, "ana", "ana-secret")
    migrate(settings)
    store = Store(database_url(settings))
    now = datetime.now(UTC)

    def row(kind: Any, key: str, **values: object) -> Any:
        return kind(id=key, profile="cpu", **values)

    def ticket(key: str, owner: str, purpose: str, subject: str) -> Any:
        return row(Ticket, key, owner=owner, purpose=purpose, subject=subject, asked_at=now)

    def lease(key: str, owner: str, purpose: str, subject: str) -> Any:
        return row(Lease, key, owner=owner, purpose=purpose, subject=subject, granted_at=now)

    def token(key: str, owner: str, lease_id: str | None) -> Token:
        times = {"made_at": now, "expires_at": now + timedelta(hours=1)}
        return Token(id=key, digest=key, owner=owner, purpose="x", lease_id=lease_id, **times)

    runs = {"owner": "ana", "phase": "running", "lease_id": "held", "asked_at": now}
    queues = {"owner": "ana", "phase": "waiting", "ticket_id": "for-server", "asked_at": now}
    job = {"owner": "ana", "name": "j", "state": "queued", "snapshot": "0", "entry": "t.py", "experiment": "e"}
    try:
        with store.transaction() as session:
            session.add_all(
                [
                    row(Environment, "runs", name="runs", **runs),
                    row(Environment, "queues", name="queues", **queues),
                    row(Job, "job", created_at=now, **job),
                    lease("held", "ana", "notebook", "runs"),
                    lease("training", "ana", "training", "other-job"),
                    lease("bens", "ben", "notebook", "bens"),
                    ticket("for-server", "ana", "notebook", "queues"),
                    ticket("for-job", "ana", "training", "job"),
                    ticket("for-model", "ana", "serving", "replica"),
                    ticket("bens", "ben", "notebook", "bens"),
                    token("own", "ana", None),
                    token("of-job", "ana", "training"),
                    token("bens", "ben", None),
                ]
            )
        assert len(disable_user(settings, "ana")) == 1, "no hub runs, and that is said"
        with store.reading() as session:
            asked = {lease.id: lease.end_reason for lease in session.scalars(sa.select(Lease))}
            waiting = {ticket.id for ticket in session.scalars(sa.select(Ticket)) if ticket.state == "waiting"}
            phases = {server.name: server.phase for server in session.scalars(sa.select(Environment))}
            states = {found.id: (found.state, found.wanted) for found in session.scalars(sa.select(Job))}
            live = {token.id for token in session.scalars(sa.select(Token)) if token.revoked_at is None}
    finally:
        store.close()
    assert asked == {"held": "stopped", "training": None, "bens": None}
    assert waiting == {"for-model", "bens"}
    assert phases == {"runs": "stopping", "queues": "stopped"}
    assert states == {"job": ("stopped", "stop")}
    assert live == {"of-job", "bens"}


def test_a_disabled_persons_schedules_are_due_no_more_and_what_runs_of_them_ends(settings: Settings) -> None:
    add_user(settings, "ana", "ana-secret")
    migrate(settings)
    store = Store(database_url(settings))
    now = datetime.now(UTC)

    def schedule(owner: str) -> Schedule:
        what = {"snapshot": "0", "notebook": "a.ipynb", "cron": "* * * * *", "timezone": "UTC", "limit_s": 60}
        return Schedule(id=owner, owner=owner, name="a", profile="cpu", next_at=now, created_at=now, **what)

    def execution(key: str, owner: str, number: int, state: str, **more: object) -> Execution:
        return Execution(
            id=key, schedule_id=owner, owner=owner, number=number, state=state, created_at=now, **more
        )

    held = {"purpose": "schedule", "profile": "cpu", "granted_at": now}
    waits = {"purpose": "schedule", "profile": "cpu", "asked_at": now}
    try:
        with store.transaction() as session:
            session.add_all([schedule("ana"), schedule("ben")])
            session.flush()
            session.add_all(
                [
                    execution("runs", "ana", 1, "running", lease_id="anas"),
                    execution("queues", "ana", 2, "queued", ticket_id="queues"),
                    execution("bens", "ben", 1, "running", lease_id="bens"),
                    Lease(id="anas", owner="ana", subject="runs", **held),
                    Lease(id="bens", owner="ben", subject="bens", **held),
                    Ticket(id="queues", owner="ana", subject="queues", **waits),
                ]
            )
        disable_user(settings, "ana")
        with store.reading() as session:
            paused = {one.id: one.next_at is None for one in session.scalars(sa.select(Schedule))}
            asked = {lease.id: lease.end_reason for lease in session.scalars(sa.select(Lease))}
            states = {one.id: (one.state, one.wanted) for one in session.scalars(sa.select(Execution))}
            ended = session.scalars(sa.select(Event).where(Event.verb == "execution.end")).all()
    finally:
        store.close()
    assert [(event.object, event.verdict["state"]) for event in ended] == [("execution:ana/a/2", "stopped")]
    assert paused == {"ana": True, "ben": False}
    assert asked == {"anas": "stopped", "bens": None}
    assert states == {"runs": ("running", "stop"), "queues": ("stopped", "run"), "bens": ("running", "run")}


def test_a_reset_pauses_what_whoever_held_the_account_may_have_scheduled(settings: Settings) -> None:
    for name in ("ana", "ben"):
        add_user(settings, name, f"{name}-secret")
    assert reset_password(settings, "ana", "a-new-one") == [], "no portal has run here yet"
    migrate(settings)
    store = Store(database_url(settings))
    now = datetime.now(UTC)
    what = {"snapshot": "0", "notebook": "a.ipynb", "cron": "* * * * *", "timezone": "UTC", "limit_s": 60}
    try:
        with store.transaction() as session:
            for key, owner, next_at in (
                ("b", "ana", now),
                ("a", "ana", now),
                ("c", "ana", None),
                ("d", "ben", now),
            ):
                row = Schedule(
                    id=key, owner=owner, name=key, profile="cpu", next_at=next_at, created_at=now, **what
                )
                session.add(row)
        assert reset_password(settings, "ana", "a-newer-one") == ["a", "b"]
        with store.reading() as session:
            due = {one.name for one in session.scalars(sa.select(Schedule)) if one.next_at is not None}
            paused = session.scalars(sa.select(Event).where(Event.verb == "schedule.pause")).all()
    finally:
        store.close()
    assert due == {"d"}
    assert {(event.object, event.verdict["code"]) for event in paused} == {
        ("schedule:ana/a", "password_reset"),
        ("schedule:ana/b", "password_reset"),
    }


def test_what_is_refused_names_the_rule(settings: Settings) -> None:
    add_user(settings, "ana", "ana-secret")
    with pytest.raises(AccountTaken):
        add_user(settings, "ana", "ana-secret")
    with pytest.raises(BadName, match=r"\[a-z\]"):
        add_user(settings, "Ana", "ana-secret")
    with pytest.raises(BadPassword, match="8 to 1000") as short:
        add_user(settings, "ben", "hunter2")
    assert "hunter2" not in str(short.value.to_wire())
    with pytest.raises(NoSuchAccount):
        reset_password(settings, "zoe", "zoe-secret")


def test_the_hub_takes_a_database_with_nothing_but_accounts_for_a_new_one(settings: Settings) -> None:
    add_user(settings, "ana", "ana-secret")
    with hub_database(settings) as hub:
        hub.add(orm.User(name="ana"))
        hub.commit()
        assert hub.scalar(sa.select(orm.User.name)) == "ana"
    assert check_password(settings, "ana", "ana-secret") is not None


def test_each_guess_beyond_a_few_waits_longer() -> None:
    now = 0.0
    throttle = Throttle(lambda: now)
    key, waits = ("ana", "10.0.0.9"), []
    for _ in range(20):
        throttle.failed(key)
        waits.append(throttle.wait(key))
    assert waits[: FREE_FAILURES - 1] == [0.0] * (FREE_FAILURES - 1)
    assert waits[FREE_FAILURES - 1] > 0
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT_S
    assert throttle.wait(("ana", "10.0.0.10")) == 0, "others may still log in as ana"
    now = LONGEST_WAIT_S
    assert throttle.wait(key) == 0
    throttle.succeeded(key)
    throttle.failed(key)
    assert throttle.wait(key) == 0

"""Accounts in the hub's database, and the slowing down of guesses."""

from __future__ import annotations

from pathlib import Path

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
from tests.e2e.portal import free_port

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:alembic")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An empty data folder; nothing runs on it."""
    made = Settings(data=tmp_path, hub_port=free_port())
    made.folder.create()
    (made.folder.secrets / "portal-token").write_text("x")
    return made


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
    url = f"sqlite:///{settings.folder.db / 'hub.sqlite'}"
    session = orm.new_session_factory(url)()
    try:
        session.add(orm.User(name="ana"))
        session.commit()
        assert session.scalar(sa.select(orm.User.name)) == "ana"
    finally:
        session.close()
        session.get_bind().dispose()
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

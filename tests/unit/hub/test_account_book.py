"""What the organisation file decides of accounts is carried out, also where it was half done before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from dure_hub.account_book import AccountBook
from dure_hub.accounts import add_user, check_password, disable_user, find_user
from dure_hub.settings import Settings
from dure_hub.store import Store
from dure_hub.store.migrate import migrate
from dure_hub.store.models import Event, Token
from dure_hub.store.session import database_url
from tests.e2e.portal import free_port

NOW = datetime.now(UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder with an empty store; nothing runs on it."""
    made = Settings(data=tmp_path, hub_port=free_port())
    made.folder.create()
    (made.folder.secrets / "portal-token").write_text("secret")
    migrate(made)
    return made


@pytest.fixture
def book(settings: Settings) -> AccountBook:
    return AccountBook(settings)


def token(settings: Settings, owner: str, admin: bool) -> str:
    """A token of this person's own."""
    name = f"{owner}-{admin}"
    store = Store(database_url(settings))
    with store.transaction() as session:
        session.add(
            Token(
                id=name,
                digest=name,
                owner=owner,
                admin=admin,
                scopes={},
                purpose="test",
                made_at=NOW,
                expires_at=NOW + timedelta(days=1),
            )
        )
    store.close()
    return name


def revoked(settings: Settings) -> set[str]:
    """The tokens that are worth nothing any more."""
    store = Store(database_url(settings))
    with store.reading() as session:
        found = set(session.scalars(select(Token.id).where(Token.revoked_at.is_not(None))))
    store.close()
    return found


def test_a_new_account_has_a_password_that_nobody_knows(settings: Settings, book: AccountBook) -> None:
    assert book.listed() == {}
    for _ in range(2):  # a portal that was killed right after does it again
        book.bring("ana", administrator=True, disabled=False)
    assert book.listed() == {"ana": {"administrator": True, "disabled": False}}
    assert check_password(settings, "ana", "") is None


def test_who_is_no_administrator_any_more_loses_what_was_made_as_one(
    settings: Settings, book: AccountBook
) -> None:
    add_user(settings, "ana", "a long password", admin=True)
    token(settings, "ana", admin=False)
    old = token(settings, "ana", admin=True)
    book.bring("ana", administrator=False, disabled=False)
    found = find_user(settings, "ana")
    assert found is not None
    assert not found.admin
    assert revoked(settings) == {old}
    assert check_password(settings, "ana", "a long password") is not None


def test_a_disabled_account_ends_as_by_the_command_also_where_it_was_half_done(
    settings: Settings, book: AccountBook
) -> None:
    add_user(settings, "ana", "a long password")
    disable_user(settings, "ana")
    own = token(settings, "ana", admin=False)  # as where the flag was set and nothing more had been done
    book.bring("ana", administrator=False, disabled=True)
    assert revoked(settings) == {own}
    store = Store(database_url(settings))
    with store.reading() as session:
        assert "account.disable" in set(session.scalars(select(Event.verb)))
    store.close()


def test_an_account_that_is_opened_again_does_not_take_its_old_password(
    settings: Settings, book: AccountBook
) -> None:
    add_user(settings, "ana", "a long password")
    disable_user(settings, "ana")
    book.bring("ana", administrator=False, disabled=False)
    assert book.listed()["ana"] == {"administrator": False, "disabled": False}
    assert check_password(settings, "ana", "a long password") is None

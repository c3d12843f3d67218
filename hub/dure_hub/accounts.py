"""People who log in by password: a table of our own in the hub's database, and what the command does to it.

Works whether or not the hub runs. The table is not among JupyterHub's own, so its migrations leave it alone;
a database that holds nothing else still counts as empty for the hub. Passwords are kept as Argon2id hashes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar

import argon2
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from dure.errors import DureError, Text
from dure_hub.hubdb import CONNECT
from dure_hub.policies.naming import PERSON_PATTERN, is_person
from dure_hub.settings import Settings

PASSWORD_MINIMUM = 8
PASSWORD_MAXIMUM = 1000

_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)  # what OWASP asks for
_ACCOUNTS = sa.Table(
    "dure_accounts",
    sa.MetaData(),
    sa.Column("name", sa.String(31), primary_key=True),
    sa.Column("password", sa.String(255), nullable=False),
    sa.Column("admin", sa.Boolean, nullable=False, default=False),
    sa.Column("disabled", sa.Boolean, nullable=False, default=False),
    sa.Column("changed_at", sa.DateTime, nullable=False),
)

_HUB_USERS = sa.table("users", sa.column("id"), sa.column("name"), sa.column("cookie_id"))
"""JupyterHub's own; a login's cookie holds `cookie_id`."""


class BadName(DureError):
    """A name that the hub would not take."""

    code, status = "bad_name", 422
    message: ClassVar[Text] = {
        "en": "{name} cannot be a person's name: it must match {rule}.",
        "ko": "{name}은(는) 사용자 이름으로 쓸 수 없습니다. {rule} 형식이어야 합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Start with a small letter; then small letters, digits, _ and -, 31 characters in all.",
        "ko": "소문자로 시작하고 소문자, 숫자, _, - 만으로 31자 이내로 지으세요.",
    }


class BadPassword(DureError):
    """A password that is too short, or absurdly long. Its text is not among the facts."""

    code, status = "bad_password", 422
    message: ClassVar[Text] = {
        "en": "This password is not accepted: it needs {minimum} to {maximum} characters.",
        "ko": "이 비밀번호는 쓸 수 없습니다. {minimum}자에서 {maximum}자까지 가능합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Choose a longer one, a short sentence for example.",
        "ko": "짧은 문장처럼 더 긴 비밀번호를 정하세요.",
    }


class AccountTaken(DureError):
    """There is one already."""

    code, status = "account_taken", 409
    message: ClassVar[Text] = {"en": "There is an account named {name}.", "ko": "{name} 계정이 이미 있습니다."}
    next_step: ClassVar[Text] = {
        "en": "`dure user reset {name}` gives it a new password and lets a disabled one in again.",
        "ko": "`dure user reset {name}`으로 새 비밀번호를 주세요. 사용이 중지된 계정도 다시 열립니다.",
    }


class NoSuchAccount(DureError):
    """There is none."""

    code, status = "no_such_account", 404
    message: ClassVar[Text] = {"en": "There is no account named {name}.", "ko": "{name} 계정이 없습니다."}
    next_step: ClassVar[Text] = {
        "en": "`dure user add {name}` makes one.",
        "ko": "`dure user add {name}`으로 만들 수 있습니다.",
    }


@dataclass(frozen=True)
class Account:
    """One person's account, without the password."""

    name: str
    admin: bool
    disabled: bool
    changed_at: datetime


def add_user(settings: Settings, name: str, password: str, admin: bool = False, actor: str | None = None) -> None:
    """Make an account. Raises for a bad name or password, and where there is one already.

    Here and below, `actor` is who did it in the words of the audit; without one, the portal itself.
    """
    from dure_hub.account_end import tell

    if not is_person(name):
        raise BadName(name=name, rule=PERSON_PATTERN)
    digest = hash_password(password)
    with opened(settings) as db:
        if _find(db, name) is not None:
            raise AccountTaken(name=name)
        insert(db, name, digest, admin)
        tell(settings, name, "account.add", actor, {"admin": admin})


def insert(db: sa.Connection, name: str, digest: str, admin: bool) -> None:
    """The row of a new account, in a transaction of `opened`."""
    row = {"name": name, "password": digest, "admin": admin, "disabled": False}
    db.execute(sa.insert(_ACCOUNTS).values(**row, changed_at=_now()))


def reset_password(settings: Settings, name: str, password: str, actor: str | None = None) -> list[str]:
    """Give an account a new password; a disabled one may log in again.

    Its schedules are paused, since whoever held the account may have made them; the names of those.

    Whoever was logged in, or held a token of this person's, is out from now on. A server that runs loses its token
    too: it goes on computing, and opens again once it was stopped and started. Tokens of jobs stay.
    """
    from dure_hub.account_end import sign_out

    _change(settings, name, sign_out=True, password=hash_password(password), disabled=False)
    return sign_out(settings, name, actor)


def set_password(settings: Settings, name: str, password: str) -> None:
    """Give an account a new password and change nothing else: what its owner does."""
    from dure_hub.account_end import tell

    digest = hash_password(password)
    tell(settings, name, "account.password", name)
    _change(settings, name, password=digest)


def set_admin(settings: Settings, name: str, admin: bool) -> None:
    """Make or unmake an administrator; the hub learns of it within seconds, at its next look at the account."""
    with opened(settings) as db:
        row = _find(db, name)
        if row is None:
            raise NoSuchAccount(name=name)
        if row["admin"] != admin:
            db.execute(sa.update(_ACCOUNTS).where(_ACCOUNTS.c.name == name).values(admin=admin, changed_at=_now()))


def open_again(settings: Settings, name: str, password: str) -> None:
    """Let a disabled account in again, with this password: the one it had may be why it was disabled."""
    _change(settings, name, password=hash_password(password), disabled=False)


def disable_user(settings: Settings, name: str, actor: str | None = None) -> list[str]:
    """Let somebody in no more. Sessions and tokens, of the hub and of the portal, end at once; the tokens
    of jobs that run end with those.

    What waits in the queue is cancelled, and servers are asked to end: by the hub now where it runs, else by the
    portal's reconciler as soon as it does. Answers with the parts that could not be reached now.
    """
    from dure_hub.account_end import end_everything_of

    _change(settings, name, sign_out=True, disabled=True)
    return asyncio.run(end_everything_of(settings, name, actor))


def list_users(settings: Settings) -> list[Account]:
    """All accounts by name."""
    with opened(settings) as db:
        return [_account(row) for row in db.execute(sa.select(_ACCOUNTS).order_by(_ACCOUNTS.c.name)).mappings()]


def find_user(settings: Settings, name: str) -> Account | None:
    """One account, or None."""
    with opened(settings) as db:
        row = _find(db, name)
    return None if row is None else _account(row)


def check_password(settings: Settings, name: str, password: str) -> Account | None:
    """The account of `name` if the password is its own and it is not disabled. Takes the same time for all."""
    with opened(settings) as db:
        row = _find(db, name)
    right = _matches(_nobody() if row is None else row["password"], password)
    if row is None or row["disabled"] or not right:
        return None
    if _HASHER.check_needs_rehash(row["password"]):
        _change(settings, name, password=hash_password(password))  # the same one, kept in a newer form
    return _account(row)


def hash_password(password: str) -> str:
    """The form in which a password is kept. Raises `BadPassword` for one too short or too long."""
    if not PASSWORD_MINIMUM <= len(password) <= PASSWORD_MAXIMUM:
        raise BadPassword(minimum=PASSWORD_MINIMUM, maximum=PASSWORD_MAXIMUM)
    return _HASHER.hash(password)


@cache
def _nobody() -> str:
    """A hash to check against where there is no account, so that a name's existence cannot be timed."""
    return _HASHER.hash("an account that does not exist")


def _matches(digest: str, password: str) -> bool:
    if len(password) > PASSWORD_MAXIMUM:
        return False
    try:
        return _HASHER.verify(digest, password)
    except (argon2.exceptions.VerifyMismatchError, argon2.exceptions.InvalidHashError):
        return False


def _change(settings: Settings, name: str, *, sign_out: bool = False, **values: object) -> None:
    with opened(settings) as db:
        done = db.execute(sa.update(_ACCOUNTS).where(_ACCOUNTS.c.name == name).values(**values, changed_at=_now()))
        if done.rowcount == 0:
            raise NoSuchAccount(name=name)
        if sign_out:
            _sign_out(db, name)


def _sign_out(db: sa.Connection, name: str) -> None:
    """End every login and hub token of a person in the hub's own tables, which are there once the hub has run."""
    if not sa.inspect(db).has_table("users"):
        return
    key = db.scalar(sa.select(_HUB_USERS.c.id).where(_HUB_USERS.c.name == name))
    if key is None:
        return
    db.execute(sa.update(_HUB_USERS).where(_HUB_USERS.c.id == key).values(cookie_id=secrets.token_hex(16)))
    for table in ("api_tokens", "oauth_codes"):
        db.execute(sa.delete(sa.table(table, sa.column("user_id"))).where(sa.column("user_id") == key))


@contextmanager
def opened(settings: Settings) -> Iterator[sa.Connection]:
    """A transaction in the hub's database, with the table there."""
    path = settings.folder.db / "hub.sqlite"
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args=CONNECT)
    with engine.begin() as db:
        _ACCOUNTS.create(db, checkfirst=True)
        yield db


def _find(db: sa.Connection, name: str) -> dict[str, Any] | None:
    row = db.execute(sa.select(_ACCOUNTS).where(_ACCOUNTS.c.name == name)).mappings().first()
    return None if row is None else dict(row)


def _account(row: Mapping[Any, Any]) -> Account:
    return Account(row["name"], row["admin"], row["disabled"], row["changed_at"].replace(tzinfo=UTC))


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)

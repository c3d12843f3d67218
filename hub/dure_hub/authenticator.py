"""Login by password, one account a person; and the page on which people change theirs.

JupyterHub's own login page and handler do the talking. There is no sign-up: accounts come from `dure user add`.
`dure user reset` and `dure user disable` end every login and hub token in the hub's database themselves; whatever
came after that is turned away at the next look at the account: at most `REFRESH_S` seconds later, by cookie or by
token, and at every start of a server.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from jupyterhub import orm, roles
from jupyterhub.auth import Authenticator
from jupyterhub.handlers import BaseHandler
from jupyterhub.user import User
from tornado import web
from traitlets import Unicode

from dure.errors import DureError
from dure_hub import login_audit
from dure_hub.accounts import (
    Account,
    add_user,
    check_password,
    disable_user,
    find_user,
    list_users,
    reset_password,
    set_password,
)
from dure_hub.hubpages import SENTENCES, language_of
from dure_hub.operations.audit import Audit
from dure_hub.policies.naming import PERSON_PATTERN, is_person
from dure_hub.settings import Settings, load_settings

__all__ = ["DureAuthenticator", "add_user", "disable_user", "list_users", "reset_password"]

ADMIN_ROLE = "dure-admin"
REFRESH_S = 10
FREE_FAILURES = 5
FIRST_WAIT_S = 15.0
LONGEST_WAIT_S = 900.0
_REMEMBERED = 10_000
_HASHES_AT_ONCE = 2  # each takes 19 MiB and a core for a moment
_MOST_WAITING, _MOST_OF_ADDRESS = 400, 40
_BUSY_S = 5  # what who comes to a full line is asked to wait


class Throttle:
    """Makes guessing slow: after a few failures each further one doubles the wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}

    def wait(self, key: tuple[str, str]) -> float:
        """Seconds until this key may try again; 0 is now."""
        _, until = self._failures.get(key, (0, 0.0))
        return max(0.0, until - self.clock())

    def failed(self, key: tuple[str, str]) -> None:
        """Count a failure."""
        count = self._failures.pop(key, (0, 0.0))[0] + 1
        over = count - FREE_FAILURES
        wait = 0.0 if over < 0 else min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(over, 10))
        self._failures[key] = (count, self.clock() + wait)
        while len(self._failures) > _REMEMBERED:
            del self._failures[next(iter(self._failures))]

    def succeeded(self, key: tuple[str, str]) -> None:
        """Forget what failed before."""
        self._failures.pop(key, None)


class Line:
    """Attempts stand in line for the few that are looked at at a time; a line that is full takes no more.

    Whoever stands first is asked about by the throttle again: what failed meanwhile counts for those behind.
    """

    def __init__(self, throttle: Throttle, at_once: int) -> None:
        self._throttle = throttle
        self._room = asyncio.Semaphore(at_once)
        self._waiting: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, key: tuple[str, str]) -> AsyncIterator[None]:
        """One's turn. Raises `TooManyFailures` before it, where the line is full or the name was guessed at."""
        self._refuse(key)
        address = key[1]
        if self._waiting.total() >= _MOST_WAITING or self._waiting[address] >= _MOST_OF_ADDRESS:
            raise TooManyFailures(_BUSY_S)
        self._waiting[address] += 1
        try:
            async with self._room:
                self._refuse(key)
                yield
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]

    def _refuse(self, key: tuple[str, str]) -> None:
        if (wait := self._throttle.wait(key)) > 0:
            raise TooManyFailures(int(wait) + 1)


class DureAuthenticator(Authenticator):  # type: ignore[misc]
    """Checks a name and a password against the accounts in the hub's database."""

    data = Unicode(help="The portal's data folder.").tag(config=True)
    audit: Audit | None = None
    """Told of logins that fail. Of the class, for one process: JupyterHub copies what is in its configuration."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.allow_all = True  # who has an account may log in; nobody else passes `authenticate`
        self.username_pattern = f"^{PERSON_PATTERN}$"
        self.auth_refresh_age = REFRESH_S
        self.auth_refresh_strict = True
        self.refresh_pre_spawn = True
        self.throttle = Throttle()
        self.log.addFilter(login_audit.NO_TYPED_NAMES)
        self._line = Line(self.throttle, _HASHES_AT_ONCE)

    @property
    def settings(self) -> Settings:
        """The portal's settings as `up` resolved them."""
        return load_settings(self.data)

    async def check(self, name: str, password: str, address: str) -> Account | None:
        """The account, or None. Raises 429 where this name was guessed at too often from this address."""
        key = (name, address)
        async with self._line.turn(key):
            account = await asyncio.to_thread(check_password, self.settings, name, password)
            if account is None:
                self.throttle.failed(key)
            else:
                self.throttle.succeeded(key)
        return account

    async def authenticate(self, handler: Any, data: dict[str, str]) -> dict[str, Any] | None:
        """Name and administrator's flag of whom the password belongs to."""
        if "username" not in data or "password" not in data:
            raise web.HTTPError(400, "a login needs a username and a password")
        name = self.normalize_username(data["username"].strip())
        if not is_person(name):
            await self._tell_failure(handler, None, "no_account")
            return None
        try:
            account = await self.check(name, data["password"], handler.request.remote_ip or "")
        except TooManyFailures as error:
            await self._tell_failure(handler, name, "throttled")
            raise error.said_in(language_of(handler)) from error
        if account is None:
            await self._tell_failure(handler, name, "wrong_password")
            return None
        if known := handler.find_user(name):
            # `dure user reset` changed these rows behind the hub, which else goes by what it once read.
            handler.db.expire(known.orm_user, ["cookie_id", "api_tokens"])
            give_role(handler.db, known.orm_user, account.admin)
        return {"name": account.name, "admin": account.admin}

    async def _tell_failure(self, handler: Any, name: str | None, code: str) -> None:
        if self.audit is None:
            return
        account = None if name is None else await asyncio.to_thread(find_user, self.settings, name)
        if account is None:
            name, code = None, "no_account"
        elif account.disabled:
            code = "disabled"
        login_audit.failed(self.audit, handler, name, code)

    async def refresh_user(self, user: Any, handler: Any = None, **_: Any) -> bool | dict[str, Any]:
        """False ends every session and token of an account that is gone or disabled."""
        account = await asyncio.to_thread(find_user, self.settings, user.name)
        if account is None or account.disabled:
            return False
        if account.admin == user.admin:
            return True
        give_role(user.db, user.orm_user, account.admin)
        return {"name": account.name, "admin": account.admin}

    def add_user(self, user: Any) -> None:
        """The hub meets a person for the first time."""
        super().add_user(user)
        if isinstance(user, User):  # at its start the hub comes here with bare rows, which have their role already
            account = find_user(self.settings, user.name)
            give_role(user.db, user.orm_user, account is not None and account.admin)

    def get_handlers(self, app: Any) -> list[tuple[str, type]]:
        """The page for one's own password, besides the hub's own login."""
        return [*super().get_handlers(app), (r"/change-password", ChangePassword)]


class TooManyFailures(Exception):
    """Guessing is slowed down."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        super().__init__(f"wait {seconds} s")

    def said_in(self, language: str) -> web.HTTPError:
        """The answer to a browser or a script."""
        error = web.HTTPError(429, SENTENCES["throttled"][language].format(seconds=self.seconds))
        vars(error)["headers"] = {"Retry-After": str(self.seconds)}  # where the hub's handlers look for them
        return error


class ChangePassword(BaseHandler):  # type: ignore[misc]
    """One's own password. Asks for the present one; ends every session but this one."""

    @web.authenticated
    async def get(self) -> None:
        """The form."""
        self.finish(await self.render_template("change-password.html"))

    @web.authenticated
    async def post(self) -> None:
        """Change it; the form comes back with a sentence where that is not possible."""
        authenticator: DureAuthenticator = self.authenticator
        user, language = self.current_user, language_of(self)
        present, wanted = self.get_argument("present", "", strip=False), self.get_argument("new", "", strip=False)
        try:
            if await authenticator.check(user.name, present, self.request.remote_ip or "") is None:
                raise web.HTTPError(403, SENTENCES["wrong present"][language])
            if wanted != self.get_argument("again", "", strip=False):
                raise web.HTTPError(422, SENTENCES["differ"][language])
            await asyncio.to_thread(set_password, authenticator.settings, user.name, wanted)
        except TooManyFailures as error:
            return await self._again(429, error.said_in(language).log_message or "")
        except DureError as error:
            return await self._again(error.status, f"{error.text(language)} {error.advice(language)}")
        except web.HTTPError as error:
            return await self._again(error.status_code, error.log_message or "")
        user.orm_user.cookie_id = orm.new_token()
        end_sessions(self.db, user.orm_user, but=self.get_session_cookie())
        self.db.commit()
        self.set_hub_cookie(user)
        self.finish(await self.render_template("change-password.html", done=True))
        return None

    async def _again(self, status: int, sentence: str) -> None:
        self.set_status(status)
        self.finish(await self.render_template("change-password.html", sentence=sentence))


def end_sessions(db: Any, owner: Any, *, but: str | None) -> None:
    """End what other browsers hold: the tokens in cookies of the portal and of servers, and codes for such.

    A token without a session is a program's or a running server's own, and stays.
    """
    for kind in (orm.APIToken, orm.OAuthCode):
        held = db.query(kind).filter(kind.user_id == owner.id, kind.session_id.is_not(None))
        for row in held.filter(kind.session_id != (but or "")):
            db.delete(row)


def give_role(db: Any, entity: Any, admin: bool) -> None:
    """Give or take the role that carries the administrator's custom scope.

    The hub's own `admin` role cannot be extended, and its groups are the portal's teams, so neither can do this.
    """
    role = orm.Role.find(db, ADMIN_ROLE)
    if role is None:
        return
    if admin and role not in entity.roles:
        roles.grant_role(db, entity, role)
    elif not admin and role in entity.roles:
        roles.strip_role(db, entity, role)

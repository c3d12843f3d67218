"""Login by name and password, which a directory checks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tornado import web

from dure.errors import DureError
from dure_hub import login_audit
from dure_hub.authenticator import Line, Throttle, TooManyFailures
from dure_hub.hubpages import language_of
from dure_hub.logins.directory import Directory, Entry
from dure_hub.logins.outcomes import Confirmed, Gone, Outcome, Unreachable, confirmed
from dure_hub.logins.vouched import Vouched, refused
from dure_hub.operations.login_errors import ProviderAway
from dure_hub.policies.naming import is_login

_AT_ONCE = 8


class DureLdap(Vouched):
    """Lets in whose password a directory takes."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.directory = Directory(self.ops.settings)
        self.throttle = Throttle()
        self._line = Line(self.throttle, _AT_ONCE)
        self._looking = asyncio.Semaphore(_AT_ONCE)
        # Threads of its own, one for each question at a time: a directory that is away takes none from the store.
        self._threads = ThreadPoolExecutor(2 * _AT_ONCE, thread_name_prefix="directory")

    async def authenticate(self, handler: Any, data: dict[str, str]) -> dict[str, Any] | None:
        """The hub's model of whom the password belongs to."""
        if "username" not in data or "password" not in data:
            raise web.HTTPError(400, "a login needs a username and a password")
        name = data["username"].strip()
        if not is_login(name.lower()):
            login_audit.failed(self.ops.audit, handler, None, "no_account")
            return None
        try:
            entry = await self._entry(name, data["password"], handler.request.remote_ip or "")
            if entry is None:
                await self._tell_failure(handler, name.lower(), "wrong_password")
                return None
            return await self.let_in(handler, entry.name, self._confirmed(entry))
        except TooManyFailures as error:
            await self._tell_failure(handler, name.lower(), "throttled")
            raise error.said_in(language_of(handler)) from error
        except DureError as error:
            self.log.warning("a login was refused: %s", error)
            raise refused(handler, error) from error

    async def look(self, user: Any) -> Outcome:
        """Look them up by the portal's own account."""
        if not self.directory.can_ask_later:
            return Unreachable("without ldap_bind_dn nobody can be asked about")
        try:
            async with self._looking:
                entry = await self._ask(self.directory.find, user.name)
        except ProviderAway as error:
            return Unreachable(str(error.facts["why"]))
        if entry is None:
            return Gone("the directory has no such person")
        if entry.disabled:
            return Gone("the account is disabled in the directory")
        known = await self.ops.logins.subject(user.name)
        if known and entry.subject and known != entry.subject:
            return Gone("the directory's account is another one")
        return self._confirmed(entry)

    async def _entry(self, name: str, password: str, address: str) -> Entry | None:
        """Whose name and password this is. Raises `TooManyFailures`, `ProviderAway`."""
        key = (name.lower(), address)
        async with self._line.turn(key):
            entry = await self._ask(self.directory.login, name, password)
            if entry is None:
                self.throttle.failed(key)
            else:
                self.throttle.succeeded(key)
        return entry

    async def _ask(self, question: Callable[..., Entry | None], *words: str) -> Entry | None:
        return await asyncio.get_running_loop().run_in_executor(self._threads, question, *words)

    async def _tell_failure(self, handler: Any, name: str, code: str) -> None:
        """The audit names whoever has signed in here before; what else was typed may be a password."""
        known = await self.ops.logins.state(name) is not None
        login_audit.failed(self.ops.audit, handler, name if known else None, code if known else "no_account")

    def _confirmed(self, entry: Entry) -> Confirmed:
        return confirmed(self.ops.settings, entry.name.lower(), entry.subject, entry.groups)

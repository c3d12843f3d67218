"""Login by name and password, which a directory checks."""

from __future__ import annotations

import asyncio
from typing import Any

from tornado import web

from dure.errors import DureError
from dure_hub.authenticator import Throttle, TooManyFailures
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
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def authenticate(self, handler: Any, data: dict[str, str]) -> dict[str, Any] | None:
        """The hub's model of whom the password belongs to."""
        if "username" not in data or "password" not in data:
            raise web.HTTPError(400, "a login needs a username and a password")
        name = data["username"].strip()
        if not is_login(name.lower()):
            return None
        key = (name.lower(), handler.request.remote_ip or "")
        if (wait := self.throttle.wait(key)) > 0:
            raise TooManyFailures(int(wait) + 1).said_in(language_of(handler))
        try:
            async with self._room:
                entry = await asyncio.to_thread(self.directory.login, name, data["password"])
            if entry is None:
                self.throttle.failed(key)
                return None
            self.throttle.succeeded(key)
            return await self.let_in(handler, entry.name, self._confirmed(entry))
        except DureError as error:
            self.log.warning("a login was refused: %s", error)
            raise refused(handler, error) from error

    async def look(self, user: Any) -> Outcome:
        """Look them up by the portal's own account."""
        if not self.directory.can_ask_later:
            return Unreachable("without ldap_bind_dn nobody can be asked about")
        try:
            async with self._room:
                entry = await asyncio.to_thread(self.directory.find, user.name)
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

    def _confirmed(self, entry: Entry) -> Confirmed:
        return confirmed(self.ops.settings, entry.name.lower(), entry.subject, entry.groups)

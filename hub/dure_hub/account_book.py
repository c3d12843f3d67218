"""The accounts of people who log in by password, as the organisation file brings them about."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from dure_hub import account_end, accounts
from dure_hub.settings import Settings


class AccountBook:
    """Looks at accounts and brings one to what was decided. Blocking: for a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def listed(self) -> Mapping[str, Mapping[str, bool]]:
        """Of each account, whether it is an `administrator` and `disabled`."""
        if not (self._settings.folder.db / "hub.sqlite").exists():
            return {}
        return {
            one.name: {"administrator": one.admin, "disabled": one.disabled}
            for one in accounts.list_users(self._settings)
        }

    def bring(self, name: str, administrator: bool, disabled: bool) -> None:
        """Make it so; each step may have been done before, by a portal that was killed then.

        A new account, and one that is opened again, gets a password that nobody knows: `dure user reset` sets one.
        Who is no administrator any more loses the tokens made while they were.
        """
        found = accounts.find_user(self._settings, name)
        if found is None:
            accounts.add_user(self._settings, name, _unknown(), admin=administrator)
        elif not administrator:
            account_end.revoke_tokens_of_administrator(self._settings, name)
        accounts.set_admin(self._settings, name, administrator)
        if disabled:
            accounts.disable_user(self._settings, name)
        elif found is not None and found.disabled:
            accounts.open_again(self._settings, name, _unknown())


def _unknown() -> str:
    """A password that is kept nowhere."""
    return secrets.token_urlsafe(32)

"""What the hub's authenticators over OIDC and LDAP have in common: who is let in, and who stays."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from jupyterhub import orm
from jupyterhub.auth import Authenticator
from jupyterhub.user import User
from tornado import web

from dure.errors import DureError
from dure_hub import login_audit
from dure_hub.authenticator import REFRESH_S, give_role
from dure_hub.hubpages import language_of
from dure_hub.logins.outcomes import Confirmed, Gone, Outcome, Unreachable
from dure_hub.logins.recheck import Recheck
from dure_hub.operations.login_errors import BadLoginName
from dure_hub.policies.logins import is_due
from dure_hub.policies.naming import LOGIN_PATTERN, is_login

if TYPE_CHECKING:
    from dure_hub.operations import Operations


class Vouched(Authenticator):  # type: ignore[misc]
    """Lets in whom the provider confirms, as long as it does."""

    ops: ClassVar[Operations]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.allow_all = True  # whom the provider lets in; it knows who may
        self.enable_auth_state = True
        self.manage_groups = self.ops.settings.groups_managed
        # Each look at a person reads what was last heard of them; the provider is asked by `recheck`.
        self.auth_refresh_age = REFRESH_S
        self.auth_refresh_strict = True
        self.refresh_pre_spawn = True
        self._admins: set[str] = set()
        self.logins_of: Counter[str] = Counter()
        """How often each has signed in since the hub runs: what was asked before a login says nothing after it."""
        self.recheck = Recheck(self)
        self.log.addFilter(login_audit.NO_TYPED_NAMES)

    async def look(self, user: Any) -> Outcome:
        """Ask the provider about a person who is signed in. Raises nothing that says something of the person."""
        raise NotImplementedError

    async def let_in(self, handler: Any, name: str, found: Confirmed) -> dict[str, Any]:
        """The hub's model of a person whom the provider has just confirmed. Raises `DureError`."""
        name = name.strip().lower()
        if not is_login(name):
            raise BadLoginName(name=name[:80], rule=LOGIN_PATTERN)
        await self.ops.logins.confirmed(name, found.subject, found.teams, admin=found.admin)
        self.logins_of[name] += 1
        self._note_admin(name, found.admin)
        if known := handler.find_user(name):
            give_role(handler.db, known.orm_user, found.admin)
        return self._model(name, found)

    async def refresh_user(self, user: Any, handler: Any = None, **_: Any) -> bool | dict[str, Any]:
        """False ends every session and token of somebody whom the provider confirms no more."""
        state = await self.ops.logins.state(user.name)
        now, every_s = self.ops.clock(), 2 * self.ops.settings.login_check_s
        if state is None or (state.ended_at is None and is_due(state.checked_at, every_s, now)):
            # Nobody has asked lately: a portal that was down, or somebody who comes back after days.
            if state is not None and state.failing_since is not None:
                self.recheck.begin_one(user)  # the provider is away: nobody's page waits for it once more
                return True
            try:
                await self.recheck.one(user)
            except DureError as error:  # the store is busy; the next round asks again
                self.log.warning("%s could not be checked now: %s", user.name, error)
            state = await self.ops.logins.state(user.name)
        return state is None or state.ended_at is None

    async def take_over(self, user: Any, found: Confirmed) -> None:
        """Write a new outcome into the hub's own rows: teams, administrator's rights, what is kept."""
        if found.admin != user.admin:
            user.admin = found.admin
        give_role(user.db, user.orm_user, found.admin)
        if found.teams is not None and self.manage_groups:
            user.sync_groups(list(found.teams.names))
        user.db.commit()

    def end_hub_logins(self, user: Any) -> None:
        """End every session and token of a person in the hub's database."""
        db, row = user.db, user.orm_user
        for kind in (orm.APIToken, orm.OAuthCode):
            for held in db.query(kind).filter(kind.user_id == row.id):
                db.delete(held)
        row.cookie_id = orm.new_token()
        row.encrypted_auth_state = None
        db.commit()

    def add_user(self, user: Any) -> None:
        """The hub meets a person for the first time, or starts (then with bare rows, which have their roles)."""
        super().add_user(user)
        if isinstance(user, User):
            give_role(user.db, user.orm_user, user.name in self._admins)

    def get_handlers(self, app: Any) -> list[tuple[str, Any]]:
        """The login's own; the hub asks for them once, when its loop runs."""
        self.recheck.begin(app)
        handlers: list[tuple[str, Any]] = super().get_handlers(app)
        return handlers

    def _note_admin(self, name: str, admin: bool) -> None:
        if admin:
            self._admins.add(name)
        else:
            self._admins.discard(name)

    def _model(self, name: str, found: Confirmed) -> dict[str, Any]:
        model: dict[str, Any] = {
            "name": name,
            "admin": found.admin,
            "auth_state": dict(found.kept or {"by": "login"}),
        }
        if self.manage_groups:
            model["groups"] = None if found.teams is None else list(found.teams.names)
        return model


def refused(handler: Any, error: DureError) -> web.HTTPError:
    """The answer to a browser, in its language."""
    language = language_of(handler)
    return web.HTTPError(error.status, f"{error.text(language)} {error.advice(language)}")


async def heard(authenticator: Vouched, user: Any) -> Outcome:
    """What the provider says, and what it says of our own fault or its own: nothing of the person."""
    try:
        async with asyncio.timeout(30):
            return await authenticator.look(user)
    except TimeoutError:
        return Unreachable("it did not answer within 30 s")
    except Exception as error:  # a bug of ours must end nobody either
        authenticator.log.exception("asking about %s failed", user.name)
        return Unreachable(type(error).__name__)


__all__ = ["Confirmed", "Gone", "Outcome", "Unreachable", "Vouched", "heard", "refused"]

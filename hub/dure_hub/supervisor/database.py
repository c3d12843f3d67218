"""Whether the database that the settings name can be used: checked by `up` before anything is ended or changed."""

from __future__ import annotations

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from dure.errors import NotReady
from dure_hub.settings import Settings
from dure_hub.store import Store, database_url
from dure_hub.supervisor.errors import BadSetting, DatabaseAway

_FORM = "it is empty, or postgresql+psycopg://user@host/name"
_ELSEWHERE = "a password stands in a file of its own, named by database_password_file"
_MODE = "others may read it: chmod 600"


def check(settings: Settings) -> None:
    """Raise `BadSetting` where it is not named as it must be, `DatabaseAway` where it does not answer.

    The rules are here and not with the settings: what is refused there is shown, and it may hold a password.
    """
    shown = _named(settings.database_url)
    file = settings.database_password_file
    try:
        if file is not None and file.stat().st_mode & 0o077:
            raise BadSetting(name="database_password_file", value=str(file), rule=_MODE)
        store = Store(database_url(settings))
    except OSError as why:
        raise BadSetting(name="database_password_file", value=str(file), rule=why.strerror or str(why)) from why
    try:
        store.revision()
    except NotReady as why:
        cause = why.__cause__
        said = cause.orig if isinstance(cause, DBAPIError) else cause
        raise DatabaseAway(address=shown, reason=" ".join(str(said).split())) from why
    finally:
        store.close()


def _named(address: str) -> str:
    """The address as it may be shown."""
    try:
        url: URL = make_url(address)
    except ArgumentError:
        raise BadSetting(name="database_url", value="what is written there", rule=_FORM) from None
    shown = url.difference_update_query(["password"]).render_as_string()
    if url.drivername != "postgresql+psycopg":
        raise BadSetting(name="database_url", value=shown, rule=_FORM)
    if url.password is not None or "password" in url.query:
        raise BadSetting(name="database_url", value=shown, rule=_ELSEWHERE)
    return shown

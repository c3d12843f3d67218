"""A directory (LDAP) as this portal speaks to it: finding a person and their groups, and checking a password.

Blocking; for threads. What was typed reaches the directory only escaped, an empty password never.
"""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ldap3
from ldap3.core.exceptions import LDAPException
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import escape_rdn, parse_dn

from dure_hub.operations.login_errors import ProviderAway
from dure_hub.settings import Settings

log = logging.getLogger("dure.logins")

_CONNECT_S, _ANSWER_S = 5, 10
_WRONG_PASSWORD = 49  # invalidCredentials
_MAY_NOT = frozenset({19, 48, 50, 53})
"""constraintViolation, inappropriateAuthentication, insufficientAccessRights, unwillingToPerform."""
_NO_ENTRY = 32
_MOST_GROUPS = 1000
_IDS = ("entryUUID", "objectGUID", "nsUniqueId", "ipaUniqueID")


@dataclass(frozen=True)
class Entry:
    """A person's entry. `name` is the directory's own writing of it; `subject` its id that no rename changes."""

    dn: str
    name: str
    subject: str | None
    disabled: bool
    groups: list[str] | None


class Directory:
    """One directory, by the settings. A connection for each question: people log in rarely."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def find(self, name: str) -> Entry | None:
        """A person by name, looked up by the portal's own account; None where there is none, or more than one.

        Raises `ProviderAway` where the directory does not answer, or not to us.
        """
        with self._as_portal() as connection:
            return self._find(connection, name)

    def login(self, name: str, password: str) -> Entry | None:
        """The person whose name and password this is; None where it is nobody's, or the account is disabled.

        Raises `ProviderAway`.
        """
        if not password or not name:
            return None  # a directory takes a bind without a password as one by nobody, and lets it succeed
        if not self._settings.ldap_bind_dn:
            return self._login_as_self(name, password)
        entry = self.find(name)
        if entry is None or entry.disabled:
            return None
        with self._connected(entry.dn, password) as connection:
            return entry if connection is not None else None

    @property
    def can_ask_later(self) -> bool:
        """Whether somebody can be looked up without their password."""
        return bool(self._settings.ldap_bind_dn)

    def _login_as_self(self, name: str, password: str) -> Entry | None:
        with self._connected(self._dn_of(name), password) as connection:
            if connection is None:
                return None
            entry = self._find(connection, name)
            return None if entry is None or entry.disabled else entry

    def _find(self, connection: ldap3.Connection, name: str) -> Entry | None:
        settings = self._settings
        wanted = [settings.ldap_name_attribute, "memberOf", *_IDS]
        if settings.ldap_user_dn:
            found = _search(connection, self._dn_of(name), "(objectClass=*)", ldap3.BASE, wanted)
        else:
            asked = settings.ldap_user_filter.replace("{name}", escape_filter_chars(name))
            found = _search(connection, settings.ldap_user_base, asked, ldap3.SUBTREE, wanted)
        if len(found) != 1:
            return None
        dn, attributes = found[0]
        written = _first(attributes, settings.ldap_name_attribute)
        if written is None:
            return None
        off = settings.ldap_disabled_filter
        disabled = bool(off) and bool(_search(connection, dn, off, ldap3.BASE, ["1.1"]))
        groups = self._groups(connection, dn, written, attributes)
        subject = next((value for one in _IDS if (value := _first(attributes, one))), None)
        return Entry(dn, written, subject, disabled, groups)

    def _groups(
        self, connection: ldap3.Connection, dn: str, name: str, attributes: Mapping[str, Any]
    ) -> list[str] | None:
        settings = self._settings
        if settings.ldap_groups == "none":
            return None
        if settings.ldap_groups == "memberof":
            named = [dn_text(value) for value in attributes.get("memberOf", ())]
            return [group for one in named if (group := self._name_of(one)) is not None]
        asked = settings.ldap_group_filter.replace("{dn}", escape_filter_chars(dn))
        asked = asked.replace("{name}", escape_filter_chars(name))
        attribute = settings.ldap_group_attribute
        found = _search(connection, settings.ldap_group_base, asked, ldap3.SUBTREE, [attribute])
        return [group for _, one in found if (group := _first(one, attribute)) is not None]

    def _name_of(self, dn: str) -> str | None:
        """The first part's value of a group's DN, where it counts: below `ldap_group_base`, if that is set."""
        parts, base = _parts(dn), _parts(self._settings.ldap_group_base)
        if not parts or (base and parts[-len(base) :] != base):
            return None
        return unescaped(str(parse_dn(dn)[0][1]))

    def _dn_of(self, name: str) -> str:
        return self._settings.ldap_user_dn.replace("{name}", escape_rdn(name))

    @contextmanager
    def _as_portal(self) -> Iterator[ldap3.Connection]:
        with self._connected(self._settings.ldap_bind_dn, self._settings.ldap_bind_password) as connection:
            if connection is None:
                raise ProviderAway(why="the directory does not take ldap_bind_dn and its password")
            yield connection

    @contextmanager
    def _connected(self, dn: str, password: str) -> Iterator[ldap3.Connection | None]:
        """A connection bound as `dn`; None where that password is not its own."""
        if not dn or not password:
            raise ProviderAway(why="no bind without a name and a password")
        settings = self._settings
        tls = Encryption(None if settings.ldap_ca_file is None else str(settings.ldap_ca_file))
        server = ldap3.Server(
            settings.ldap_url, tls=tls, get_info=ldap3.NONE, connect_timeout=_CONNECT_S, allowed_referral_hosts=[]
        )
        connection = ldap3.Connection(
            server,
            user=dn,
            password=password,
            authentication=ldap3.SIMPLE,
            receive_timeout=_ANSWER_S,
            auto_referrals=False,
            check_names=False,
            read_only=True,
        )
        try:
            connection.open()
            encrypts = settings.ldap_start_tls and not settings.ldap_url.startswith("ldaps:")
            if encrypts and not connection.start_tls():
                raise ProviderAway(why="the directory does not start TLS")
            yield connection if _bound(connection) else None
        except LDAPException as error:
            raise ProviderAway(why=f"the directory: {type(error).__name__}") from error
        except OSError as error:
            raise ProviderAway(why=f"the directory: {error.strerror or type(error).__name__}") from error
        finally:
            _close(connection)


class Encryption(ldap3.Tls):  # type: ignore[misc]
    """TLS by Python's own checks of certificate and host; ldap3's are of before Python had any."""

    def __init__(self, ca: str | None) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED, ca_certs_file=ca)
        self._context = ssl.create_default_context(cafile=ca)

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        """Encrypt the connection's socket; raises `ssl.SSLError` where the directory is another one."""
        plain = connection.socket
        try:
            connection.socket = self._context.wrap_socket(plain, server_hostname=connection.server.host)
        except OSError:
            plain.close()
            raise


def _close(connection: ldap3.Connection) -> None:
    """Say goodbye where somebody listens, and close the socket anyhow: ldap3 leaves it open after a failure."""
    try:
        if not connection.closed and connection.bound:
            connection.unbind()
    except LDAPException as error:
        log.debug("a connection to the directory was not ended in its words: %s", error)
    finally:
        if connection.socket is not None:
            connection.socket.close()


def dn_text(value: Any) -> str:
    """A value as text; what is no UTF-8 cannot be a name."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def unescaped(value: str) -> str:
    """A value of a DN as it is meant: `\\2C` and `\\,` are a comma."""

    def plain(found: re.Match[bytes]) -> bytes:
        escaped = found.group(1)
        return bytes([int(escaped, 16)]) if len(escaped) == 2 else escaped

    return re.sub(rb"\\([0-9A-Fa-f]{2}|.)", plain, value.encode()).decode("utf-8", "replace")


def _bound(connection: ldap3.Connection) -> bool:
    if connection.bind():
        return True
    code = connection.result["result"]
    if code in (_WRONG_PASSWORD, _NO_ENTRY) or code in _MAY_NOT:
        return False
    raise ProviderAway(why=f"the directory: {connection.result.get('description', code)}")


def _search(
    connection: ldap3.Connection, base: str, asked: str, scope: str, attributes: list[str]
) -> list[tuple[str, Mapping[str, Any]]]:
    """DN and attributes of what is found; empty where the base is not there. Raises `ProviderAway` otherwise."""
    found = connection.search(base, asked, search_scope=scope, attributes=attributes, size_limit=_MOST_GROUPS)
    code = connection.result["result"]
    if not found and code not in (0, _NO_ENTRY):
        raise ProviderAway(why=f"the directory: {connection.result.get('description', code)}")
    entries = connection.response or []
    return [(one["dn"], one["attributes"]) for one in entries if one["type"] == "searchResEntry"]


def _first(attributes: Mapping[str, Any], name: str) -> str | None:
    for known, values in attributes.items():
        if known.lower() == name.lower() and values:
            first = values[0] if isinstance(values, list) else values
            return first.hex() if isinstance(first, bytes) and name == "objectGUID" else dn_text(first)
    return None


def _parts(dn: str) -> list[tuple[str, str]]:
    """The parts of a DN, comparable."""
    return [(kind.lower(), value.lower()) for kind, value, _ in parse_dn(dn)] if dn else []

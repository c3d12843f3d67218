"""Reads an old hub, by its database or its REST API. Nothing of it is ever written."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from dure_hub.importing.errors import NoSecret, NoSuchHub, StrangeHub
from dure_hub.policies.importing import OldUser

VARIABLE = "DURE_IMPORT_SECRET"
OLDEST, NEWEST = 2, 6
_PAGE = 200
_NEEDED: Mapping[str, frozenset[str]] = {
    "users": frozenset({"id", "name", "admin"}),
    "groups": frozenset({"id", "name"}),
    "user_group_map": frozenset({"user_id", "group_id"}),
    "spawners": frozenset({"user_id", "name", "state"}),
    # since version 2: before it there were no roles, and tokens had no scopes
    "roles": frozenset({"id", "name", "scopes"}),
    "user_role_map": frozenset({"user_id", "role_id"}),
}


def read_hub(source: str, secret_file: Path | None = None) -> list[OldUser]:
    """Everybody whom the old hub knows, by name. Raises `NoSuchHub`, `StrangeHub`, `NoSecret`."""
    if source.startswith(("http://", "https://")):
        return _by_api(source.rstrip("/"), secret_file)
    return _by_database(source, secret_file)


def secret(secret_file: Path | None) -> str | None:
    """The token or password, from a file that nobody else can read, or from the environment."""
    if secret_file is None:
        return os.environ.get(VARIABLE, "").strip() or None
    try:
        if secret_file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise NoSecret(what=str(secret_file), why="others can read it / 다른 사람이 읽을 수 있음")
        return secret_file.read_text().strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise NoSecret(what=str(secret_file), why=getattr(error, "strerror", None) or "no text") from error


def _by_database(source: str, secret_file: Path | None) -> list[OldUser]:
    shown = source
    try:
        if "://" in source:
            url = make_url(source)
            shown = url.render_as_string(hide_password=True)
            if url.password is not None:
                raise NoSecret(
                    what="the password / 비밀번호",
                    why="everybody here can read a command / 명령줄은 누구나 봅니다",
                )
            sqlite = url.get_backend_name() == "sqlite"
            engine = _sqlite(Path(url.database or "")) if sqlite else _server(url, secret(secret_file))
        else:
            engine = _sqlite(Path(source))
        with engine.connect() as db:
            return _people(db, shown)
    except (ArgumentError, SQLAlchemyError, sqlite3.Error, ImportError, OSError) as error:
        why = getattr(error, "orig", None) or error
        raise NoSuchHub(source=shown, why=str(why).splitlines()[0][:200]) from None


def _sqlite(path: Path) -> sa.Engine:
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    return sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(address, uri=True), poolclass=NullPool)


def _server(url: sa.URL, password: str | None) -> sa.Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    options = {"postgresql_readonly": True} if url.get_backend_name() == "postgresql" else {}
    return sa.create_engine(url.set(password=password), poolclass=NullPool, execution_options=options)


def _people(db: sa.Connection, source: str) -> list[OldUser]:
    """The rows, after a look at which tables are there."""
    there = sa.inspect(db)
    tables = set(there.get_table_names())
    if "dure_accounts" in tables:
        raise StrangeHub(source=source, why="it is a hub of Dure itself")
    for table, columns in _NEEDED.items():
        if table not in tables or not columns <= {one["name"] for one in there.get_columns(table)}:
            raise StrangeHub(source=source, why=f"the table {table} is not there as it should be")
    users, groups, members, spawners = (
        sa.table(name, *(sa.column(one) for one in _NEEDED[name]))
        for name in ("users", "groups", "user_group_map", "spawners")
    )
    teams: defaultdict[int, list[str]] = defaultdict(list)
    joined = sa.select(members.c.user_id, groups.c.name).join(groups, groups.c.id == members.c.group_id)
    for user_id, group in db.execute(joined.order_by(groups.c.name)):
        teams[user_id].append(group)
    servers: defaultdict[int, list[tuple[str, Any]]] = defaultdict(list)
    asked = sa.select(spawners.c.user_id, spawners.c.name, spawners.c.state).order_by(spawners.c.name)
    for user_id, name, state in db.execute(asked):
        servers[user_id].append((name or "", state))
    rows = db.execute(sa.select(users.c.id, users.c.name, users.c.admin).order_by(users.c.name))
    return [_user(name, bool(admin), teams[key], servers[key]) for key, name, admin in rows]


def _user(name: str, admin: bool, teams: list[str], servers: list[tuple[str, Any]]) -> OldUser:
    pvcs = {server: pvc for server, state in servers if (pvc := _remembered(state))}
    return OldUser(name, admin, tuple(sorted(teams)), tuple(one for one, _ in servers if one), pvcs)


def _remembered(state: Any) -> str | None:
    """The volume's name in what KubeSpawner keeps of a server; another spawner keeps other things."""
    try:
        found = json.loads(state) if isinstance(state, str | bytes) else state
    except ValueError:
        return None
    name = found.get("pvc_name") if isinstance(found, dict) else None
    return name if isinstance(name, str) and name else None


def _by_api(source: str, secret_file: Path | None) -> list[OldUser]:
    token = secret(secret_file)
    if token is None:
        raise NoSecret(what="the old hub's token / 이전 허브의 토큰", why="there is none / 없음")
    parts = urlsplit(source)
    root = f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('/hub').rstrip('/')}/hub/api"
    headers = {"Authorization": f"token {token}", "Accept": "application/jupyterhub-pagination+json"}
    try:
        with httpx.Client(headers=headers, timeout=60) as client:
            version = str(_said(client.get(f"{root}/")).get("version", ""))
            major = version.partition(".")[0]
            if not (major.isdigit() and OLDEST <= int(major) <= NEWEST):
                raise StrangeHub(source=source, why=f"it says version {version or 'nothing'}")
            found = list(_pages(client, f"{root}/users"))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise NoSuchHub(source=source, why=str(error).splitlines()[0][:200] or type(error).__name__) from None
    return sorted((_of_api(one) for one in found), key=lambda one: one.name)


def _pages(client: httpx.Client, url: str) -> Iterator[Mapping[str, Any]]:
    offset = 0
    while True:
        asked: dict[str, str | int] = {"offset": offset, "limit": _PAGE, "include_stopped_servers": "true"}
        said = _said(client.get(url, params=asked))
        items = said["items"] if isinstance(said, dict) else said
        yield from items
        # A hub that knows no pages has told all of them.
        following = (said.get("_pagination") or {}).get("next") if isinstance(said, dict) else None
        if not items or following is None:
            return
        offset = int(following["offset"])


def _said(answer: httpx.Response) -> Any:
    if answer.status_code in (401, 403):
        raise ValueError(f"it answered {answer.status_code}: the token needs the scopes list:users and read:users")
    answer.raise_for_status()
    return answer.json()


def _of_api(model: Mapping[str, Any]) -> OldUser:
    servers = model.get("servers") or {}
    listed = [(str(name), one.get("state") if isinstance(one, dict) else None) for name, one in servers.items()]
    return _user(
        str(model["name"]), bool(model.get("admin")), [str(one) for one in model.get("groups", ())], listed
    )

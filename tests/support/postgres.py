"""A real PostgreSQL from Debian's package: in a folder of its own, on a Unix socket, ended with its starter."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dure_hub.settings import Settings
from dure_hub.store.migrate import migrate

MISSING = "PostgreSQL is not on this machine: sudo apt-get install -y postgresql"
USER = "dure"
_START_S, _STOP_S = 60, 30
_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "off",  # no test switches the machine off
    "shared_buffers": "32MB",
    # what a server far from here may be set to; ours must not depend on it
    "timezone": "Asia/Seoul",
    "default_transaction_isolation": "serializable",
}


@dataclass
class Postgres:
    """A running server. Its superuser is `USER`, without a password: the socket is its owner's alone."""

    folder: Path
    process: subprocess.Popen[bytes]
    template: str = ""

    _numbers = count(1)

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """As the superuser, each statement for itself."""
        return psycopg.connect(host=str(self.folder), user=USER, dbname=database, autocommit=True)

    def url(self, database: str) -> str:
        """The address of one database, as in the settings."""
        return f"postgresql+psycopg://{USER}@/{database}?host={self.folder}"

    def empty(self) -> str:
        """A new database without tables; its address."""
        return self.url(self._create("template0"))

    def migrated(self) -> str:
        """A new database as `up` makes it; its address."""
        if not self.template:
            made = self._create("template0")
            migrate(Settings(data=self.folder, database_url=self.url(made)))
            self.template = made
        return self.url(self._create(self.template))

    def _create(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name


def programs() -> Path | None:
    """The folder of the newest server that is installed; None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    elsewhere = shutil.which("initdb")
    if not found and elsewhere:
        found = [Path(elsewhere).resolve()]
    return found[-1].parent if found else None


@contextmanager
def running() -> Iterator[Postgres]:
    """Start a server, and end it. Skips where the package is missing."""
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip(MISSING)
    folder = Path(
        tempfile.mkdtemp(prefix="dure-pg-")
    )  # pytest's own folder is root's alone, and its path too long
    try:
        user = _unprivileged(folder)
        data = folder / "data"
        made = [str(bin_folder / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8"]
        subprocess.run(
            _as(user, [*made, "--locale=C.UTF-8", "--no-sync"]), cwd=folder, check=True, capture_output=True
        )
        options = [word for name, value in _OPTIONS.items() for word in ("-c", f"{name}={value}")]
        command = _as(user, [str(bin_folder / "postgres"), "-D", str(data), "-k", str(folder), *options])
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            server = Postgres(folder, process)
            _wait(server)
            yield server
        finally:
            _stop(process)
    finally:
        shutil.rmtree(folder)


def _unprivileged(folder: Path) -> str | None:
    """Whom the server runs as: it refuses root. The folder becomes theirs; None is ourselves."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = "postgres" if "postgres" in names else "nobody"
    shutil.chown(folder, user)
    return user


def _as(user: str | None, command: Sequence[str]) -> list[str]:
    """The command as this user; it is asked to end when we die, however we do."""
    who = []
    if user is not None:
        group = pwd.getpwnam(user).pw_gid
        who = [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    return ["setpriv", *who, "--pdeathsig=QUIT", "--", *command]


def _wait(server: Postgres) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            server.connect().close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
        try:
            code = server.process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"PostgreSQL ended with {code}:\n{(server.folder / 'log').read_text()[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGQUIT)  # "immediate": nobody needs what it holds any more
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_S)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests of this process."""
    with running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest) -> str:
    """Where an empty database is, as the setting `database_url` says it: each test runs on either."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgres").empty()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The same, but one that needs no migration any more where it is PostgreSQL's."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgres").migrated()

"""One operating-system user for each person, made before the first thing of theirs runs.

There is no list of them: the system's own is looked at, and a user is this portal's if its home is the person's
folder here. All functions block; the first call for a person takes as long as `useradd` does.
"""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import stat
import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dure_hub.isolation import ways
from dure_hub.isolation.errors import AccountFailed, AccountTaken
from dure_hub.policies.naming import account_name, slug
from dure_hub.settings import Settings

PATIENCE_S = 30
NOBODY = 65534
"""A user with no rights at all, by which is tried what other users can reach."""


@dataclass(frozen=True)
class Account:
    """A person's user. `shared` is the group of all people of this portal: it gets to homes, and reads models."""

    name: str
    uid: int
    gid: int
    shared: int
    home: Path


def is_on(settings: Settings) -> bool:
    """Whether people have accounts here. `auto` counts as off until `up` has resolved it."""
    return settings.system_accounts == "on"


def shared_group(settings: Settings) -> str:
    """Its name; no person's account can be called that."""
    return f"{settings.system_account_prefix}-all"


def find(settings: Settings, person: str) -> Account | None:
    """The person's account, if there is one. Raises `AccountTaken` where the name is somebody else's."""
    name, home = account_name(settings.system_account_prefix, person), settings.folder.users / slug(person)
    try:
        found = pwd.getpwnam(name)
        shared = grp.getgrnam(shared_group(settings)).gr_gid
    except KeyError:
        return None
    if found.pw_dir != str(home) or 0 in (found.pw_uid, found.pw_gid):
        raise AccountTaken(name=name, home=found.pw_dir)
    return Account(name, found.pw_uid, found.pw_gid, shared, home)


def ensure(settings: Settings, person: str) -> Account:
    """The person's account and home, made where they are missing; what lay in the home before becomes theirs.

    Safe to call again and from several processes. Raises `AccountTaken`, `AccountFailed`.
    """
    name = account_name(settings.system_account_prefix, person)
    try:
        with _alone(settings):
            account = find(settings, person) or _add(settings, person, name)
            ways.open_way(settings.folder.root, account.home, account.shared)
            account.home.mkdir(mode=0o700, exist_ok=True)
            ways.give(account.home, account.uid, account.gid)
            _close(account.home)
    except OSError as error:
        raise AccountFailed(name=name, why=error.strerror or str(error)) from error
    return account


def folder_groups(settings: Settings) -> str:
    """How the names of groups of shared folders begin; no account can be called so, as no slug begins with `-`."""
    return f"{settings.system_account_prefix}-in-"


def folder_group(settings: Settings, folder: str) -> int:
    """The id of the group of a shared folder of some teams, made where it is missing. Raises `AccountFailed`."""
    name = folder_groups(settings) + folder
    with _alone(settings):
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            _run(name, ["groupadd", name])
        return _group(name).gr_gid


def hold(settings: Settings, account: Account, folder: str, member: bool) -> None:
    """Have the account in the group of a shared folder, or not. Raises `AccountFailed`."""
    name = folder_groups(settings) + folder
    with _alone(settings):
        if (account.name in _group(name).gr_mem) is not member:
            _run(name, ["gpasswd", "--add" if member else "--delete", account.name, name])


def groups_of(settings: Settings, account: Account, admitted: Collection[str]) -> list[int]:
    """The groups that a run of an account's is in: its own, the people's, those of the folders it is admitted to.

    To be in a group is not enough: somebody may be in it still who could not be taken out, or whose folder is no
    longer in the settings. What runs already keeps the groups it has.
    """
    given = [one.name for one in settings.shared_folders if one.teams and one.name in admitted]
    names = {folder_groups(settings) + name for name in given}
    folders = [one for one in grp.getgrall() if one.gr_name in names and account.name in one.gr_mem]
    return [account.gid, account.shared, *(one.gr_gid for one in folders)]


def _group(name: str) -> grp.struct_group:
    try:
        return grp.getgrnam(name)
    except KeyError as none:
        raise AccountFailed(name=name, why="the system does not show it") from none


def _add(settings: Settings, person: str, name: str) -> Account:
    group, home = shared_group(settings), settings.folder.users / slug(person)
    try:
        grp.getgrnam(group)
    except KeyError:
        _run(name, ["groupadd", group])
    try:
        taken = pwd.getpwnam(name)
    except KeyError:
        comment = f"Dure {settings.instance}"
        _run(
            name,
            [
                *("useradd", "--no-create-home", "--home-dir", str(home), "--shell", "/usr/sbin/nologin"),
                *("--user-group", "--comment", comment, name),
            ],
        )
    else:
        if taken.pw_dir != str(home):
            raise AccountTaken(name=name, home=taken.pw_dir)
    account = find(settings, person)
    if account is None:
        raise AccountFailed(name=name, why="the system does not show it")
    return account


def _close(home: Path) -> None:
    """To others, where its owner had opened it. Nobody puts a link there: the folder above is the portal's."""
    found = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if stat.S_IMODE(os.fstat(found).st_mode) != ways.OWN:
            os.fchmod(found, ways.OWN)
    finally:
        os.close(found)


def _run(name: str, command: Sequence[str]) -> None:
    environment = {"PATH": f"/usr/sbin:/sbin:/usr/bin:/bin:{os.environ.get('PATH', '')}", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise AccountFailed(name=name, why=f"{command[0]} does not end") from late
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[-300:]
        raise AccountFailed(name=name, why=said or f"{command[0]} ended with {done.returncode}")


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """One at a time in this data folder; ends with the process that holds it."""
    with (settings.folder.run / "accounts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

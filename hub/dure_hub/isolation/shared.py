"""Shared folders: who has which, what keeps the others out, and the links that lead there.

Where people have accounts, a folder of some teams belongs to a group of the system that their people are in, and
in what all may write into new files stay the group's, whatever a program's umask is. Only the folder itself is
changed, never what is in it. What may only be read is mounted so for each run (confine.py).
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import struct
from collections.abc import Collection, Sequence
from pathlib import Path

from dure_hub.isolation import accounts, links
from dure_hub.isolation.accounts import Account
from dure_hub.isolation.acting import act_as
from dure_hub.isolation.errors import AccountFailed
from dure_hub.isolation.turns import turn_at
from dure_hub.settings import Settings
from dure_hub.settings.shared import SharedFolder

log = logging.getLogger(__name__)
WRITTEN, READ = 0o2770, 0o750
"""Modes of a folder that its group writes into (setgid: what is new is the group's), and of one that it reads."""
ACL = "system.posix_acl_default"
_USER, _GROUP, _OTHER, _NOBODY_ELSE = 0x01, 0x04, 0x20, 0xFFFFFFFF
OWNER_AND_GROUP = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", kind, rights, _NOBODY_ELSE) for kind, rights in ((_USER, 7), (_GROUP, 7), (_OTHER, 0))
)
"""What new files there allow, as acl(5) keeps it: all to their owner and the group, nothing to others."""


def of_teams(settings: Settings, teams: Collection[str]) -> Sequence[SharedFolder]:
    """What the people of these teams have."""
    return [one for one in settings.shared_folders if not one.teams or {*one.teams} & {*teams}]


def concerns(settings: Settings, home: Path) -> bool:
    """Whether there is anything to do for this home."""
    return bool(settings.shared_folders) or os.path.lexists(home / links.RECORD)


def arrange(settings: Settings, person: str, teams: Collection[str], home: Path) -> Sequence[str]:
    """Have the person, who is in these teams, find in this home what they may: the names of these folders.

    What keeps us from it is logged, and keeps nobody from working, without that folder. Blocks; safe to do again.
    Raises `AccountTaken`.
    """
    mine: Sequence[SharedFolder] = []
    taken: Sequence[str] = []
    try:
        account = accounts.ensure(settings, person) if accounts.is_on(settings) else None
        mine = of_teams(settings, teams)
        if account is not None:
            mine = [one for one in settings.shared_folders if _admit(settings, account, one, one in mine)]
        with turn_at(home):
            taken = _lay(account, home, mine)
    except (OSError, AccountFailed):
        log.exception("%s does not find the shared folders", person)
    if taken:
        log.warning("%s has something else where shared folders are to be: %s", person, ", ".join(taken))
    return [one.name for one in mine]


def _lay(account: Account | None, home: Path, folders: Sequence[SharedFolder]) -> list[str]:
    wanted = {one.name: str(one.path) for one in folders}
    if account is None or home.lstat().st_uid == os.geteuid():  # a job's is ours until it starts
        return links.lay(home, wanted)
    words = [word for pair in wanted.items() for word in pair]
    return act_as(account, Path(links.__file__), [str(home), *words]).split()


def _admit(settings: Settings, account: Account, folder: SharedFolder, member: bool) -> bool:
    """See that the person gets there, or that they do not; whether they do. What fails is this folder's alone."""
    if not folder.teams and not folder.write:
        return True
    ready = True
    try:
        _open_to(folder, accounts.folder_group(settings, folder.name) if folder.teams else account.shared)
    except (OSError, AccountFailed) as error:
        log.warning("the shared folder %s (%s) is not made ready: %s", folder.name, folder.path, error)
        ready = False
    if not folder.teams:
        return member
    try:
        accounts.hold(settings, account, folder.name, member)
    except (OSError, AccountFailed) as error:
        log.warning("%s is not in the right groups for the shared folder %s: %s", account.name, folder.name, error)
        return False
    return member and ready


def _open_to(folder: SharedFolder, group: int) -> None:
    """Let this group in, and nobody else; what is in there stays as it is. Raises `OSError`.

    Others are kept out first: a file system without ACLs is no reason to let them in.
    """
    place = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found, mode = os.fstat(place), WRITTEN if folder.write else READ
        if found.st_gid != group:
            os.fchown(place, -1, group)
        if stat.S_IMODE(found.st_mode) != mode or found.st_gid != group:
            os.fchmod(place, mode)
        if folder.write:
            _share_what_is_new(folder, place)
    finally:
        os.close(place)


def _share_what_is_new(folder: SharedFolder, place: int) -> None:
    try:
        if ACL not in os.listxattr(place):
            os.setxattr(place, ACL, OWNER_AND_GROUP)
    except OSError as error:
        log.warning("new files in %s (%s) are their owner's alone: %s", folder.name, folder.path, error)


def keeps_acls(folder: SharedFolder) -> bool:
    """Whether what is new there can be made the group's; nothing is changed."""
    try:
        os.getxattr(folder.path, ACL)
    except OSError as error:
        return error.errno == errno.ENODATA
    return True

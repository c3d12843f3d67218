"""Turns a plan of a run into one of its owner's own user: account, files, /tmp, limits.

Where people have no accounts (`system_accounts`), everything stays as the plan says. What the user may read of a
run lies in `given/<lease>/`: its files, and its /tmp. The run folder is the portal's alone, so nobody can say
otherwise how their run went, or signal its keeper.
"""

from __future__ import annotations

import logging
import os
import site
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dure_hub.backends.base import Kind
from dure_hub.backends.embedded import cgroups, gaps
from dure_hub.backends.embedded.processes import Process
from dure_hub.backends.embedded.records import run_folders
from dure_hub.isolation import accounts, confine, ground, ways
from dure_hub.isolation.accounts import Account
from dure_hub.isolation.removal import remove_tree
from dure_hub.settings import Settings

if TYPE_CHECKING:
    from dure_hub.backends.embedded.runner import Plan

log = logging.getLogger(__name__)
MPS = f"{confine.TMP}/nvidia-mps"
"""Where NVIDIA's daemon listens, unless told otherwise."""


class Isolation:
    """Of one portal. Remembers nothing but what the machine can do."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.on = accounts.is_on(settings)
        self._data = settings.folder

    def given(self, lease: str) -> Path:
        """What the owner may see of a run."""
        return self._data.given / lease

    def gaps(self) -> gaps.Gaps:
        """What is not kept apart or limited here."""
        if not self.on:
            return {**gaps.LIMITS}
        found: gaps.Gaps = {}
        if not self._layout.places:
            found |= gaps.no_limits(self._layout.why)
        if not ground.own_tmp():
            found |= gaps.SHARED_TMP
        return found

    def prepare(self, plan: Plan, kind: Kind) -> tuple[Plan, dict[str, Any] | None]:
        """The plan as the owner's user runs it, and what its keeper has to do for that; None without accounts.

        Safe to do again. Raises `AccountTaken`, `AccountFailed`, `OSError`.
        """
        if not self.on:
            return plan, None
        account = accounts.ensure(self.settings, plan.owner)
        given = self._give(plan, account)
        tmp, own = given / "tmp", ground.own_tmp()
        environment = dict(plan.environment)
        if not own:
            environment["TMPDIR"] = str(tmp)
        confined = {
            "uid": account.uid,
            "gid": account.gid,
            "groups": accounts.groups_of(self.settings, account, plan.shared),
            "tmp": str(tmp) if own else None,
            "kept": self._kept(plan) if own else [],
            "read_only": [str(one.path) for one in self.settings.shared_folders if own and not one.write],
            "cgroups": self._layout.plan(self.settings.instance, plan.lease, plan.cores, plan.memory_mb),
        }
        cwd = given if plan.cwd == self._data.run else plan.cwd  # the portal's own is no place for them
        return replace(plan, environment=environment, cwd=cwd), confined

    def members(self, lease: str) -> list[Process]:
        """Whatever lives in the lease's groups, marked or not."""
        return self._layout.members(self.settings.instance, lease) if self.on else []

    def forget(self, lease: str) -> None:
        """Drop what a run had here beside its records. What is gone is fine."""
        self.end_limits(lease)
        given = self.given(lease)
        if given.exists():
            remove_tree(given)

    def end_limits(self, lease: str) -> None:
        """Remove the groups of a lease in which nothing lives."""
        if self.on:
            self._layout.remove(self.settings.instance, lease)

    @property
    def _layout(self) -> cgroups.Layout:
        return cgroups.here(self.settings.instance)

    def _give(self, plan: Plan, account: Account) -> Path:
        root = self._data.root
        for place in plan.own:
            if place.is_relative_to(root) and place.exists():
                ways.open_way(root, place, account.shared)
                ways.give(place, account.uid, account.gid)
        for place in plan.shown:
            if place.is_relative_to(root):
                ways.open_way(root, place, account.shared)
                ways.show(place, account.shared)
        given = self.given(plan.lease)
        given.mkdir(mode=0o700, exist_ok=True)
        ways.open_way(root, given, account.shared)
        (given / "tmp").mkdir(mode=0o700, exist_ok=True)
        ways.give(given / "tmp", account.uid, account.gid)
        for name, content in plan.files.items():
            _hand(given / name, content, account.gid)
        os.chown(given, -1, account.gid)
        given.chmod(ways.WAY)
        return given

    def _kept(self, plan: Plan) -> list[str]:
        """What lies below /tmp and is no one's passing file: the data folder, the portal's Python and its code."""
        program = Path(plan.command[0])
        homes = [Path(one) for one in (sys.prefix, sys.base_prefix, *sys.path, *site.getsitepackages()) if one]
        bases = {program.parent.parent}
        if not program.is_relative_to(self._data.users):
            bases.add(program.resolve().parent.parent)  # what an image's Python is made of
        needed = {*homes, *bases, *_others(plan.environment)}
        needed |= {one.path for one in self.settings.shared_folders}
        needed.add(Path(plan.environment.get("CUDA_MPS_PIPE_DIRECTORY", MPS)))
        # links in a home lead where its owner wants, and root follows none of them
        needed = {one for one in needed if not one.is_relative_to(self._data.users)} | {self._data.root}
        below = {one.resolve() for one in needed if one.is_absolute() and one.is_dir()}
        below = {one for one in below if Path(confine.TMP) in one.parents}
        return sorted(str(one) for one in below if not any(other in one.parents for other in below))


def drop_unrecorded(settings: Settings) -> None:
    """What was handed over for runs that a killed portal never recorded. Nothing may start meanwhile."""
    known = {one.lease for kind in Kind for one in run_folders(settings.folder.run / kind)}
    for place in settings.folder.given.iterdir() if settings.folder.given.is_dir() else ():
        if place.name not in known:
            try:
                remove_tree(place)
            except OSError:
                log.exception("%s cannot be removed; tried again at the next start", place)


def _others(environment: Mapping[str, str]) -> list[Path]:
    """Folders that modules and configuration come from."""
    names = ("PYTHONPATH", "JUPYTER_CONFIG_PATH", "JUPYTER_PATH")
    return [Path(one) for name in names for one in environment.get(name, "").split(os.pathsep) if one]


def _hand(path: Path, content: bytes, group: int) -> None:
    """A file of the portal's that the owner may read."""
    temporary = path.with_name(f".{path.name}")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:  # noqa: PTH123
        out.write(content)
        os.fchown(out.fileno(), -1, group)
        os.fchmod(out.fileno(), ways.SHOWN_FILE)
    temporary.replace(path)

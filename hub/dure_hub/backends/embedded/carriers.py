"""Whose marks count where people have accounts: anybody can write any mark into their processes' environment.

A mark of the portal's own user always counts. That of another user counts only from the user as whom the portal
started that very run. Where there is no record of the lease at all, its run folder is lost: then what lives in the
lease's control group is what is left of it, and where there are no groups, whoever says so, which can only end
themselves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dure_hub.backends.base import Kind
from dure_hub.backends.embedded import cgroups, processes
from dure_hub.backends.embedded.processes import Process
from dure_hub.backends.embedded.records import RunFolder
from dure_hub.isolation import accounts
from dure_hub.settings import Settings


class Carriers:
    """Judges the processes of one look: each record is read once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._on = accounts.is_on(settings)
        self._known: dict[str, Mapping[Kind, Mapping[str, Any]]] = {}
        self._members: dict[str, set[int]] = {}

    def marked(self) -> list[Process]:
        """Everything alive that carries a mark which counts, of whatever kind."""
        found = processes.marked(self._settings.instance)
        return [one for one in found if self.is_of(one, Kind(one.kind))] if self._on else found

    def is_of(self, process: Process, kind: Kind) -> bool:
        """Whether it belongs to the run of this kind under the lease that it names."""
        if process.uid in (None, os.geteuid()):
            return process.kind == kind
        specs = self.specs(process.lease)
        if not specs:
            return process.kind == kind and self._may_be_left(process)
        confined = specs[kind].get("confined") if kind in specs else {"uid": None}
        return confined is None or confined["uid"] == process.uid

    def specs(self, lease: str) -> Mapping[Kind, Mapping[str, Any]]:
        """What was recorded under a lease, by kind."""
        if lease not in self._known:
            place = self._settings.folder.run
            found = {kind: RunFolder(place / kind, lease) for kind in Kind}
            self._known[lease] = {kind: one.read("spec") or {} for kind, one in found.items() if one.exists()}
        return self._known[lease]

    def _may_be_left(self, process: Process) -> bool:
        layout = cgroups.here(self._settings.instance)
        if not layout.places:
            return True
        if process.lease not in self._members:
            members = layout.members(self._settings.instance, process.lease)
            self._members[process.lease] = {one.pid for one in members}
        return process.pid in self._members[process.lease]

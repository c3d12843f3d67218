"""The registry's other half: lists versions, registers, sets aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dure import wire
from dure.errors import BadRequest
from dure.training import Job
from dure_widgets.controllers.training_launcher import NAME_RULE
from dure_widgets.following import Followed, follow, name_of, state_of
from dure_widgets.panel import TICK
from dure_widgets.portal import Portal, has_ended, iso

if TYPE_CHECKING:
    from dure_widgets.model_registry import ModelRegistry

LINEAGE = ("job", "git_commit", "snapshot", "device", "profile", "processes", "entry")
"""Which of the portal's `dure.` tags are shown, in this order."""


class RegistryController:
    """Binds a registry to the portal."""

    def __init__(self, panel: ModelRegistry, portal: Portal, source: Followed) -> None:
        self._panel, self._portal = panel, portal
        self._job: str | None = None
        self._state: str | None = None
        panel.on_ask(self._heard)
        follow(source, self._switch)

    def _switch(self, job: Job | str | None) -> None:
        self._job, self._state = name_of(job), state_of(job)
        self._show_job()

    def _heard(self, verb: str, values: dict[str, Any]) -> None:
        if verb == "register":
            self._register(str(values.get("name") or "").strip())
        elif verb == "alias":
            alias, version = str(values.get("alias") or "").strip(), int(values["version"])
            if not alias:
                raise BadRequest(field="alias", value=repr(alias), rule=NAME_RULE)
            self._portal.set_alias(self._panel.model, alias, version)
            self._panel.show(done={"alias": alias, "version": version})
        if verb == TICK and self._job is not None and not has_ended(self._state):
            self._state = self._portal.job(self._job).state
        if verb == TICK:
            self._look()
        elif verb in ("register", "alias"):
            self._panel.look_after(self._look)

    def _register(self, name: str) -> None:
        if self._job is None:
            return
        made = self._portal.register(name, self._job)
        self._panel.model = made.name
        self._panel.show(model=made.name, done={"registered": made.version})

    def _look(self) -> None:
        found = self._portal.versions(self._panel.model)
        newest = sorted(found, key=lambda one: -one.version)
        self._panel.show(versions=[_shown(one) for one in newest])
        self._show_job()

    def _show_job(self) -> None:
        if self._job is None:
            self._panel.show(job=None)
            return
        versions = self._panel.state.get("versions") or []
        registered = next((one["version"] for one in versions if one["lineage"].get("job") == self._job), None)
        self._panel.show(job={"name": self._job, "state": self._state, "version": registered})


def _shown(version: wire.ModelVersion) -> dict[str, Any]:
    """A version for the browser; what is not known of its lineage is left out."""
    lineage = {key: version.tags[f"dure.{key}"] for key in LINEAGE if version.tags.get(f"dure.{key}")}
    if version.run_id:
        lineage["run"] = version.run_id
    return {
        "version": version.version,
        "aliases": sorted(version.aliases),
        "metrics": dict(sorted(version.metrics.items())),
        "owner": version.owner,
        "created_at": iso(version.created_at),
        "lineage": lineage,
    }

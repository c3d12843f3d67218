"""The canary panel's other half: how the endpoint is, deploy, start a canary, promote, roll back, end, send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dure import wire
from dure.endpoints import Endpoint
from dure.errors import BadRequest, DureError, Text
from dure_widgets.controllers.payer import Payer
from dure_widgets.panel import TICK, request_id
from dure_widgets.portal import Portal, reason

if TYPE_CHECKING:
    from dure_widgets.canary_panel import CanaryPanel

BATCH = 10
"""Requests that one call from the browser sends: the kernel is free for cells in between."""
LOOKS_BETWEEN_VERSIONS = 3


@dataclass(frozen=True)
class Serving:
    """What the panel is about. `sample` is a list of rows, or None."""

    name: str
    model: str
    profile: str = "cpu"
    sample: Sequence[Any] | None = None


class CanaryController:
    """Binds a canary panel to the portal."""

    def __init__(self, panel: CanaryPanel, portal: Portal, serving: Serving) -> None:
        self._panel, self._portal, self._serving = panel, portal, serving
        self._looks = self._sent = 0
        self._listed: str | None = None
        self._me: wire.User | None = None
        self._payer = Payer(panel, portal)
        panel.on_ask(self._heard)

    def _heard(self, verb: str, values: dict[str, Any]) -> None:
        if verb == TICK:
            self._look(versions=False)
        elif verb == "send":
            self._send(int(values.get("count") or 0), bool(values.get("first")))
        elif verb in ("deploy", "canary", "promote", "rollback", "end"):
            self._change(verb, values)
            self._panel.look_after(lambda: self._look(versions=True))

    def _change(self, verb: str, values: dict[str, Any]) -> None:
        key = request_id(values)
        if verb == "deploy":
            self._deploy(values, key)
        elif verb == "canary":
            self._there().canary(int(values["version"]), _percent(values.get("percent")), _id=key)
        elif verb == "promote":
            self._there().promote()
        elif verb == "rollback":
            self._there().rollback()
        else:
            self._there().delete()

    def _deploy(self, values: dict[str, Any], key: str | None) -> None:
        wrong: dict[str, str] = {}
        payer, serving = self._payer.chosen(values, wrong), self._serving
        if not wrong:
            version = int(values["version"])
            try:
                self._portal.deploy(serving.name, serving.model, version, serving.profile, key, **payer)
            except DureError as error:
                wrong = self._payer.refused(error) or {}
                if not wrong:
                    raise
        self._panel.show(wrong=wrong)

    def _there(self) -> Endpoint:
        """The endpoint; one that is gone meanwhile is an error with its sentence."""
        found = self._portal.endpoint(self._serving.name)
        if found is None:
            raise BadRequest(field="name", value=self._serving.name, rule=NOT_SERVED)
        return self._portal.endpoint_of(found)

    def _look(self, versions: bool) -> None:
        """Show the endpoint first: how it is matters more than what else could be served, and costs less."""
        seen = self._portal.endpoint(self._serving.name)
        # A canary is another version of what is served, whichever model the panel was made for.
        model = self._serving.model if seen is None else seen.model
        shown = None if seen is None else _shown(seen, self._panel.language) | {"mine": self._mine(seen)}
        if model != self._listed:
            self._panel.show(versions=[])
        self._panel.show(known=True, endpoint=shown, model=model)
        if seen is None or seen.state == "stopped":  # what is to pay is asked only where something can be deployed
            self._payer.look()
        # Versions change seldom and cost MLflow several queries, so not every look asks for them.
        if versions or model != self._listed or self._looks % LOOKS_BETWEEN_VERSIONS == 0:
            found = self._portal.versions(model)
            self._panel.show(versions=sorted((one.version for one in found), reverse=True))
            self._listed = model
        self._looks += 1

    def _mine(self, seen: wire.Endpoint) -> bool:
        """Whether whoever looks may change it: its owner and administrators."""
        if self._me is None:
            try:
                self._me = self._portal.whoami()
            except DureError:
                return True  # not known is no reason to hide a button; the portal refuses whoever may not
        return self._me.admin or self._me.name == seen.owner

    def _send(self, count: int, first: bool) -> None:
        """Send a few requests, one row each, and count who answered."""
        rows = self._serving.sample or ()
        sent: dict[str, int] = {} if first else dict(self._panel.state.get("sent") or {})
        endpoint = self._there()
        try:
            for _ in range(min(max(count, 0), BATCH) if rows else 0):
                row = rows[self._sent % len(rows)]
                self._sent += 1
                try:
                    who = str(endpoint.predict([row]).version or "?")
                except DureError:
                    # Counted as what it is, and the sending ends: one sentence about it is enough.
                    sent["failed"] = sent.get("failed", 0) + 1
                    raise
                sent[who] = sent.get(who, 0) + 1
        finally:
            self._panel.show(sent=sent)


def _percent(given: Any) -> int:
    text = str(given).strip()
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise BadRequest(field="percent", value=text, rule=PERCENT_RULE)
    return int(text)


def _shown(endpoint: wire.Endpoint, language: str) -> dict[str, Any]:
    """An endpoint for the browser."""

    def replica(one: wire.Replica | None) -> dict[str, Any] | None:
        return None if one is None else one.model_dump(mode="json") | {"reason": reason(one, language)}

    return {
        "name": endpoint.name,
        "model": endpoint.model,
        "owner": endpoint.owner,
        "state": endpoint.state,
        "reason": reason(endpoint, language),
        "champion": replica(endpoint.champion),
        "canary": replica(endpoint.canary),
    }


PERCENT_RULE: Text = {"en": "it is a whole number from 1 to 100", "ko": "1부터 100까지의 정수여야 합니다"}
NOT_SERVED: Text = {"en": "nothing is served under it any more", "ko": "이 이름으로 서비스 중인 것이 없습니다"}

"""The canary panel's other half: how the endpoint is, deploy, start a canary, promote, roll back, send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dure import wire
from dure.endpoints import Endpoint
from dure.errors import BadRequest, DureError, Text
from dure_widgets.panel import TICK
from dure_widgets.portal import Portal, reason

if TYPE_CHECKING:
    from dure_widgets.canary_panel import CanaryPanel

BATCH = 10
"""Requests that one call from the browser sends: the kernel is free for cells in between."""
LOOKS_BETWEEN_VERSIONS = 3


@dataclass(frozen=True)
class Serving:
    """What the panel is about."""

    name: str
    model: str
    profile: str = "cpu"
    sample: Any = None


class CanaryController:
    """Binds a canary panel to the portal."""

    def __init__(self, panel: CanaryPanel, portal: Portal, serving: Serving) -> None:
        self._panel, self._portal, self._serving = panel, portal, serving
        self._looks = self._sent = 0
        panel.on_ask(self._heard)

    def _heard(self, verb: str, values: dict[str, Any]) -> None:
        if verb == "send":
            self._send(int(values.get("count") or 0), bool(values.get("first")))
            return
        if verb == "deploy":
            self._portal.deploy(
                self._serving.name, self._serving.model, int(values["version"]), self._serving.profile
            )
        elif verb == "canary":
            self._there().canary(int(values["version"]), _percent(values.get("percent")))
        elif verb == "promote":
            self._there().promote()
        elif verb == "rollback":
            self._there().rollback()
        self._look(versions=verb != TICK)

    def _there(self) -> Endpoint:
        """The endpoint; one that is gone meanwhile is an error with its sentence."""
        found = self._portal.endpoint(self._serving.name)
        if found is None:
            raise BadRequest(field="name", value=self._serving.name, rule=NOT_SERVED)
        return self._portal.endpoint_of(found)

    def _look(self, versions: bool) -> None:
        # Versions change seldom and cost MLflow several queries, so not every look asks for them.
        if versions or self._looks % LOOKS_BETWEEN_VERSIONS == 0:
            found = self._portal.versions(self._serving.model)
            self._panel.show(versions=sorted((one.version for one in found), reverse=True))
        self._looks += 1
        seen = self._portal.endpoint(self._serving.name)
        shown = None if seen is None else _shown(seen, self._panel.language)
        self._panel.show(known=True, endpoint=shown)

    def _send(self, count: int, first: bool) -> None:
        """Send a few requests, one row each, and count who answered."""
        rows: Sequence[Any] = self._serving.sample
        sent: dict[str, int] = {} if first else dict(self._panel.state.get("sent") or {})
        endpoint = self._there()
        try:
            for _ in range(min(max(count, 0), BATCH)):
                row = rows[self._sent % len(rows)]
                self._sent += 1
                try:
                    who = str(endpoint.predict([row]).version or "?")
                except DureError:
                    # Counted as what it is, and the batch ends: one sentence about it is enough.
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
        "state": endpoint.state,
        "reason": reason(endpoint, language),
        "champion": replica(endpoint.champion),
        "canary": replica(endpoint.canary),
    }


PERCENT_RULE: Text = {"en": "it is a whole number from 1 to 100", "ko": "1부터 100까지의 정수여야 합니다"}
NOT_SERVED: Text = {"en": "nothing is served under it any more", "ko": "이 이름으로 서비스 중인 것이 없습니다"}

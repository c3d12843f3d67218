"""The servers' other half: looks whenever the view asks, extends and stops with the rights of whoever looks."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dure import wire
from dure.errors import BadRequest, DureError, NotRunning, Text
from dure_widgets.administration import Administration
from dure_widgets.panel import TICK

if TYPE_CHECKING:
    from dure_widgets.environments_view import EnvironmentsView

EVENTS, LOOKED_AT = 30, 200
"""So many are shown; those of other things are among the newest ones that are looked at."""
ENDED = ("stopped", "failed")
LONGEST_REASON = 200


class EnvironmentsController:
    """Binds the view of everybody's servers to the portal."""

    def __init__(self, panel: EnvironmentsView, portal: Administration) -> None:
        self._panel, self._portal = panel, portal
        panel.on_ask(self._heard)
        panel.ask(TICK)

    def _heard(self, verb: str, values: dict[str, Any]) -> None:
        if verb == TICK:
            self._look()
        elif verb in ("extend", "stop"):
            self._act(verb, str(values.get("owner", "")), str(values.get("name", "")), values)

    def _look(self) -> None:
        found = self._portal.environments()
        happened = [one for one in self._portal.events(LOOKED_AT) if one.object.startswith("environment:")]
        self._panel.show(
            environments=[one.model_dump(mode="json") for one in found],
            events=[one.model_dump(mode="json") for one in happened[:EVENTS]],
        )

    def _act(self, verb: str, owner: str, name: str, values: dict[str, Any]) -> None:
        """Act, and write beside the server what came of it, in its own row."""
        key = f"{owner}/{name}"
        try:
            if verb == "extend":
                said = self._extend(owner, name, float(values.get("hours") or 0))
            else:
                said = self._stop(owner, name, str(values.get("reason") or "").strip())
        except DureError as error:
            language = self._panel.language
            note = {"kind": "bad", "text": f"{error.text(language)} {error.advice(language)}"}
        else:
            note = {"kind": "good", **said}
        self._panel.show(notes={**self._panel.state["notes"], key: note})
        self._look()

    def _extend(self, owner: str, name: str, hours: float) -> dict[str, Any]:
        found = self._found(owner, name)
        if found.lease is None or found.lease.until is None:
            raise NotRunning(name=name, phase=found.phase)
        until = found.lease.until + timedelta(hours=hours)
        if found.extendable_until is not None:
            until = min(until, found.extendable_until)
        done = self._portal.extend(owner, name, until)
        moved = done.lease.until if done.lease is not None else until
        return {"word": "extended", "until": None if moved is None else moved.isoformat()}

    def _stop(self, owner: str, name: str, reason: str) -> dict[str, Any]:
        if not reason or len(reason) > LONGEST_REASON:
            raise BadRequest(field="reason", value=reason[:80], rule=REASON_RULE)
        self._portal.stop(owner, name, reason)
        return {"word": "asked_to_stop"}

    def _found(self, owner: str, name: str) -> wire.Environment:
        """As it is now: what the browser shows may be seconds old."""
        for one in self._portal.environments():
            if (one.owner, one.name) == (owner, name):
                return one
        raise NotRunning(name=name, phase="stopped")


REASON_RULE: Text = {
    "en": f"its owner reads it, so it has 1 to {LONGEST_REASON} characters",
    "ko": f"서버 주인이 읽을 내용이므로 1자에서 {LONGEST_REASON}자 사이여야 합니다",
}

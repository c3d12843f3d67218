"""The servers' other half: looks whenever the view asks, extends and stops with the rights of whoever looks."""

from __future__ import annotations

from collections.abc import Container, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dure.errors import BadRequest, DureError, NotFound, NotRunning, Text
from dure_widgets.administration import Administration
from dure_widgets.panel import TICK

if TYPE_CHECKING:
    from dure_widgets.environments_view import EnvironmentsView

EVENTS, LOOKED_AT = 30, 200
"""So many are shown; those of other things are among the newest ones that are looked at."""
LONGEST_REASON = 200


class EnvironmentsController:
    """Binds the view of everybody's servers to the portal.

    Only active servers are asked for, unless the view wants the ended ones too. What came of an action stands
    beside its server also when that has ended, and goes with the next server of the name: a note is of one lease.
    """

    def __init__(self, panel: EnvironmentsView, portal: Administration) -> None:
        self._panel, self._portal = panel, portal
        self._ended_too = False
        self._noted: dict[str, str | None] = {}
        self._kept: dict[str, dict[str, Any]] = {}
        panel.on_ask(self._heard)
        panel.ask(TICK)

    def _heard(self, verb: str, values: dict[str, Any]) -> None:
        if verb == TICK:
            self._ended_too = bool(values.get("ended"))
            self._look()
        elif verb in ("extend", "stop"):
            self._act(verb, str(values.get("owner", "")), str(values.get("name", "")), values)

    def _look(self) -> None:
        found = [one.model_dump(mode="json") for one in self._portal.environments(ended=self._ended_too)]
        found += self._ended_with_notes({_key_of(one) for one in found})
        now = {_key_of(one): _grant_of(one) for one in found}
        said: dict[str, Any] = self._panel.state["notes"]
        notes = {
            key: note for key, note in said.items() if key in now and now[key] in (None, self._noted.get(key))
        }
        happened = [one for one in self._portal.events(LOOKED_AT) if one.object.startswith("environment:")]
        self._panel.show(
            environments=found,
            events=[one.model_dump(mode="json") for one in happened[:EVENTS]],
            notes=notes,
        )

    def _ended_with_notes(self, found: Container[str]) -> list[dict[str, Any]]:
        """Those of which something is still said, and which are not among the others; each is asked for once."""
        missing = [key for key in self._panel.state["notes"] if key not in found]
        self._kept = {key: self._kept.get(key) or self._one(key) for key in missing}
        return [one for one in self._kept.values() if one]

    def _one(self, key: str) -> dict[str, Any]:
        """As it is now; nothing where it is gone with its owner."""
        owner, _, name = key.partition("/")
        try:
            return self._portal.environment(owner, name).model_dump(mode="json")
        except NotFound:
            return {}

    def _act(self, verb: str, owner: str, name: str, values: dict[str, Any]) -> None:
        """Act, and write beside the server what came of it, in its own row."""
        key = f"{owner}/{name}"
        shown = self._panel.state["environments"] or []
        self._noted[key] = next((_grant_of(one) for one in shown if _key_of(one) == key), None)
        try:
            if verb == "extend":
                said = self._extend(owner, name, float(values.get("hours") or 0))
            else:
                reason = str(values.get("reason") or "").strip()
                said = self._stop(owner, name, reason, now=bool(values.get("now")))
        except DureError as error:
            language = self._panel.language
            note = {"kind": "bad", "text": f"{error.text(language)} {error.advice(language)}"}
        else:
            note = {"kind": "good", **said}
        self._panel.show(notes={**self._panel.state["notes"], key: note})
        self._look()

    def _extend(self, owner: str, name: str, hours: float) -> dict[str, Any]:
        found = self._portal.environment(owner, name)  # as it is now: what the browser shows may be seconds old
        if found.lease is None or found.lease.until is None:
            raise NotRunning(name=name, phase=found.phase)
        until = found.lease.until + timedelta(hours=hours)
        if found.extendable_until is not None:
            until = min(until, found.extendable_until)
        done = self._portal.extend(owner, name, until)
        moved = done.lease.until if done.lease is not None else until
        return {"word": "extended", "until": None if moved is None else moved.isoformat()}

    def _stop(self, owner: str, name: str, reason: str, *, now: bool) -> dict[str, Any]:
        if not reason or len(reason) > LONGEST_REASON:
            raise BadRequest(field="reason", value=reason[:80], rule=REASON_RULE)
        self._portal.stop(owner, name, reason, now=now)
        return {"word": "asked_to_stop" if now else "told_to_stop"}


def _key_of(server: Mapping[str, Any]) -> str:
    return f"{server['owner']}/{server['name']}"


def _grant_of(server: Mapping[str, Any]) -> str | None:
    """What tells a server from the next one of its name: its lease, or its ticket; None once it has ended."""
    held = server.get("lease") or server.get("ticket")
    return None if held is None else str(held["id"])


REASON_RULE: Text = {
    "en": f"its owner reads it, so it has 1 to {LONGEST_REASON} characters",
    "ko": f"서버 주인이 읽을 내용이므로 1자에서 {LONGEST_REASON}자 사이여야 합니다",
}

"""The fleet's other half: looks at the machines whenever the view asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dure_widgets.administration import Administration
from dure_widgets.panel import TICK

if TYPE_CHECKING:
    from dure_widgets.fleet_view import FleetView


class FleetController:
    """Binds a fleet view to the portal."""

    def __init__(self, panel: FleetView, portal: Administration) -> None:
        self._panel, self._portal = panel, portal
        panel.on_ask(self._heard)
        panel.ask(TICK)

    def _heard(self, verb: str, _: dict[str, Any]) -> None:
        if verb == TICK:
            self._panel.show(fleet=self._portal.fleet().model_dump(mode="json"))

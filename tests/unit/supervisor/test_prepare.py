"""What is ours before anything of it was recorded."""

from __future__ import annotations

import pytest

from dure_hub.catalogue.rates import BadRates
from dure_hub.settings import Settings
from dure_hub.supervisor import prepare
from dure_hub.supervisor.errors import PortTaken
from tests.unit.supervisor.kit import Begin

LISTEN = """
import signal, socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
signal.pause()
"""


@pytest.mark.parametrize("ours", [True, False])
def test_an_envoy_without_a_record_is_known_by_its_mark(settings: Settings, begin: Begin, ours: bool) -> None:
    """Its supervisor was killed between its start and its record."""
    portal = settings.instance if ours else "another"
    _, port = begin(LISTEN, DURE_PORTAL=portal, DURE_SERVICE="envoy")
    settings = settings.model_copy(update={"port": int(port), "disk_minimum_mb": 0})
    if ours:
        prepare.check(settings)
        return
    with pytest.raises(PortTaken):
        prepare.check(settings)


def test_up_refuses_a_rate_card_that_is_wrong(settings: Settings) -> None:
    """With one that cannot be read, everything would start at prices that nobody set."""
    settings = settings.model_copy(update={"disk_minimum_mb": 0})
    settings.folder.rates.write_text("- {gpu: rtx-4090, rate: many, since: 2026-01-01}\n")
    with pytest.raises(BadRates, match="line 1: many is not possible: rate is a number"):
        prepare.check(settings)

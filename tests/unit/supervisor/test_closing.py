"""Closing goes through to its end, whatever fails on the way."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.embedded import runner
from dure_hub.settings import Settings
from dure_hub.supervisor import closing, processes
from dure_hub.supervisor.errors import StillRunning
from tests.contract.backends.kit import EmbeddedPlace, deaf, no_room
from tests.contract.backends.test_before_stop import started, text
from tests.unit.supervisor.kit import SLEEP, Begin

KINDS = ("job", "execution", "server", "model")
SERVICES = ["hub", "voila", "warm", "portal", "mlflow", "envoy"]


class Services:
    """Each of them fails to stop; it is written down that it was asked to, and what was said."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.troubles: list[str] = []

    async def stop(self, name: str, grace_s: float) -> None:
        """Fail."""
        self.asked.append(name)
        raise RuntimeError(f"no end of {name}")

    def say(self, key: str, **facts: Any) -> None:
        """Keep what was said of troubles."""
        if key == "trouble":
            self.troubles.append(f"{facts['what']}: {facts['why']}")


@pytest.fixture
def quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Nothing that will not end is waited for long."""
    monkeypatch.setattr(runner, "PATIENCE_S", 0.5)
    monkeypatch.setattr(processes, "KILL_S", 0.05)
    return settings.model_copy(update={"stop_grace_s": 0.0, "job_grace_s": 0.0})


async def test_services_that_fail_and_a_full_disk_keep_nothing_up(settings: Settings, begin: Begin) -> None:
    stray, _ = begin(SLEEP, DURE_PORTAL=settings.instance)
    services = Services()
    with no_room():
        await closing.close(settings, services.stop, services.say, asyncio.Event())
    assert services.asked == SERVICES
    assert services.troubles == [f"{name}: no end of {name}" for name in SERVICES]
    assert stray.wait(timeout=20) == -signal.SIGTERM
    assert not settings.folder.closing.exists()


@pytest.mark.parametrize("kind", ["job", "execution"])
async def test_what_does_not_end_is_named_when_all_the_rest_has(quick: Settings, begin: Begin, kind: str) -> None:
    marks = {"DURE_PORTAL": quick.instance, "DURE_KIND": kind}
    stuck, _ = begin(SLEEP, DURE_LEASE="STUCK", **marks)
    fine, _ = begin(SLEEP, DURE_LEASE="FINE", **marks)
    services = Services()
    with deaf(stuck.pid), pytest.raises(StillRunning) as left:
        await closing.close(quick, services.stop, services.say, asyncio.Event())
    assert left.value.facts["pids"] == str(stuck.pid)
    assert any(said.startswith("STUCK: ") and str(stuck.pid) in said for said in services.troubles)
    assert services.asked == SERVICES
    assert fine.wait(timeout=20) < 0
    assert not quick.folder.closing.exists()


async def test_servers_save_before_they_end_and_one_that_is_silent_is_not_waited_for_long(tmp_path: Path) -> None:
    place = EmbeddedPlace(tmp_path)
    settings = place.settings.model_copy(update={"before_stop_s": 5.0, "stop_grace_s": 0.0})
    handles = [await started(place, before_stop=answer) for answer in (text(200, "{}"), None)]
    settings.folder.create()
    await closing.close(settings, Services().stop, Services().say, asyncio.Event())
    for handle in handles:
        _, asked = await place.printed(handle, 2)
        assert json.loads(asked["body"])["reason"] == "down"
    assert place.marked() == {}


async def test_each_step_begins_when_the_one_before_is_over_and_has_its_own_bound(
    settings: Settings, begin: Begin
) -> None:
    """As docs/operating.md has it: work, then what the work leans on."""
    own = {"stop_grace_s": 7.0, "job_grace_s": 9.0, "before_stop_s": 0.0}
    settings = settings.model_copy(update=own)
    marks = {"DURE_PORTAL": settings.instance}
    work = {kind: begin(SLEEP, DURE_KIND=kind, DURE_LEASE=kind.upper(), **marks)[0] for kind in KINDS}
    steps: list[tuple[str, float | None, set[str]]] = []

    def note(name: str, bound_s: float | None) -> None:
        steps.append((name, bound_s, {kind for kind, process in work.items() if process.poll() is None}))

    def say(key: str, **facts: Any) -> None:
        note(key, facts.get("seconds"))

    async def stop(name: str, grace_s: float) -> None:
        note(name, grace_s)

    await closing.close(settings, stop, say, asyncio.Event())
    assert steps == [
        ("closing", None, {"job", "execution", "server", "model"}),
        ("closing_jobs", 9, {"job", "execution", "server", "model"}),
        ("closing_executions", 7, {"execution", "server", "model"}),
        ("closing_servers", 7, {"server", "model"}),
        ("hub", 7, {"model"}),
        ("voila", 7, {"model"}),
        ("warm", 7, {"model"}),
        ("closing_models", 7, {"model"}),
        ("portal", 7, set()),
        ("mlflow", 7, set()),
        ("envoy", 7, set()),
    ]

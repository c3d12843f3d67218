"""What becomes of endpoints when model servers crash, vanish or cannot start, and when the portal is killed."""

from __future__ import annotations

import itertools
import os
import signal
from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy import select

from dure import wire
from dure_hub.backends.base import Handle
from dure_hub.policies import canary
from dure_hub.settings import Settings
from dure_hub.store.models import Endpoint, Lease, Replica
from tests.support.workshop import Workshop, workshop
from tests.unit.operations.endpoints.kit import (
    ANA,
    CRASHES,
    NoMemory,
    StubServing,
    deploying,
    four_versions,
    leases_left,
    shares,
    trying,
    until_phase,
    until_state,
)

# httpcore 1.0 leaves the socket of a refused Unix connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


async def test_a_canary_that_cannot_be_loaded_fails_and_takes_no_request(shop: Workshop) -> None:
    await shop.endpoints.deploy(ANA, deploying())
    await until_state(shop, "ready")
    await shop.endpoints.canary(ANA, "numbers", trying(CRASHES, 50))

    look = itertools.count()

    async def failed() -> wire.Replica | None:
        (shop.settings.folder.root / "clock").write_text(str(3 * next(look)))  # so as not to sit out the pauses
        canary = (await shop.endpoints.get(ANA, "numbers")).canary
        assert shares(shop) == {"1": 100}
        return canary if canary is not None and canary.phase == "failed" else None

    canary = await shop.until(failed, "the canary is given up")
    assert canary is not None
    assert "this model cannot be loaded" in (canary.reason or "")
    assert (await shop.endpoints.get(ANA, "numbers")).state == "ready"
    await shop.endpoints.rollback(ANA, "numbers")
    await shop.endpoints.canary(ANA, "numbers", trying(4))
    await until_phase(shop, "ready")


async def test_a_crashed_champion_is_started_again_under_its_lease(shop: Workshop) -> None:
    await shop.endpoints.deploy(ANA, deploying())
    await until_state(shop, "ready")
    await shop.reconciler.look()
    (before,) = await shop.serving.seen()
    host, port = shop.serving.address(before.handle)
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.TransportError):
            await client.post(f"http://{host}:{port}/die")
    degraded = await until_state(shop, "degraded")
    assert "started again" in (degraded.reason or "")
    assert shares(shop) == {"nobody": 100}
    ready = await until_state(shop, "ready")
    assert ready.champion is not None
    assert ready.champion.model_dump()["restarts"] == 1
    await shop.reconciler.look()
    assert shares(shop) == {"1": 100}
    (after,) = await shop.serving.seen()
    assert after.handle.lease == before.handle.lease
    assert after.handle.where != before.handle.where


async def test_a_crash_counts_once_although_its_run_cannot_be_forgotten_at_once(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.endpoints.deploy(ANA, deploying())
    await until_state(shop, "ready")
    await shop.reconciler.look()
    (before,) = await shop.serving.seen()
    failing, forget = iter(range(2)), shop.serving.forget

    async def full(handle: Handle) -> None:
        if next(failing, None) is not None:
            raise OSError(28, "No space left on device")
        await forget(handle)

    monkeypatch.setattr(shop.serving, "forget", full)
    await shop.serving.stop(before.handle, 0)
    await until_state(shop, "degraded")
    ready = await until_state(shop, "ready")
    assert ready.champion is not None
    assert ready.champion.model_dump()["restarts"] == 1


async def test_what_has_answered_once_is_tried_again_also_by_the_next_portal(
    settings: Settings, mlflow: Settings
) -> None:
    async with workshop(settings, serving=StubServing(settings)) as first:
        await four_versions(first, mlflow)
        await first.endpoints.deploy(ANA, deploying())
        await until_state(first, "ready")
        (before,) = await first.serving.seen()
        await first.serving.stop(before.handle, 0)
    (settings.folder.root / "clock").write_text("11")  # its leadership has ended
    short = NoMemory(settings, refusals=canary.GIVE_UP + 1)
    async with workshop(settings, serving=short) as second:
        times = itertools.count(1)

        async def ready() -> bool:
            (settings.folder.root / "clock").write_text(str(11 + 31 * next(times)))  # past every pause
            champion = (await second.endpoints.get(ANA, "numbers")).champion
            assert champion is not None
            assert champion.phase != "failed"
            return champion.phase == "ready"

        await second.until(ready, "it runs again")
        assert short.refusals == 0


async def test_one_endpoint_that_cannot_go_on_holds_up_no_other(shop: Workshop) -> None:
    await shop.endpoints.deploy(ANA, deploying())
    await until_state(shop, "ready")
    with shop.store.transaction() as session:  # the profile has gone with its card, and its lease with it
        session.scalars(select(Endpoint)).one().profile = "gpu-gone"
        replica = session.scalars(select(Replica)).one()
        lease = session.get_one(Lease, replica.lease_id)
        lease.ended_at, lease.end_reason = datetime.now(UTC), "lost"
        replica.phase, replica.lease_id = "crashed", None
    await shop.endpoints.deploy(ANA, deploying(4, "others"))
    await until_state(shop, "ready", "others")
    stuck = (await shop.endpoints.get(ANA, "numbers")).champion
    assert stuck is not None
    assert "gpu-gone" in (stuck.reason or "")


async def test_a_champion_that_vanished_gets_a_new_place(shop: Workshop) -> None:
    await shop.endpoints.deploy(ANA, deploying())
    await until_state(shop, "ready")
    (before,) = await shop.serving.seen()
    for process in shop.serving.runner.marked(before.handle.lease):
        os.kill(process.pid, signal.SIGKILL)
    shop.serving.runner.folder(before.handle.lease).remove()
    (shop.settings.folder.root / "clock").write_text("40")  # patience with what may only just be starting
    await until_state(shop, "degraded")
    await until_state(shop, "ready")
    await shop.reconciler.look()
    assert shares(shop) == {"1": 100}
    assert await leases_left(shop) == 1


async def test_endpoints_outlive_the_portal_and_nothing_is_doubled(settings: Settings, mlflow: Settings) -> None:
    async with workshop(settings, serving=StubServing(settings)) as first:
        await four_versions(first, mlflow)
        await first.endpoints.deploy(ANA, deploying())
        await until_state(first, "ready")
        await first.endpoints.canary(ANA, "numbers", trying(4))
        await until_phase(first, "ready")
        before = {s.handle.lease for s in await first.serving.seen()}
        with first.store.transaction() as session:  # as if it had died before it noted what it had started
            for replica in session.scalars(select(Replica)).all():
                replica.phase = "starting"
            for lease in session.scalars(select(Lease)).all():
                lease.handle = {}
    (settings.folder.root / "clock").write_text("11")  # its leadership has ended
    async with workshop(settings, serving=StubServing(settings)) as second:
        await until_phase(second, "ready")
        await until_state(second, "ready")
        await second.reconciler.look()
        assert {s.handle.lease for s in await second.serving.seen()} == before
        assert shares(second) == {"1": 90, "4": 10}

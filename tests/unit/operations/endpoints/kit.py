"""What the tests of endpoints share: a small model server in the real backend, and looks at what is routed."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from sqlalchemy import select

from dure import wire
from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, ServingWork
from dure_hub.backends.embedded import EmbeddedServing
from dure_hub.backends.embedded.errors import CouldNotStart
from dure_hub.backends.embedded.runner import Plan
from dure_hub.backends.embedded.runs import environment_of
from dure_hub.operations.people import USE, Person
from dure_hub.settings import Settings
from dure_hub.store.models import Lease
from tests.support.mlflow import save_model
from tests.support.workshop import Workshop

ANA, BEN = Person("ana", scopes=frozenset({USE})), Person("ben", scopes=frozenset({USE}))
STUB = Path(__file__).parents[3] / "support" / "stub_model.py"
GOOD, CRASHES, SLOW = 1, 2, 3
"""Versions of the model `digits`; 4 is as good as 1."""


class StubServing(EmbeddedServing):
    """The real backend with a small server in the place of the model server."""

    def start(self, work: ServingWork) -> AsyncIterator[Handle]:
        """As `EmbeddedServing.start`."""
        model = ["--model", str(work.model), "--name", work.name, "--version", str(work.version)]
        command = [sys.executable, "-I", "-S", str(STUB), *model, "--port", "{port}"]
        return self._run(
            Plan(
                lease=work.lease,
                owner=work.owner,
                command=command,
                cwd=work.folder,
                environment=environment_of(work),
                port=True,
            )
        )


class NoMemory(StubServing):
    """A machine that refuses the first starts."""

    def __init__(self, settings: Settings, refusals: int) -> None:
        super().__init__(settings)
        self.refusals = refusals

    def start(self, work: ServingWork) -> AsyncIterator[Handle]:
        """Refuse, or start."""
        if self.refusals:
            self.refusals -= 1
            raise CouldNotStart(why="Cannot allocate memory")
        return super().start(work)


async def four_versions(shop: Workshop, mlflow: Settings) -> None:
    """Register them once for all tests."""
    ana = shop.mlflow.acting("ana")
    await ana.ensure_model("digits", {})
    if await ana.versions("digits"):
        await ana.delete_alias("digits", "champion")
        return
    experiment = await ana.experiment("ana/default")
    for extra in ({}, {"crash": b""}, {"slow": b""}, {}):
        run_id = await ana.create_run(experiment, "made", {}, 1000)
        model = save_model(mlflow, "ana", experiment, run_id, {"MLmodel": b"x", **extra})
        await ana.create_version("digits", model, run_id, {})


def deploying(version: int = GOOD, name: str = "numbers") -> wire.DeployRequest:
    return wire.DeployRequest(id=new_id(), name=name, model="digits", version=version)


def trying(version: int, percent: int = 10) -> wire.CanaryRequest:
    return wire.CanaryRequest(id=new_id(), version=version, percent=percent)


async def until_state(shop: Workshop, state: str, name: str = "numbers") -> wire.Endpoint:
    """Wait for an endpoint's state."""

    async def look() -> wire.Endpoint | None:
        endpoint = await shop.endpoints.get(ANA, name)
        return endpoint if endpoint.state == state else None

    found = await shop.until(look, f"{name} is {state}")
    assert found is not None
    return found


async def until_phase(shop: Workshop, phase: str) -> wire.Replica:
    """Wait for the canary's phase."""

    async def look() -> wire.Replica | None:
        canary = (await shop.endpoints.get(ANA, "numbers")).canary
        return canary if canary is not None and canary.phase == phase else None

    found = await shop.until(look, f"the canary is {phase}")
    assert found is not None
    return found


def shares(shop: Workshop, name: str = "numbers") -> dict[str, int]:
    """Versions that answer under the published route, each with its share; by asking them."""
    fragment = shop.dataplane.read("endpoints")
    routes = [route for route in fragment.routes if route.prefix == f"/serve/{name}/"]
    found = {}
    for cluster, share in routes[0].targets if routes else ():
        address = next(c.address for c in fragment.clusters if c.name == cluster)
        found[version_at(address)] = share
    return found


def version_at(address: str) -> str:
    """Which version answers here; `nobody` for the place where nobody does."""
    if address.startswith("unix:"):
        return "nobody"
    with httpx.Client(trust_env=False) as client:
        return str(client.post(f"http://{address}/invocations").json()["version"])


async def leases_left(shop: Workshop) -> int:
    """Active leases."""
    with shop.store.reading() as session:
        return len(session.scalars(select(Lease).where(Lease.ended_at.is_(None))).all())

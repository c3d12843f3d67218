"""Where concrete classes meet: builds the operations of one process, and runs the portal service.

The hub's process imports this too, for its spawner and proxy: what only the service needs is imported by `main`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from functools import partial
from pathlib import Path

from dure.errors import DureError
from dure_hub.backends.embedded import (
    EmbeddedExecutions,
    EmbeddedServers,
    EmbeddedServing,
    EmbeddedTraining,
    FolderArtifacts,
    choose,
)
from dure_hub.dataplane import Dataplane
from dure_hub.hubapi import HubApi
from dure_hub.mlflowapi import MlflowApi
from dure_hub.noticeapi import NoticeApi
from dure_hub.operations import Operations, admission
from dure_hub.operations.allocations import Allocations
from dure_hub.operations.budgets import Budgets
from dure_hub.operations.carving import Carver
from dure_hub.operations.counters import FLUSH_S, Counters
from dure_hub.operations.cuts import Cuts
from dure_hub.operations.endpoints import Endpoints
from dure_hub.operations.environment_runs import EnvironmentRuns
from dure_hub.operations.environments import Environments
from dure_hub.operations.events import Events
from dure_hub.operations.fleet import KEEP_S, Fleets
from dure_hub.operations.gpus import Gpus
from dure_hub.operations.jobs import Jobs
from dure_hub.operations.ledger import Ledger
from dure_hub.operations.metrics import Metrics
from dure_hub.operations.models import Models
from dure_hub.operations.notice_making import NoticeMaking
from dure_hub.operations.notice_sending import NoticeSending
from dure_hub.operations.notices import Notices
from dure_hub.operations.offers import Offers
from dure_hub.operations.outlook import Outlook
from dure_hub.operations.plans import Plans
from dure_hub.operations.profiles import Profiles
from dure_hub.operations.queues import Queues
from dure_hub.operations.quotas import Quotas
from dure_hub.operations.reconcile import Reconciler
from dure_hub.operations.schedules import Schedules
from dure_hub.operations.shares import Shares
from dure_hub.operations.snapshots import Snapshots
from dure_hub.operations.tokens import Tokens
from dure_hub.operations.turns import Turns
from dure_hub.operations.usage import INTERVAL_S, Uses
from dure_hub.owners import Owners
from dure_hub.settings import Settings, load_settings
from dure_hub.store import Clock, Store, database_url, system_clock

_GRACE_S = 3
"""How long answers that are being sent may take once the service is asked to end; streams would go on for ever."""


def operations(data: Path | str) -> Operations:
    """Everything the portal can do, for one process on this data folder. Raises `WrongRevision`."""
    settings, store, clock = _opened(data)
    servers, training, serving = EmbeddedServers(settings), EmbeddedTraining(settings), EmbeddedServing(settings)
    inventory, hub = choose(settings, clock), HubApi(settings)
    fleets, profiles = Fleets(store, clock, inventory), Profiles(settings, store, clock, inventory)
    gpus, carver = Gpus(store, clock, fleets), Carver(settings, store, clock, inventory)
    mlflow, plane, tokens = MlflowApi(settings), Dataplane(settings), Tokens(store, clock)
    snapshots, notices = Snapshots(settings, FolderArtifacts(settings)), _notices(settings, store, clock, hub)
    seen = None if settings.simulated_fleet else inventory.measure  # what is made up says nothing of use
    runs = EnvironmentRuns(settings, store, clock, servers, hub, measure=seen)
    environments = Environments(store, clock, profiles, runs)
    jobs = Jobs(settings, store, clock, profiles, snapshots, tokens, training, mlflow)
    endpoints = Endpoints(settings, store, clock, profiles, serving, mlflow, plane)
    executions, allocations = EmbeddedExecutions(settings), Allocations(store, clock, profiles)
    schedules = Schedules(settings, store, clock, profiles, snapshots, tokens, executions)
    works = (runs, jobs.subject, schedules.subject, endpoints.subject, allocations.subject)
    budgets, quotas = Budgets(store, clock), Quotas(store, clock)
    ops = Operations(
        settings=settings,
        store=store,
        clock=clock,
        profiles=profiles,
        plans=Plans(settings, store, clock, profiles),
        fleet=fleets,
        gpus=gpus,
        allocations=allocations,
        queues=Queues(store, clock, profiles),
        metrics=Metrics(store, clock, gpus, quotas, budgets),
        cuts=Cuts(store, clock, inventory, carver, profiles, fleets, gpus),
        environments=environments,
        offers=Offers(store, clock, profiles),
        turns=Turns(environments, store, clock, profiles),
        jobs=jobs,
        models=Models(store, clock, mlflow),
        endpoints=endpoints,
        schedules=schedules,
        shares=Shares(settings, store, clock, hub, servers),
        tokens=tokens,
        events=Events(store),
        notices=notices,
        ledger=Ledger(store, clock),
        outlook=Outlook(store, clock, profiles),
        budgets=budgets,
        quotas=quotas,
        counters=Counters(store, clock),
        snapshots=snapshots,
        reconciler=Reconciler(settings, store, clock, profiles, works),
        servers=servers,
        training=training,
        serving=serving,
        executions=executions,
        inventory=inventory,
        hub=hub,
        mlflow=mlflow,
        dataplane=plane,
    )
    return _joined(ops, carver)


def _opened(data: Path | str) -> tuple[Settings, Store, Clock]:
    settings = load_settings(data)
    store = Store(database_url(settings))
    store.check_revision()
    return settings, store, system_clock(settings.clock_file)


def _notices(settings: Settings, store: Store, clock: Clock, hub: HubApi) -> Notices:
    api = NoticeApi(settings)
    making, sending = NoticeMaking(settings, store, clock, hub), NoticeSending(settings, store, clock, api)
    return Notices(settings, store, clock, making, sending, api)


def _joined(ops: Operations, carver: Carver) -> Operations:
    """What the parts need of each other once all are there, and what happens by itself."""
    ops.schedules.firing.ready = partial(ops.reconciler.has_looked, admission.SCHEDULE)
    ops.schedules.firing.why_not = ops.shares.why_not = Owners(ops.settings, ops.hub).why_not
    ops.environments.carve = carver.ready
    for subject in (ops.jobs.subject, ops.endpoints.subject, ops.schedules.subject, ops.allocations.subject):
        subject.carve, subject.kick = carver.ready, ops.reconciler.kick
    _add_ticks(ops)
    return ops


def _add_ticks(ops: Operations) -> None:
    """All that happens by itself, beside the reconciler's own look."""
    ticks = ops.reconciler.ticks
    ticks.add("schedules", ops.settings.look_interval_s, ops.schedules.firing.fire)
    ticks.add("budgets", INTERVAL_S, ops.budgets.watch)
    ticks.add("quotas", INTERVAL_S, ops.quotas.watch)
    ticks.add("counters", FLUSH_S, ops.counters.flush)
    ticks.add("usage", INTERVAL_S, Uses(ops.store, ops.clock, ops.inventory).look)
    ticks.add("fleet", KEEP_S, ops.gpus.keep_fresh)
    ops.notices.sending.kick = partial(ticks.kick, "notices")
    ticks.add("notices", ops.settings.look_interval_s, ops.notices.work)
    ticks.add("old notices", 3600, ops.notices.sending.tidy)
    ticks.add("executions", 60, ops.schedules.retention.tidy)


async def serve(ops: Operations) -> None:
    """Run the service on its port, and the ticks with it, until asked to end."""
    import uvicorn

    from dure_hub.services import application

    config = uvicorn.Config(
        application(ops),
        host="127.0.0.1",
        port=ops.settings.portal_port,
        access_log=False,
        log_config=None,
        proxy_headers=True,
        forwarded_allow_ips="127.0.0.1",  # Envoy's connections, and nobody else's headers
        timeout_graceful_shutdown=_GRACE_S,
    )
    ops.reconciler.ticks.start()
    try:
        await uvicorn.Server(config).serve()
    finally:
        await ops.close()


def main() -> None:
    """`python -m dure_hub.app`: the portal service of the data folder that `DURE_DATA` names."""
    os.umask(0o077)
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each request
    try:
        ops = operations(os.environ["DURE_DATA"])
    except DureError as error:
        logging.getLogger(__name__).critical("%s", error)
        sys.exit(1)
    asyncio.run(serve(ops))


if __name__ == "__main__":
    main()

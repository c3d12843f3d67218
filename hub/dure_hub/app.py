"""Where concrete classes meet: builds the operations of one process, and runs the portal service.

The hub's process imports this too, for its spawner and proxy: what only the service needs is imported by `main`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dure.errors import DureError
from dure_hub.account_book import AccountBook
from dure_hub.backends.base import InventoryBackend, Measures
from dure_hub.backends.chosen import backends_of
from dure_hub.backends.embedded import FolderArtifacts
from dure_hub.dataplane import Dataplane
from dure_hub.hubapi import HubApi
from dure_hub.mlflowapi import MlflowApi
from dure_hub.noticeapi import NoticeApi
from dure_hub.operations import Operations, admission, keys
from dure_hub.operations.allocations import Allocations
from dure_hub.operations.audit import Audit
from dure_hub.operations.budgets import Budgets
from dure_hub.operations.carving import Carver
from dure_hub.operations.counters import FLUSH_S, Counters
from dure_hub.operations.cuts import Cuts
from dure_hub.operations.devices import LOOK_S, Devices
from dure_hub.operations.disk import LOOK_S as DISK_S
from dure_hub.operations.disk import Disk
from dure_hub.operations.endpoints import Endpoints
from dure_hub.operations.environment_runs import EnvironmentRuns
from dure_hub.operations.environments import Environments
from dure_hub.operations.events import Events
from dure_hub.operations.fleet import KEEP_S, Fleets
from dure_hub.operations.gpus import Gpus
from dure_hub.operations.groups import TeamGroups
from dure_hub.operations.jobs import Jobs
from dure_hub.operations.keys import Keys
from dure_hub.operations.leaselogs import TIDY_S, LeaseLogs
from dure_hub.operations.ledger import Ledger
from dure_hub.operations.logins import Logins
from dure_hub.operations.metrics import Metrics
from dure_hub.operations.models import Models
from dure_hub.operations.notice_making import NoticeMaking
from dure_hub.operations.notice_sending import NoticeSending
from dure_hub.operations.notices import Notices
from dure_hub.operations.offers import Offers
from dure_hub.operations.organisation import Organisation
from dure_hub.operations.outlook import Outlook
from dure_hub.operations.plans import Plans
from dure_hub.operations.profiles import Profiles
from dure_hub.operations.queues import Queues
from dure_hub.operations.quotas import Quotas
from dure_hub.operations.reconcile import Reconciler, Subject
from dure_hub.operations.schedules import Schedules
from dure_hub.operations.shares import Shares
from dure_hub.operations.snapshots import Snapshots
from dure_hub.operations.tokens import Tokens
from dure_hub.operations.turns import Turns
from dure_hub.operations.usage import INTERVAL_S, Uses
from dure_hub.operations.waking import Waking
from dure_hub.owners import Owners
from dure_hub.settings import Settings, load_settings
from dure_hub.store import Clock, Store, database_url, system_clock

if TYPE_CHECKING:
    from dure_hub.backends.kubernetes.api import Cluster

ORGANISATION_S = 10.0
"""Between two looks at whether accounts, files and the hub's groups are as was decided."""
_GRACE_S = 3
"""How long answers that are being sent may take once the service is asked to end; streams would go on for ever."""


def operations(data: Path | str) -> Operations:
    """All the portal can do, for one process on this data folder. Starts nothing; may raise `WrongRevision`."""
    settings, store, clock = _opened(data)
    snapshots, has = Snapshots(settings, FolderArtifacts(settings)), backends_of(settings, clock)
    inventory, hub = has.inventory, HubApi(settings)
    fleets, profiles = Fleets(store, clock, inventory), Profiles(settings, store, clock, inventory)
    gpus, carver = Gpus(store, clock, fleets), Carver(settings, store, clock, inventory)
    mlflow, plane, tokens = MlflowApi(settings), Dataplane(settings), Tokens(store, clock)
    runs = EnvironmentRuns(settings, store, clock, has.servers, hub, measure=_measure(settings, inventory))
    environments = Environments(store, clock, profiles, runs)
    jobs = Jobs(settings, store, clock, profiles, snapshots, tokens, has.training, mlflow)
    endpoints = Endpoints(settings, store, clock, profiles, has.serving, mlflow, plane)
    schedules = Schedules(settings, store, clock, profiles, snapshots, tokens, has.executions)
    allocations, budgets, quotas = Allocations(store, clock, profiles), Budgets(store, clock), Quotas(store, clock)
    works = (runs, jobs.subject, schedules.subject, endpoints.subject, allocations.subject)
    made = Operations(
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
        **_trouble(settings, store, clock, inventory, works[:-1]),
        environments=environments,
        offers=Offers(store, clock, profiles),
        turns=Turns(environments, store, clock, profiles),
        jobs=jobs,
        models=Models(store, clock, mlflow),
        endpoints=endpoints,
        schedules=schedules,
        shares=Shares(settings, store, clock, hub, has.servers),
        tokens=tokens,
        keys=Keys(settings, store, clock, tokens),
        logins=Logins(settings, store, clock),
        events=Events(store, clock),
        notices=_notices(settings, store, clock, hub),
        audit=Audit(store, clock),
        ledger=Ledger(store, clock),
        outlook=Outlook(store, clock, profiles),
        budgets=budgets,
        quotas=quotas,
        organisation=Organisation(settings, store, clock, profiles, TeamGroups(settings, store, clock, hub)),
        snapshots=snapshots,
        reconciler=Reconciler(settings, store, clock, profiles, works, Waking(settings)),
        servers=has.servers,
        training=has.training,
        serving=has.serving,
        executions=has.executions,
        inventory=inventory,
        let_go=has.close,
        hub=hub,
        mlflow=mlflow,
        dataplane=plane,
    )
    return _with_queues(_joined(made, carver), has.cluster)


def _trouble(
    settings: Settings, store: Store, clock: Clock, inventory: InventoryBackend, subjects: Sequence[Subject]
) -> dict[str, Any]:
    """What looks after the portal's own well-being."""
    return {
        "devices": Devices(store, clock, inventory),
        "disk": Disk(settings, clock),
        "lease_logs": LeaseLogs(settings, store, subjects),
        "counters": Counters(store, clock),
    }


def _opened(data: Path | str) -> tuple[Settings, Store, Clock]:
    settings = load_settings(data)
    store = Store(database_url(settings))
    store.check_revision()
    return settings, store, system_clock(settings.clock_file)


def _measure(settings: Settings, inventory: InventoryBackend) -> Callable[[], Awaitable[Measures]] | None:
    """How use is seen; what is made up says nothing of it."""
    return None if settings.simulated_fleet else inventory.measure


def _notices(settings: Settings, store: Store, clock: Clock, hub: HubApi) -> Notices:
    api = NoticeApi(settings)
    making, sending = NoticeMaking(settings, store, clock, hub), NoticeSending(settings, store, clock, api)
    return Notices(settings, store, clock, making, sending, api)


def _joined(ops: Operations, carver: Carver) -> Operations:
    """What the parts need of each other once all are there, and what happens by itself."""
    ops.schedules.firing.ready = partial(ops.reconciler.has_looked, admission.SCHEDULE)
    ops.schedules.firing.why_not = ops.shares.why_not = Owners(ops.settings, ops.hub).why_not
    ops.devices.changed = partial(_devices_changed, ops)
    ops.profiles.lacks = ops.servers.unsupported
    ops.profiles.full = ops.snapshots.full = ops.disk.why_full
    ops.environments.carve = carver.ready
    ops.organisation.people = AccountBook(ops.settings)
    for subject in (ops.jobs.subject, ops.endpoints.subject, ops.schedules.subject, ops.allocations.subject):
        subject.carve, subject.kick = carver.ready, ops.reconciler.kick
    _add_ticks(ops)
    return ops


def _with_queues(ops: Operations, cluster: Cluster | None) -> Operations:
    """Where Kueue is to have the portal's quotas by itself. What is not chosen is not imported."""
    if ops.settings.kueue_apply_s and cluster is not None:
        from dure_hub.queue_book import QueueBook

        book = QueueBook(ops.settings, ops.store, cluster)
        ops.reconciler.ticks.add("kueue", ops.settings.kueue_apply_s, book.keep)
    return ops


def _devices_changed(ops: Operations) -> None:
    """Nobody decides by an older look any more."""
    ops.profiles.forget()
    ops.fleet.forget()
    ops.reconciler.kick()


def _add_ticks(ops: Operations) -> None:
    """All that happens by itself, beside the reconciler's own look."""
    ticks = ops.reconciler.ticks
    ticks.add("schedules", ops.settings.look_interval_s, ops.schedules.firing.fire)
    ticks.add("budgets", INTERVAL_S, ops.budgets.watch)
    ticks.add("quotas", INTERVAL_S, ops.quotas.watch)
    ticks.add("organisation", ORGANISATION_S, ops.organisation.look)
    ticks.add("counters", FLUSH_S, ops.counters.flush)
    ticks.add("keys", keys.FLUSH_S, ops.tokens.keep_uses)
    ticks.add("usage", INTERVAL_S, Uses(ops.store, ops.clock, ops.inventory).look)
    ticks.add("fleet", KEEP_S, ops.gpus.keep_fresh)
    ticks.add("devices", LOOK_S, ops.devices.look)
    ticks.add("disk", DISK_S, ops.disk.keep_reserve)
    ticks.add("lease logs", TIDY_S, ops.lease_logs.tidy)
    ops.notices.sending.kick = partial(ticks.kick, "notices")
    ticks.add("notices", ops.settings.look_interval_s, ops.notices.work)
    ticks.add("old notices", 3600, ops.notices.sending.tidy)
    ticks.add("executions", 60, ops.schedules.retention.tidy)


async def serve(ops: Operations) -> None:
    """Run the service on its port, and the ticks with it, until asked to end."""
    import uvicorn

    from dure_hub.services import application
    from dure_hub.services.discovery import answering

    settings = ops.settings
    config = uvicorn.Config(
        application(ops),
        host=settings.own_host,
        port=settings.portal_port,
        access_log=False,
        log_config=None,
        proxy_headers=True,
        # Envoy's connections, and nobody else's headers; elsewhere nobody but Envoy reaches this port.
        forwarded_allow_ips="*" if settings.portal_host else "127.0.0.1",
        timeout_graceful_shutdown=_GRACE_S,
    )
    ops.reconciler.ticks.start()
    try:
        async with answering(settings):
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

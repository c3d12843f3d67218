"""Admit, start, stop, promote, roll back, expire, reconcile: policy, store and backends together.

`Operations` is the bundle that app.py builds once a process and hands to services, spawner and proxy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dure_hub.operations.people import Person as Person

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dure_hub.backends.base import (
        ExecutionBackend,
        InventoryBackend,
        ServerBackend,
        ServingBackend,
        TrainingBackend,
    )
    from dure_hub.dataplane import Dataplane
    from dure_hub.hubapi import HubApi
    from dure_hub.mlflowapi import MlflowApi
    from dure_hub.operations.allocations import Allocations
    from dure_hub.operations.audit import Audit
    from dure_hub.operations.budgets import Budgets
    from dure_hub.operations.counters import Counters
    from dure_hub.operations.cuts import Cuts
    from dure_hub.operations.devices import Devices
    from dure_hub.operations.disk import Disk
    from dure_hub.operations.endpoints import Endpoints
    from dure_hub.operations.environments import Environments
    from dure_hub.operations.events import Events
    from dure_hub.operations.fleet import Fleets
    from dure_hub.operations.gpus import Gpus
    from dure_hub.operations.jobs import Jobs
    from dure_hub.operations.keys import Keys
    from dure_hub.operations.leaselogs import LeaseLogs
    from dure_hub.operations.ledger import Ledger
    from dure_hub.operations.logins import Logins
    from dure_hub.operations.metrics import Metrics
    from dure_hub.operations.models import Models
    from dure_hub.operations.notices import Notices
    from dure_hub.operations.offers import Offers
    from dure_hub.operations.organisation import Organisation
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
    from dure_hub.settings import Settings
    from dure_hub.store import Clock, Store


@dataclass
class Operations:
    """Everything the portal can do, with the parts it does it by; `let_go` closes what backends opened."""

    settings: Settings
    store: Store
    clock: Clock
    profiles: Profiles
    plans: Plans
    fleet: Fleets
    gpus: Gpus
    allocations: Allocations
    queues: Queues
    metrics: Metrics
    cuts: Cuts
    devices: Devices
    disk: Disk
    lease_logs: LeaseLogs
    environments: Environments
    offers: Offers
    turns: Turns
    jobs: Jobs
    models: Models
    endpoints: Endpoints
    schedules: Schedules
    shares: Shares
    tokens: Tokens
    keys: Keys
    logins: Logins
    events: Events
    audit: Audit
    notices: Notices
    ledger: Ledger
    outlook: Outlook
    budgets: Budgets
    quotas: Quotas
    organisation: Organisation
    counters: Counters
    snapshots: Snapshots
    reconciler: Reconciler
    servers: ServerBackend
    training: TrainingBackend
    serving: ServingBackend
    executions: ExecutionBackend
    inventory: InventoryBackend
    let_go: Callable[[], Awaitable[None]]
    hub: HubApi
    mlflow: MlflowApi
    dataplane: Dataplane

    async def close(self) -> None:
        """Close what this process opened; everything that runs goes on running."""
        await self.reconciler.close()
        await self.environments.close()
        await self.jobs.subject.close()
        await self.endpoints.subject.close()
        await self.schedules.subject.close()
        await self.allocations.subject.close()
        await self.notices.close()
        await self.counters.close()
        await self.audit.close()
        await self.tokens.keep_uses()
        await self.disk.close()
        await self.let_go()
        await self.mlflow.close()
        await self.hub.close()
        self.store.close()

"""The types that cross the wire, as pydantic models. The service imports them, OpenAPI is made from them.

Names are loaded when first used, so that `import dure` stays as light as `import httpx`.
Answers allow unknown fields (a newer portal may send more); requests forbid them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dure.wire.about import About as About
    from dure.wire.about import User as User
    from dure.wire.devices import CordonRequest as CordonRequest
    from dure.wire.devices import Device as Device
    from dure.wire.devices import Disk as Disk
    from dure.wire.devices import DiskFolder as DiskFolder
    from dure.wire.devices import DrainRequest as DrainRequest
    from dure.wire.devices import Outsider as Outsider
    from dure.wire.endpoints import CanaryRequest as CanaryRequest
    from dure.wire.endpoints import DeployRequest as DeployRequest
    from dure.wire.endpoints import Endpoint as Endpoint
    from dure.wire.endpoints import Replica as Replica
    from dure.wire.environments import ActivityReport as ActivityReport
    from dure.wire.environments import Check as Check
    from dure.wire.environments import Environment as Environment
    from dure.wire.environments import EnvironmentRequest as EnvironmentRequest
    from dure.wire.environments import ExtendRequest as ExtendRequest
    from dure.wire.environments import Lease as Lease
    from dure.wire.environments import PutOff as PutOff
    from dure.wire.environments import Receipt as Receipt
    from dure.wire.environments import Slice as Slice
    from dure.wire.environments import StartProgress as StartProgress
    from dure.wire.environments import StartStep as StartStep
    from dure.wire.environments import Ticket as Ticket
    from dure.wire.events import Event as Event
    from dure.wire.fleet import Fleet as Fleet
    from dure.wire.fleet import FleetDevice as FleetDevice
    from dure.wire.fleet import Holder as Holder
    from dure.wire.gpu import Allocation as Allocation
    from dure.wire.gpu import AllocationRequest as AllocationRequest
    from dure.wire.gpu import GpuDevice as GpuDevice
    from dure.wire.gpu import GpuDevices as GpuDevices
    from dure.wire.gpu import GpuOverview as GpuOverview
    from dure.wire.gpu import MigRequest as MigRequest
    from dure.wire.keys import Key as Key
    from dure.wire.keys import KeyRequest as KeyRequest
    from dure.wire.keys import Login as Login
    from dure.wire.keys import NewKey as NewKey
    from dure.wire.models import ModelVersion as ModelVersion
    from dure.wire.models import RegisterRequest as RegisterRequest
    from dure.wire.money import Budget as Budget
    from dure.wire.money import BudgetRequest as BudgetRequest
    from dure.wire.money import CostLine as CostLine
    from dure.wire.money import Costs as Costs
    from dure.wire.money import Forecast as Forecast
    from dure.wire.money import Quota as Quota
    from dure.wire.money import QuotaRequest as QuotaRequest
    from dure.wire.money import Recommendation as Recommendation
    from dure.wire.money import Uncharged as Uncharged
    from dure.wire.notices import Notice as Notice
    from dure.wire.notices import NoticeChannel as NoticeChannel
    from dure.wire.notices import NoticeChannelRequest as NoticeChannelRequest
    from dure.wire.notices import NoticeDelivery as NoticeDelivery
    from dure.wire.notices import NoticeFailure as NoticeFailure
    from dure.wire.notices import NoticeSettings as NoticeSettings
    from dure.wire.notices import NoticeSettingsRequest as NoticeSettingsRequest
    from dure.wire.notices import SeenRequest as SeenRequest
    from dure.wire.organisation import Organisation as Organisation
    from dure.wire.organisation import OrganisationChange as OrganisationChange
    from dure.wire.organisation import OrganisationDiff as OrganisationDiff
    from dure.wire.organisation import OrganisationFile as OrganisationFile
    from dure.wire.organisation import OrganisationRequest as OrganisationRequest
    from dure.wire.organisation import Team as Team
    from dure.wire.organisation import TeamRequest as TeamRequest
    from dure.wire.profiles import HoursLeft as HoursLeft
    from dure.wire.profiles import Offer as Offer
    from dure.wire.profiles import Plan as Plan
    from dure.wire.profiles import Profile as Profile
    from dure.wire.profiles import ProfileVolume as ProfileVolume
    from dure.wire.queue import QueueEntry as QueueEntry
    from dure.wire.schedules import TIME_LIMIT as TIME_LIMIT
    from dure.wire.schedules import Execution as Execution
    from dure.wire.schedules import Failure as Failure
    from dure.wire.schedules import RunRequest as RunRequest
    from dure.wire.schedules import Schedule as Schedule
    from dure.wire.schedules import ScheduleRequest as ScheduleRequest
    from dure.wire.shares import NotebookShare as NotebookShare
    from dure.wire.shares import NotebookShareRequest as NotebookShareRequest
    from dure.wire.shares import Share as Share
    from dure.wire.shares import ShareRequest as ShareRequest
    from dure.wire.training import Attempt as Attempt
    from dure.wire.training import Job as Job
    from dure.wire.training import JobRequest as JobRequest
    from dure.wire.training import LogPage as LogPage

_WHERE = {
    "About": "about",
    "User": "about",
    "Profile": "profiles",
    "ProfileVolume": "profiles",
    "Plan": "profiles",
    "Offer": "profiles",
    "HoursLeft": "profiles",
    "Slice": "environments",
    "Ticket": "environments",
    "Lease": "environments",
    "Environment": "environments",
    "EnvironmentRequest": "environments",
    "ActivityReport": "environments",
    "Check": "environments",
    "ExtendRequest": "environments",
    "PutOff": "environments",
    "Receipt": "environments",
    "StartProgress": "environments",
    "StartStep": "environments",
    "Fleet": "fleet",
    "FleetDevice": "fleet",
    "Holder": "fleet",
    "Allocation": "gpu",
    "AllocationRequest": "gpu",
    "GpuDevice": "gpu",
    "GpuDevices": "gpu",
    "GpuOverview": "gpu",
    "CordonRequest": "devices",
    "Device": "devices",
    "Disk": "devices",
    "DiskFolder": "devices",
    "DrainRequest": "devices",
    "Outsider": "devices",
    "MigRequest": "gpu",
    "QueueEntry": "queue",
    "Organisation": "organisation",
    "OrganisationChange": "organisation",
    "OrganisationDiff": "organisation",
    "OrganisationFile": "organisation",
    "OrganisationRequest": "organisation",
    "Team": "organisation",
    "TeamRequest": "organisation",
    "Notice": "notices",
    "NoticeChannel": "notices",
    "NoticeChannelRequest": "notices",
    "NoticeDelivery": "notices",
    "NoticeFailure": "notices",
    "NoticeSettings": "notices",
    "NoticeSettingsRequest": "notices",
    "SeenRequest": "notices",
    "Budget": "money",
    "BudgetRequest": "money",
    "CostLine": "money",
    "Costs": "money",
    "Forecast": "money",
    "Quota": "money",
    "QuotaRequest": "money",
    "Recommendation": "money",
    "Uncharged": "money",
    "Schedule": "schedules",
    "ScheduleRequest": "schedules",
    "RunRequest": "schedules",
    "Execution": "schedules",
    "Failure": "schedules",
    "TIME_LIMIT": "schedules",
    "Event": "events",
    "Share": "shares",
    "ShareRequest": "shares",
    "NotebookShare": "shares",
    "NotebookShareRequest": "shares",
    "Attempt": "training",
    "Job": "training",
    "JobRequest": "training",
    "LogPage": "training",
    "Key": "keys",
    "KeyRequest": "keys",
    "NewKey": "keys",
    "Login": "keys",
    "ModelVersion": "models",
    "RegisterRequest": "models",
    "Endpoint": "endpoints",
    "Replica": "endpoints",
    "DeployRequest": "endpoints",
    "CanaryRequest": "endpoints",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)

"""Dure's SDK: train, register and serve from a notebook or a script.

    import dure

    job = dure.train("train.py", parameters={"epochs": 20}).wait()
    version = dure.models.register("digits", job)
    endpoint = dure.endpoints.deploy("digits", version.name, version.version).wait()
    endpoint.predict(rows)

Names are loaded when first used: `import dure` itself loads nothing but this file.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dure import costs as costs
    from dure import devices as devices
    from dure import endpoints as endpoints
    from dure import environments as environments
    from dure import gpus as gpus
    from dure import keys as keys
    from dure import models as models
    from dure import notices as notices
    from dure import schedules as schedules
    from dure.account import plan as plan
    from dure.account import profiles as profiles
    from dure.account import whoami as whoami
    from dure.administration import events as events
    from dure.administration import fleet as fleet
    from dure.endpoints import Endpoint as Endpoint
    from dure.errors import DureError as DureError
    from dure.gpus import queue as queue
    from dure.injob import Context as Context
    from dure.injob import context as context
    from dure.training import Job as Job
    from dure.training import job as job
    from dure.training import jobs as jobs
    from dure.training import train as train

__version__ = "0.1.0"

_WHERE = {
    "train": "training",
    "job": "training",
    "jobs": "training",
    "Job": "training",
    "Endpoint": "endpoints",
    "plan": "account",
    "profiles": "account",
    "whoami": "account",
    "events": "administration",
    "fleet": "administration",
    "queue": "gpus",
    "context": "injob",
    "Context": "injob",
    "DureError": "errors",
}
_MODULES = (
    "costs",
    "devices",
    "endpoints",
    "environments",
    "gpus",
    "keys",
    "models",
    "notices",
    "schedules",
)
__all__ = sorted([*_WHERE, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

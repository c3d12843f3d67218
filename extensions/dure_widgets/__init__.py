"""Widgets for notebooks and dashboards: launch, follow, register, roll out. Each shows what it is given.

    import dure_widgets as dw

    launcher = dw.TrainingLauncher(train_digits)
    monitor = dw.JobMonitor(launcher)
    registry = dw.ModelRegistry("digits", job=monitor)
    canary = dw.CanaryPanel("digits", model="digits")

Names are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dure_widgets.canary_panel import CanaryPanel as CanaryPanel
    from dure_widgets.environments_view import EnvironmentsView as EnvironmentsView
    from dure_widgets.fleet_view import FleetView as FleetView
    from dure_widgets.job_monitor import JobMonitor as JobMonitor
    from dure_widgets.model_registry import ModelRegistry as ModelRegistry
    from dure_widgets.naming import own_name as own_name
    from dure_widgets.panel import Panel as Panel
    from dure_widgets.training_launcher import TrainingLauncher as TrainingLauncher

_WHERE = {
    "Panel": "panel",
    "TrainingLauncher": "training_launcher",
    "JobMonitor": "job_monitor",
    "ModelRegistry": "model_registry",
    "CanaryPanel": "canary_panel",
    "EnvironmentsView": "environments_view",
    "FleetView": "fleet_view",
    "own_name": "naming",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__]

"""Versions in the API's words."""

from __future__ import annotations

import json

from dure import wire
from dure.client import read
from dure_hub.mlflowapi import Run
from dure_hub.operations.models import on_wire


def test_a_metric_that_is_not_finite_is_left_out_and_the_version_stays_readable() -> None:
    run = Run("r", "FINISHED", metrics={"loss": 0.1, "val_f1": float("nan"), "gap": float("inf")})
    shown = on_wire({"name": "digits", "version": "2", "run_id": "r"}, run)
    assert shown.metrics == {"loss": 0.1}
    assert read(wire.ModelVersion, json.loads(shown.model_dump_json())).metrics == {"loss": 0.1}


def test_a_null_of_an_older_portal_hides_no_version() -> None:
    told = {"name": "digits", "version": 2, "metrics": {"loss": 0.1, "val_f1": None}}
    assert read(wire.ModelVersion, told).metrics == {"loss": 0.1}

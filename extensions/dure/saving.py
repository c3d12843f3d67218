"""A trained module as an MLflow model without pickle: graph and weights by torch.export (`data/model.pt2`)."""

from __future__ import annotations

import copy
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

METADATA = "dure_classes"
"""Where the model's own file (MLmodel, under `metadata`) keeps the classes."""


def save(
    module: Any, example: Any, folder: Path, *, classes: Sequence[Any] | None, name: str, run_id: str | None
) -> Path:
    """Write the model to `folder`; with a run, log it there too. The first dimension is the batch, of any size."""
    import numpy
    import torch
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.types import Schema, TensorSpec

    module = copy.deepcopy(getattr(module, "module", module)).cpu().eval()
    rows = example.detach().cpu().numpy() if isinstance(example, torch.Tensor) else numpy.asarray(example)
    if rows.ndim == 0 or len(rows) == 0:
        raise ValueError("example_input must be a batch: at least one row")
    if len(rows) == 1:
        rows = numpy.concatenate([rows, rows])  # a batch of one would be exported as always one
    with torch.no_grad():
        out = module(torch.from_numpy(rows)).numpy()
    if classes is not None and (out.ndim != 2 or out.shape[1] != len(classes)):
        raise ValueError(f"{len(classes)} classes need an output of shape (rows, {len(classes)}), not {out.shape}")
    signature = ModelSignature(
        inputs=Schema([TensorSpec(rows.dtype, (-1, *rows.shape[1:]))]),
        outputs=Schema([TensorSpec(out.dtype, (-1, *out.shape[1:]))]),
    )
    described = {"metadata": {METADATA: [_plain(label) for label in classes]}} if classes is not None else {}
    logged = _announce(name, run_id)
    mlflow_model = Model(run_id=run_id, **logged) if logged else Model()
    shutil.rmtree(folder, ignore_errors=True)
    _write(module, rows, folder, mlflow_model, signature, described)
    if logged and run_id is not None:
        _log(folder, run_id, logged["model_id"])
    return folder


def _write(
    module: Any, rows: Any, folder: Path, mlflow_model: Any, signature: Any, described: dict[str, Any]
) -> None:
    import mlflow.pytorch
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hints to MLflow's own developers
        mlflow.pytorch.save_model(
            module,
            str(folder),
            mlflow_model=mlflow_model,
            signature=signature,
            input_example=rows[:2],
            serialization_format="pt2",
            pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", "numpy"],
            **described,
        )


def _announce(name: str, run_id: str | None) -> dict[str, Any]:
    """Make the logged model that the folder will become; nothing without a run."""
    if run_id is None:
        return {}
    from mlflow import MlflowClient

    client = MlflowClient()
    run = client.get_run(run_id)
    made = client.create_logged_model(run.info.experiment_id, name, run_id, params=run.data.params)
    return {"artifact_path": made.artifact_location, "model_id": made.model_id, "model_uuid": made.model_id}


def _log(folder: Path, run_id: str, model_id: str) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    client = MlflowClient()
    client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
    client.log_model_artifacts(model_id, str(folder))
    client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    client.set_tag(run_id, "dure.model_id", model_id)


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label

"""A trained module as an MLflow model without pickle: graph and weights by torch.export (`data/model.pt2`)."""

from __future__ import annotations

import copy
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dure.sdk_errors import NotSavable, NotTracked

METADATA = "dure_classes"
"""Where the model's own file (MLmodel, under `metadata`) keeps the classes."""


def save(
    module: Any, example: Any, folder: Path, *, classes: Sequence[Any] | None, name: str, run_id: str | None
) -> Path:
    """Write the model to `folder`; with a run, log it there too. The first dimension is the batch, of any size.

    Raises `NotSavable` for what could not be served, and leaves an earlier model as it was; `NotTracked` where the
    folder is complete and MLflow did not take it.
    """
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.types import Schema, TensorSpec

    module = copy.deepcopy(unwrapped(module)).cpu().eval()
    rows = _rows(example, module)
    out = _tried(module, rows)
    if classes is not None and (out.ndim != 2 or out.shape[1] != len(classes)):
        raise _not(
            f"{len(classes)} classes need an output of shape (rows, {len(classes)}), not {out.shape}",
            f"클래스 {len(classes)}개에는 (행, {len(classes)}) 모양의 출력이 필요하지만 {out.shape}입니다",
        )
    signature = ModelSignature(
        inputs=Schema([TensorSpec(rows.dtype, (-1, *rows.shape[1:]))]),
        outputs=Schema([TensorSpec(out.dtype, (-1, *out.shape[1:]))]),
    )
    described = {"metadata": {METADATA: [_plain(label) for label in classes]}} if classes is not None else {}
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    mlflow_model = Model()
    try:
        _write(module, rows, fresh, mlflow_model, signature, described)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.replace(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    if run_id is not None:
        _track(folder, mlflow_model, name, run_id)
    return folder


def unwrapped(module: Any) -> Any:
    """The module as its writer made it, without what DistributedDataParallel and torch.compile put around it."""
    from torch._dynamo import OptimizedModule
    from torch.nn.parallel import DistributedDataParallel

    while isinstance(module, DistributedDataParallel | OptimizedModule):
        module = module.module if isinstance(module, DistributedDataParallel) else module._orig_mod
    return module


def _rows(example: Any, module: Any) -> Any:
    """The example as an array of at least two rows, floating ones in the module's own floating type."""
    import numpy
    import torch

    several = isinstance(example, tuple) and any(hasattr(part, "shape") for part in example)
    if isinstance(example, Mapping) or several:
        kind = type(example).__name__
        raise _not(
            f"example_input is a {kind}, and a served model takes one array of rows",
            f"example_input이 {kind}입니다. 서비스되는 모델은 행의 배열 하나만 받습니다",
        )
    if isinstance(example, torch.Tensor):
        plain = example.detach().cpu()
        example = (plain.float() if plain.dtype is torch.bfloat16 else plain).numpy()
    try:
        array = numpy.array(example)  # a copy: torch must not write into what others read
    except ValueError as error:
        raise _not(
            "the rows of example_input differ in length", "example_input의 행 길이가 서로 다릅니다"
        ) from error
    if array.dtype.kind not in "iufb":
        raise _not(
            f"example_input holds {array.dtype}, and rows are numbers",
            f"example_input에 {array.dtype} 값이 있습니다. 행은 수로 이루어져야 합니다",
        )
    if array.ndim == 0 or len(array) == 0:
        raise _not(
            "example_input must be a batch: at least one row", "example_input은 행이 하나 이상인 배치여야 합니다"
        )
    wanted = next((p.dtype for p in (*module.parameters(), *module.buffers()) if p.dtype.is_floating_point), None)
    if array.dtype.kind == "f" and wanted is not None:
        if wanted not in (torch.float16, torch.float32, torch.float64):
            raise _not(
                f"its weights are {wanted}, which rows of JSON cannot be; save model.float()",
                f"가중치가 {wanted}이라 JSON의 행으로 보낼 수 없습니다. model.float()를 저장하세요",
            )
        array = array.astype(str(wanted).removeprefix("torch."))
    # A batch of one would be exported as always one.
    return numpy.concatenate([array, array]) if len(array) == 1 else array


def _tried(module: Any, rows: Any) -> Any:
    """What the module gives for these rows, once it is clear that a server could give it."""
    import torch

    for some in (rows[:1], rows):
        try:
            with torch.no_grad():
                out = module(torch.from_numpy(some))
        except Exception as error:
            said = _first_line(error)
            raise _not(
                f"it fails on example_input, {rows.dtype} of shape {some.shape}: {said}",
                f"example_input({rows.dtype}, {some.shape})에서 오류가 납니다: {said}",
            ) from error
        if not isinstance(out, torch.Tensor):
            kind = type(out).__name__
            raise _not(
                f"forward() gives a {kind}, not one tensor", f"forward()가 텐서 하나가 아니라 {kind}을 돌려줍니다"
            )
        if out.ndim == 0 or len(out) != len(some):
            shape = (*out.shape,)
            raise _not(
                f"{len(some)} rows give an output of shape {shape}, which has no entry for each row",
                f"{len(some)}개 행의 출력 모양이 {shape}이라 행마다 항목이 하나씩 있지 않습니다",
            )
        if out.dtype is torch.bfloat16 or out.is_complex():
            raise _not(
                f"its outputs are {out.dtype}, which JSON cannot hold; return output.float()",
                f"출력이 {out.dtype}이라 JSON에 담을 수 없습니다. output.float()를 돌려주세요",
            )
    return out.numpy()


def _write(
    module: Any, rows: Any, folder: Path, mlflow_model: Any, signature: Any, described: dict[str, Any]
) -> None:
    import mlflow.pytorch
    import torch

    try:
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
    except OSError:
        raise  # a full disk, which is not the model's fault
    except Exception as error:
        said = _first_line(error)
        raise _not(
            f"torch.export cannot make a graph of it: {said}", f"torch.export로 그래프를 만들 수 없습니다: {said}"
        ) from error


def _track(folder: Path, mlflow_model: Any, name: str, run_id: str) -> None:
    """Log the folder, which is complete, as a model of the run; its MLmodel then says which one it became."""
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient()
        run = client.get_run(run_id)
        made = client.create_logged_model(run.info.experiment_id, name, run_id, params=run.data.params)
        mlflow_model.run_id, mlflow_model.artifact_path = run_id, made.artifact_location
        mlflow_model.model_id = mlflow_model.model_uuid = made.model_id
        mlflow_model.save(str(folder / "MLmodel"))
        client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step=0)])
        client.log_model_artifacts(made.model_id, str(folder))
        client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
        client.set_tag(run_id, "dure.model_id", made.model_id)
    except (MlflowException, OSError) as error:
        raise NotTracked(folder=str(folder), why=_first_line(error)) from error


def _not(en: str, ko: str) -> NotSavable:
    return NotSavable(why={"en": en, "ko": ko})


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label

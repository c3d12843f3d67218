"""What can be saved and served, and the sentences for what cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from dure.sdk_errors import NotSavable, NotTracked

pytest.importorskip("torch", reason="needs torch (DURE_TORCH=none left it out)")

import torch

from dure.saving import save, unwrapped
from dure.serving import Model


def linear(**options: Any) -> Any:
    """Two numbers in, two out."""
    return torch.nn.Linear(2, 2, **options)


def giving(change: Callable[[Any], Any]) -> Any:
    """A model whose output is changed like this."""

    class Changed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear()

        def forward(self, rows: Any) -> Any:
            return change(self.inner(rows))

    return Changed()


def kept(module: Any, example: Any, folder: Path, run_id: str | None = None) -> Path:
    """Save it in `folder`."""
    return save(module, example, folder / "model", classes=None, name="model", run_id=run_id)


class Holder(torch.nn.Module):
    """A user's class whose attribute happens to be called as DistributedDataParallel's is."""

    def __init__(self) -> None:
        super().__init__()
        self.module = linear()

    def forward(self, rows: Any) -> Any:
        return self.module(rows) + 1000


def test_an_attribute_called_module_is_the_models_own(tmp_path: Path) -> None:
    model = Model(kept(Holder(), torch.ones(2, 2), tmp_path), "m", "1")
    assert all(value > 900 for value in model.predict([[1.0, 1.0]])[0])


def test_what_torch_compile_put_around_a_model_is_taken_off(tmp_path: Path) -> None:
    model = Holder()
    assert unwrapped(torch.compile(model)) is model
    assert kept(torch.compile(model), torch.ones(2, 2), tmp_path).exists()


@pytest.mark.parametrize(
    ("module", "example", "dtype"),
    [
        (linear(), numpy.ones((2, 2)), "float32"),
        (linear(), torch.ones(2, 2, dtype=torch.bfloat16), "float32"),
        (linear(dtype=torch.float64), [[1.0, 2.0]], "float64"),
        (linear(dtype=torch.float16), numpy.ones((1, 2), dtype="float32"), "float16"),
        (torch.nn.Embedding(4, 2), numpy.ones((2, 3), dtype="int64"), "int64"),
    ],
)
def test_a_floating_example_is_taken_as_the_models_own_type(
    module: Any, example: Any, dtype: str, tmp_path: Path
) -> None:
    model = Model(kept(module, example, tmp_path), "m", "1")
    assert model.dtype == dtype
    assert len(model.predict([[1, 2, 3][: model.shape[0]]])) == 1


@pytest.mark.parametrize(
    ("module", "example", "why"),
    [
        (linear(dtype=torch.bfloat16), torch.ones(2, 2), r"bfloat16.*model\.float\(\)"),
        (linear(), (torch.ones(2, 2), torch.ones(2, 2)), "is a tuple"),
        (linear(), {"rows": torch.ones(2, 2)}, "is a dict"),
        (linear(), torch.ones(2, 3), r"fails on example_input, float32 of shape \(1, 3\)"),
        (linear(), numpy.ones((2, 2), dtype="int64"), "fails on example_input, int64"),
        (linear(), numpy.array([["a", "b"]]), "rows are numbers"),
        (linear(), [[1.0, 2.0], [1.0]], "differ in length"),
        (linear(), numpy.ones((0, 2)), "at least one row"),
        (giving(lambda out: (out, out)), torch.ones(2, 2), "gives a tuple"),
        (giving(lambda out: {"logits": out}), torch.ones(2, 2), "gives a dict"),
        (giving(lambda out: out.mean()), torch.ones(2, 2), "no entry for each row"),
        (giving(lambda out: out[:, 0].squeeze()), torch.ones(2, 2), "no entry for each row"),
        (giving(lambda out: out.bfloat16()), torch.ones(2, 2), r"output\.float\(\)"),
        (giving(lambda out: out if out.sum().item() > 0 else -out), torch.ones(2, 2), "torch.export cannot"),
    ],
)
def test_what_could_not_be_served_is_refused_with_a_sentence(
    module: Any, example: Any, why: str, tmp_path: Path
) -> None:
    with pytest.raises(NotSavable, match=why) as problem:
        kept(module, example, tmp_path)
    assert "저장할 수 없습니다" in problem.value.text("ko")
    assert "forward()" in problem.value.advice()


def test_a_tracking_server_that_is_away_costs_no_local_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(NotTracked, match="model"):
        kept(linear(), torch.ones(2, 2), tmp_path, run_id="0" * 32)
    assert len(Model(tmp_path / "model", "m", "1").predict([[1.0, 2.0]])) == 1


def test_a_model_that_cannot_be_exported_leaves_the_earlier_one(tmp_path: Path) -> None:
    kept(linear(), torch.ones(2, 2), tmp_path)
    with pytest.raises(NotSavable):
        kept(giving(lambda out: out if out.sum() > 0 else out + 1), torch.ones(2, 2), tmp_path)
    assert len(Model(tmp_path / "model", "m", "1").predict([[1.0, 1.0]])) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]

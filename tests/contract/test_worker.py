"""A training job as it really runs: torchrun, two ranks, real digits, a real MLflow, and the model it leaves."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.contract.digits import CODE, held_out, make_job, model_server, torchrun, tracking, until

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow."""
    with tracking(tmp_path_factory.mktemp("mlflow") / "server") as url:
        yield url


def call(url: str, path: str, **body: Any) -> Any:
    """MLflow's REST API."""
    answer = httpx.post(f"{url}/api/2.0/mlflow/{path}", json=body, timeout=30)
    assert answer.is_success, answer.text
    return answer.json()


def new_run(url: str) -> str:
    """A run as the portal makes one before the job starts."""
    return str(call(url, "runs/create", experiment_id="0", run_name="digits")["run"]["info"]["run_id"])


@pytest.fixture(scope="module")
def trained(mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and MLflow run of a digits job that ran on two ranks."""
    folder = tmp_path_factory.mktemp("job") / "digits"
    run_id = new_run(mlflow_url)
    environment = make_job(folder, CODE, "train.py:train", {"epochs": 20}, processes=2)
    process = torchrun(folder, environment | {"MLFLOW_TRACKING_URI": mlflow_url, "MLFLOW_RUN_ID": run_id}, 2)
    assert process.wait(timeout=240) == 0, (folder / "log").read_text()
    return folder, run_id


def test_two_ranks_train_and_say_where(trained: tuple[Path, str]) -> None:
    log = (trained[0] / "log").read_text()
    assert "Training on CPU, 2 processes (gloo)" in log
    assert "rank 0: accuracy" in log
    assert "rank 1: accuracy" in log
    assert "dure_test-token" not in log


def test_metrics_and_parameters_are_in_mlflow(trained: tuple[Path, str], mlflow_url: str) -> None:
    run = httpx.get(f"{mlflow_url}/api/2.0/mlflow/runs/get", params={"run_id": trained[1]}).json()["run"]
    metrics = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
    assert metrics["accuracy"] >= 0.95
    assert {"key": "epochs", "value": "20"} in run["data"]["params"]
    query = {"run_id": trained[1], "metric_key": "loss"}
    history = httpx.get(f"{mlflow_url}/api/2.0/mlflow/metrics/get-history", params=query).json()["metrics"]
    assert sorted(int(metric["step"]) for metric in history) == list(range(20))
    assert run["info"]["status"] == "RUNNING", "the portal ends the run, not the job"


def test_the_model_is_logged_to_its_run(trained: tuple[Path, str], mlflow_url: str) -> None:
    run = httpx.get(f"{mlflow_url}/api/2.0/mlflow/runs/get", params={"run_id": trained[1]}).json()["run"]
    (output,) = run["outputs"]["model_outputs"]
    found = httpx.get(f"{mlflow_url}/api/2.0/mlflow/logged-models/{output['model_id']}").json()["model"]
    assert found["info"]["status"] == "LOGGED_MODEL_READY"
    assert found["info"]["source_run_id"] == trained[1]
    assert {"key": "dure.model_id", "value": output["model_id"]} in run["data"]["tags"]
    kept = yaml.safe_load((trained[0] / "outputs" / "model" / "MLmodel").read_text())
    assert (kept["model_id"], kept["run_id"]) == (output["model_id"], trained[1])
    assert kept["artifact_path"] == found["info"]["artifact_uri"]


def test_what_mlflow_has_is_served_and_right(trained: tuple[Path, str], mlflow_url: str, tmp_path: Path) -> None:
    run = httpx.get(f"{mlflow_url}/api/2.0/mlflow/runs/get", params={"run_id": trained[1]}).json()["run"]
    folder = download(mlflow_url, run["outputs"]["model_outputs"][0]["model_id"], tmp_path / "model")
    rows, labels = held_out()
    with model_server(folder, tmp_path / "log") as (url, _):
        answer = httpx.post(f"{url}/invocations", json={"inputs": rows}, timeout=30)
    assert answer.headers["x-dure-model-version"] == "3"
    right = sum(said == label for said, label in zip(answer.json()["predictions"], labels, strict=True))
    assert right / len(labels) >= 0.95


def download(url: str, model_id: str, target: Path) -> Path:
    """A logged model's folder over MLflow's REST API alone."""
    base = f"{url}/api/2.0/mlflow/logged-models/{model_id}/artifacts"

    def take(path: str) -> None:
        listed = httpx.get(f"{base}/directories", params={"artifact_directory_path": path}).json()
        for entry in listed.get("files", []):
            if entry.get("is_dir"):
                take(entry["path"])
                continue
            file = target / entry["path"]
            file.parent.mkdir(parents=True, exist_ok=True)
            got = httpx.get(
                f"{url}/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files",
                params={"artifact_file_path": entry["path"]},
            )
            assert got.is_success, got.text
            file.write_bytes(got.content)

    take("")
    return target


def test_tracking_that_is_away_does_not_stop_training(tmp_path: Path) -> None:
    code = "def go(ctx):\n    for step in range(3):\n        ctx.log(step=step, loss=1.0 / (step + 1))\n"
    environment = make_job(tmp_path / "job", code, "go.py:go", {}, processes=1)
    environment |= {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_RUN_ID": "0" * 32}
    process = torchrun(tmp_path / "job", environment, 1)
    log = tmp_path / "job" / "log"
    assert process.wait(timeout=120) == 0, log.read_text()
    kept = (tmp_path / "job" / "outputs" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in kept] == [0, 1, 2]
    assert "metrics that were not sent are kept in" in log.read_text()


def test_a_file_gets_words_and_keeps_its_traceback(tmp_path: Path) -> None:
    code = "import sys\nprint(sys.argv[1:], __name__)\nraise ValueError('no such column: petal')\n"
    parameters = {"lr": 0.5, "deep": True, "note": None}
    environment = make_job(tmp_path / "job", code, "train.py", parameters, processes=1)
    assert torchrun(tmp_path / "job", environment, 1).wait(timeout=120) != 0
    log = (tmp_path / "job" / "log").read_text()
    assert "['--lr', '0.5', '--deep', 'true'] __main__" in log
    assert "ValueError: no such column: petal" in log


ALONE = """
def go(ctx):
    import torch
    model = ctx.wrap(torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 1)))
    model(torch.randn(8, 2)).sum().backward()
    if ctx.is_main:
        model.eval()
        with torch.no_grad():
            print("alone", tuple(model(torch.randn(3, 2)).shape), flush=True)
    ctx.should_stop()
    ctx.save_model(model, torch.ones(2, 2))
"""


def test_rank_0_may_evaluate_alone_where_the_model_has_buffers(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    process = torchrun(folder, make_job(folder, ALONE, "go.py:go", {}, processes=2), 2)
    assert process.wait(timeout=120) == 0, (folder / "log").read_text()
    assert "alone (3, 1)" in (folder / "log").read_text()
    assert (folder / "outputs" / "model" / "MLmodel").exists()


STOPPABLE = """
import time
def go(ctx):
    import torch
    ctx.save_checkpoint({"step": 0, "weights": torch.ones(2)})
    step = 0
    while not ctx.should_stop():
        step += 1
        if step == 1:
            print("stepping", flush=True)
        time.sleep(0.01)
    ctx.save_checkpoint({"step": step, "weights": torch.ones(2)})
    print("saved", ctx.load_checkpoint()["step"] == step, flush=True)
"""


def test_a_stop_is_agreed_by_all_ranks_and_leaves_a_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    process = torchrun(folder, make_job(folder, STOPPABLE, "go.py:go", {}, processes=2), 2)
    log = folder / "log"
    until(lambda: log.read_text().count("stepping") == 2, "both ranks to step", timeout=120)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=40)
    assert "saved True" in log.read_text()
    assert [file.name for file in (folder / "outputs" / "checkpoints").iterdir()] == ["latest.pt"]


def test_code_that_never_looks_is_stopped_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    code = "import time\nprint('stepping', flush=True)\nwhile True:\n    time.sleep(0.05)\n"
    process = torchrun(folder, make_job(folder, code, "go.py", {}, processes=1), 1)
    until(lambda: "stepping" in (folder / "log").read_text(), "the job to step", timeout=120)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=15)

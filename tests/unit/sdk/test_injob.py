"""What code in a job sees, and metrics that outlive a tracking server."""

from __future__ import annotations

import json
import signal
import warnings
from pathlib import Path
from typing import Any

import httpx
import pytest

from dure.injob import Context, from_job_file, watch_for_stop
from dure.tracking import Tracker
from dure.worker import arguments


class Tracking:
    """A tracking server that can be away."""

    def __init__(self) -> None:
        self.away = False
        self.status = 200
        self.metrics: list[dict[str, Any]] = []
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if self.away:
            raise httpx.ConnectError("refused")
        if self.status == 200:
            self.bodies.append(json.loads(request.content))
            self.metrics += json.loads(request.content).get("metrics", [])
        return httpx.Response(self.status, json={})

    def tracker(self, folder: Path) -> Tracker:
        """A tracker that sends here."""
        return Tracker(folder, "http://mlflow.test", "run1", transport=httpx.MockTransport(self), now=lambda: 1.5)


def test_metrics_are_sent_in_one_batch_with_steps(tmp_path: Path) -> None:
    server = Tracking()
    tracker = server.tracker(tmp_path)
    tracker.log(7, {"loss": 0.5, "accuracy": float("nan")})
    tracker.log(None, {"loss": float("-inf")})
    tracker.close()
    assert [(m["key"], m["value"], m["step"]) for m in server.metrics] == [
        ("loss", 0.5, 7),
        ("accuracy", "NaN", 7),
        ("loss", "-Infinity", 8),
    ]
    assert server.metrics[0]["timestamp"] == 1500


def test_what_could_not_be_sent_is_sent_later_and_once(tmp_path: Path) -> None:
    server = Tracking()
    server.away = True
    tracker = server.tracker(tmp_path)
    for step in range(1200):
        tracker.log(step, {"loss": step})
    assert not tracker.flush()
    server.away = False
    tracker.close()
    assert [m["step"] for m in server.metrics] == list(range(1200))
    after = server.tracker(tmp_path)  # the job's next attempt goes on where this one ended
    after.log(1200, {"loss": 1})
    after.close()
    assert [m["step"] for m in server.metrics] == list(range(1201))


def test_refused_metrics_do_not_block_those_that_follow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Tracking()
    server.status = 400
    tracker = server.tracker(tmp_path)
    tracker.log(0, {"loss": 1.0})
    tracker.close()
    assert "refused 1 metrics" in capsys.readouterr().err


def test_parameters_are_kept_until_they_are_sent_all_of_them_and_first(tmp_path: Path) -> None:
    server = Tracking()
    server.away = True
    tracker = server.tracker(tmp_path)
    tracker.parameters({f"p{number}": number for number in range(250)})
    tracker.log(0, {"loss": 1.0})
    assert not tracker.flush()
    server.away = False
    tracker.close()
    sent = [body["params"] for body in server.bodies if "params" in body]
    assert [len(some) for some in sent] == [100, 100, 50]
    assert [one for some in sent for one in some] == [{"key": f"p{n}", "value": str(n)} for n in range(250)]
    assert "metrics" in server.bodies[-1]


def test_parameters_alone_are_sent_too(tmp_path: Path) -> None:
    server = Tracking()
    tracker = server.tracker(tmp_path)
    tracker.parameters({"lr": 0.5})
    tracker.close()
    assert [body["params"] for body in server.bodies] == [[{"key": "lr", "value": "0.5"}]]


def test_outside_of_a_job_the_same_code_runs_as_one_rank(tmp_path: Path) -> None:
    alone = Context(outputs=tmp_path, tracker=Tracker(tmp_path, None, None))
    alone.log(step=0, loss=1)
    alone.close()
    assert alone.is_main
    assert alone.backend == "gloo"
    assert not alone.should_stop()
    assert (tmp_path / "metrics.jsonl").read_text().count("loss") == 1


def test_only_rank_0_logs(tmp_path: Path) -> None:
    other = Context(rank=1, world_size=2, outputs=tmp_path, tracker=Tracker(tmp_path, None, None))
    other.log(step=0, loss=1)
    assert not (tmp_path / "metrics.jsonl").exists()
    assert other.save_model(object(), []) is None


def test_a_job_file_becomes_a_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("dure_x\n")
    job = {"entry": "a.py", "parameters": {"lr": 1}, "outputs": str(tmp_path), "device": "cuda"}
    (tmp_path / "job.json").write_text(json.dumps(job | {"token_file": str(tmp_path / "token")}))
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1"), ("MLFLOW_TRACKING_TOKEN", "")):
        monkeypatch.setenv(name, value)
    made = from_job_file(tmp_path / "job.json")
    assert (made.rank, made.world_size, made.device, made.backend) == (3, 4, "cuda:1", "nccl")
    assert made.tracker is None
    import os

    assert os.environ["MLFLOW_TRACKING_TOKEN"] == "dure_x"


def test_a_stop_is_left_to_code_that_looks_and_forced_on_code_that_does_not() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        looks, never = Context(), Context()
        assert not looks.stopping
        watch_for_stop(looks)
        signal.raise_signal(signal.SIGTERM)
        assert looks.stopping
        watch_for_stop(never)
        with pytest.raises(SystemExit):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_parameters_become_words() -> None:
    assert arguments({"lr": 0.5, "deep": True, "none": None, "name": "a b"}) == [
        "--lr",
        "0.5",
        "--deep",
        "true",
        "--name",
        "a b",
    ]


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path) -> None:
    import torch

    ours = Context(outputs=tmp_path)
    assert ours.load_checkpoint() is None
    ours.save_checkpoint({"epoch": 3, "weights": {"a": torch.ones(2)}})
    found = ours.load_checkpoint()
    assert found is not None
    assert found["epoch"] == 3
    assert torch.equal(found["weights"]["a"], torch.ones(2))


def test_wrapping_a_model_for_several_ranks_warns_of_nothing(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs torch (DURE_TORCH=none left it out)")
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            wrapped = Context(world_size=2).wrap(
                torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 1))
            )
        assert wrapped.broadcast_buffers is False
    finally:
        torch.distributed.destroy_process_group()

"""Real training of handwritten digits, and the processes around it, for the tests of worker and model server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

CODE = '''
"""The tutorial's training, as a file."""
import dure


def train(ctx, epochs=25, hidden=64, lr=0.01):
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from torch import nn
    from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    x, x_test, y, y_test = train_test_split(
        torch.tensor(digits.data, dtype=torch.float32), torch.tensor(digits.target), test_size=0.25, random_state=0
    )
    model = nn.Sequential(nn.BatchNorm1d(64), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
    model = ctx.wrap(model)
    data = TensorDataset(x, y)
    sampler = DistributedSampler(data, ctx.world_size, ctx.rank)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    for epoch in range(epochs):
        model.train()
        sampler.set_epoch(epoch)
        for rows, labels in DataLoader(data, batch_size=64, sampler=sampler):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(rows.to(ctx.device)), labels.to(ctx.device))
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = (model(x_test.to(ctx.device)).argmax(1).cpu() == y_test).float().mean()
        ctx.log(step=epoch, loss=loss, accuracy=right)
    print(f"rank {ctx.rank}: accuracy {right:.3f}")
    ctx.save_model(model, x_test[:2], classes=[int(name) for name in digits.target_names])
'''


def held_out() -> tuple[list[list[float]], list[int]]:
    """The rows and labels that `CODE` did not train on."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    _, rows, _, labels = train_test_split(digits.data, digits.target, test_size=0.25, random_state=0)
    return rows.tolist(), labels.tolist()


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(look: Callable[[], Any], what: str, timeout: float = 60) -> Any:
    """Poll until something truthy comes; fail with `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout:.0f} s: {what}")
        time.sleep(0.05)
    return found


@contextmanager
def running(command: list[str], log: Path, ready: str, timeout: float = 200) -> Iterator[subprocess.Popen[bytes]]:
    """A process that answers 200 at `ready`; ended by its own pid. Fails with its log."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)

    def answers() -> bool:
        if process.poll() is not None:
            pytest.fail(f"{command[2]} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        try:
            return httpx.get(ready, timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(answers, f"{ready} to answer", timeout)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def tracking(folder: Path) -> Iterator[str]:
    """A real MLflow on a free loopback port, without login."""
    url = f"http://127.0.0.1:{free_port()}"
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", url.rsplit(":", 1)[1]]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'db.sqlite'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    with running(command, folder / "log", f"{url}/health", timeout=200):
        yield url


@contextmanager
def model_server(folder: Path, log: Path, version: str = "3") -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A real model server of this folder; its address and process."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "dure.server", "--model", str(folder), "--port", url.rsplit(":", 1)[1]]
    with running([*command, "--name", "digits", "--version", version], log, f"{url}/ready") as process:
        yield url, process


def make_job(folder: Path, code: str, entry: str, parameters: Mapping[str, Any], processes: int) -> dict[str, str]:
    """A job's folders and file as the backend writes them; what its processes need in their environment."""
    (folder / "code").mkdir(parents=True)
    (folder / "outputs").mkdir()
    (folder / "code" / entry.split(":")[0]).write_text(code)
    (folder / "token").write_text("dure_test-token\n")
    job: dict[str, Any] = {"entry": entry, "parameters": dict(parameters), "outputs": str(folder / "outputs")}
    job |= {"token_file": str(folder / "token"), "device": "cpu", "processes": processes}
    (folder / "job.json").write_text(json.dumps(job))
    return {**os.environ, "DURE_JOB_FILE": str(folder / "job.json")}


def torchrun(folder: Path, environment: Mapping[str, str], processes: int) -> subprocess.Popen[str]:
    """Start the job as the backend does; its output goes to `<folder>/log`."""
    command = [sys.executable, "-m", "dure.launch", "--standalone", "--nnodes=1"]
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [*command, f"--nproc-per-node={processes}", "-m", "dure.worker"],
            cwd=folder / "code",
            env=dict(environment),
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )

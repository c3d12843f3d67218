"""A real MLflow server for tests: one process on a socket, and what a training process says to it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from dure_hub.mlflowapi import PREFIX
from dure_hub.settings import Settings


def mlflow_settings(data: Path) -> Settings:
    """A data folder as `up` leaves it, as far as MLflow reads it."""
    made = Settings.model_validate({"data": data, "instance": "0123456789ab"})
    made.folder.create()
    key = made.folder.secrets / "mlflow-flask-key"
    key.write_text(secrets.token_hex(32))
    key.chmod(0o600)
    made.save()
    return made


@contextmanager
def running_mlflow(settings: Settings) -> Iterator[Settings]:
    """MLflow in its own process, for as long as the context lasts."""
    log = settings.folder.log / "mlflow.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "dure_hub.supervisor.mlflow_server"],
            env={**os.environ, "DURE_DATA": str(settings.data)},
            stdout=out,
            stderr=out,
        )
    try:
        wait_until_up(settings, process, log)
        yield settings
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_up(settings: Settings, process: subprocess.Popen[bytes], log: Path) -> None:
    """Poll its health check; fail with its log."""
    deadline = time.monotonic() + 120
    with raw(settings, "nobody") as client:
        while time.monotonic() < deadline and process.poll() is None:
            if not (
                settings.folder.run / "mlflow.sock"
            ).exists():  # each try would leave a socket for the collector
                time.sleep(0.2)
                continue
            try:
                if client.get(f"{PREFIX}/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.2)
    pytest.fail(f"MLflow did not come up (exit {process.poll()}):\n{log.read_text()[-2000:]}")


def raw(settings: Settings, user: str) -> httpx.Client:
    """A plain client, for what a training process does and our client does not."""
    transport = httpx.HTTPTransport(uds=str(settings.folder.run / "mlflow.sock"))
    headers = {"x-dure-user": user, "x-dure-admin": "0"}
    return httpx.Client(transport=transport, base_url="http://localhost", headers=headers, timeout=30)


def save_model(settings: Settings, user: str, experiment: str, run_id: str, files: dict[str, bytes]) -> str:
    """What `log_model` does over the wire, in four requests; the id of the logged model."""

    def ok(answer: httpx.Response) -> Any:
        assert answer.status_code == 200, answer.text
        return answer.json()

    with raw(settings, user) as client:
        body = {"experiment_id": experiment, "name": "model", "source_run_id": run_id}
        info = ok(client.post(f"{PREFIX}/api/2.0/mlflow/logged-models", json=body))["model"]["info"]
        root = info["artifact_uri"].removeprefix("mlflow-artifacts:/")
        for name, content in files.items():
            ok(client.put(f"{PREFIX}/api/2.0/mlflow-artifacts/artifacts/{root}/{name}", content=content))
        model_id = str(info["model_id"])
        outputs = {"run_id": run_id, "models": [{"model_id": model_id, "step": 0}]}
        ok(client.post(f"{PREFIX}/api/2.0/mlflow/runs/outputs", json=outputs))
        done = {"model_id": model_id, "status": "LOGGED_MODEL_READY"}
        ok(client.patch(f"{PREFIX}/api/2.0/mlflow/logged-models/{model_id}", json=done))
    return model_id

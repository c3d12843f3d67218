"""Who may do what in MLflow: our authorisation function inside the real server."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from dure_hub.mlflowapi import PREFIX
from dure_hub.settings import Settings
from tests.support.mlflow import mlflow_settings, raw, running_mlflow

# httpcore 1.0 leaves the socket of a refused Unix connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)
API = f"{PREFIX}/api/2.0/mlflow"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A real MLflow server in its own process."""
    with running_mlflow(mlflow_settings(tmp_path_factory.mktemp("m"))) as settings:
        yield settings


def ask(
    server: Settings, user: str, method: str, path: str, *, admin: bool = False, **body: Any
) -> httpx.Response:
    """One request as `user`; as nobody if empty."""
    with raw(server, user) as client:
        client.headers["x-dure-admin"] = "1" if admin else "0"
        if not user:
            del client.headers["x-dure-user"]
        return client.request(method, path, json=body or None)


@pytest.fixture(scope="module")
def bens_run(server: Settings) -> str:
    """A run in an experiment of ben's."""
    experiment = ask(server, "ben", "POST", f"{API}/experiments/create", name="ben/first").json()["experiment_id"]
    made = ask(server, "ben", "POST", f"{API}/runs/create", experiment_id=experiment)
    return str(made.json()["run"]["info"]["run_id"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{PREFIX}/"),
        ("GET", f"{API}/registered-models/search"),
        ("POST", f"{API}/runs/create"),
        ("GET", f"{API}/users/current"),
        ("GET", f"{PREFIX}/ajax-api/2.0/mlflow/experiments/search?max_results=1"),
        ("POST", f"{PREFIX}/graphql"),
        ("PUT", f"{PREFIX}/api/2.0/mlflow-artifacts/artifacts/1/x"),
        ("POST", f"{PREFIX}/v1/traces"),
        ("POST", f"{PREFIX}/ajax-api/3.0/jobs"),
        ("GET", f"{PREFIX}/gateway/anything/mlflow/invocations"),
    ],
)
def test_nobody_is_turned_away_everywhere(server: Settings, method: str, path: str) -> None:
    assert ask(server, "", method, path).status_code == 401


def test_a_forged_basic_login_is_nobody(server: Settings) -> None:
    with raw(server, "") as client:
        del client.headers["x-dure-user"]
        assert client.get(f"{API}/users/current", auth=("dure-portal", "x")).status_code == 401
        assert client.post(f"{PREFIX}/v1/traces", auth=("dure-portal", "x")).status_code == 401


def test_others_read_a_run_and_do_not_change_or_delete_it(server: Settings, bens_run: str) -> None:
    assert ask(server, "ana", "GET", f"{API}/runs/get?run_id={bens_run}").status_code == 200
    metric: dict[str, Any] = {"run_id": bens_run, "key": "loss", "value": 0.1, "timestamp": 1}
    assert ask(server, "ana", "POST", f"{API}/runs/log-metric", **metric).status_code == 403
    assert ask(server, "ana", "POST", f"{API}/runs/delete", run_id=bens_run).status_code == 403
    assert ask(server, "ben", "POST", f"{API}/runs/log-metric", **metric).status_code == 200


def test_others_do_not_write_a_runs_artifacts(server: Settings, bens_run: str) -> None:
    uri = ask(server, "ben", "GET", f"{API}/runs/get?run_id={bens_run}").json()["run"]["info"]["artifact_uri"]
    path = f"{PREFIX}/api/2.0/mlflow-artifacts/artifacts/{uri.removeprefix('mlflow-artifacts:/')}/note.txt"
    assert ask(server, "ana", "PUT", path).status_code == 403
    assert ask(server, "ben", "PUT", path).status_code == 200
    assert ask(server, "ana", "GET", path).status_code == 200
    assert ask(server, "", "GET", path).status_code == 401


def test_administrators_may_and_only_while_they_are(server: Settings, bens_run: str) -> None:
    tag: dict[str, Any] = {"run_id": bens_run, "key": "seen", "value": "yes"}
    assert ask(server, "carl", "POST", f"{API}/runs/set-tag", admin=True, **tag).status_code == 200
    assert ask(server, "carl", "POST", f"{API}/runs/set-tag", admin=False, **tag).status_code == 403


def test_the_maker_of_a_model_manages_it(server: Settings) -> None:
    assert ask(server, "ana", "POST", f"{API}/registered-models/create", name="anas").status_code == 200
    change: dict[str, Any] = {"name": "anas", "description": "mine"}
    assert ask(server, "ben", "GET", f"{API}/registered-models/get?name=anas").status_code == 200
    assert ask(server, "ben", "PATCH", f"{API}/registered-models/update", **change).status_code == 403
    assert ask(server, "ben", "DELETE", f"{API}/registered-models/delete", name="anas").status_code == 403
    assert ask(server, "ana", "PATCH", f"{API}/registered-models/update", **change).status_code == 200


def test_nobody_makes_administrators_but_the_portal(server: Settings) -> None:
    wish: dict[str, Any] = {"username": "ana", "is_admin": True}
    assert ask(server, "ana", "PATCH", f"{API}/users/update-admin", **wish).status_code == 403
    new: dict[str, Any] = {"username": "dora", "password": "a-long-password"}
    assert ask(server, "ana", "POST", f"{API}/users/create", **new).status_code == 403
    # Even where an administrator raises somebody there, the portal's word at the next request counts.
    assert ask(server, "carl", "PATCH", f"{API}/users/update-admin", admin=True, **wish).status_code == 200
    assert ask(server, "ana", "POST", f"{API}/users/create", **new).status_code == 403


def test_files_and_environment_hold_no_secret_for_others(server: Settings) -> None:
    for path in (server.folder.run / "mlflow.sock", server.folder.run / "mlflow-auth.ini"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    key = server.folder.secret("mlflow-flask-key")
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:  # it ended between the list and the look
            continue
        if "dure_hub.supervisor.mlflow_server" in command:
            environment = Path(f"/proc/{process.pid}/environ").read_bytes()
            assert key.encode() not in environment


def test_mlflow_asks_who_comes_below_every_path_that_the_portal_may_have() -> None:
    text = (
        "import json, sys\nfrom mlflow.server.auth import is_unprotected_route\n"
        "print(json.dumps([is_unprotected_route(path) for path in sys.argv[1:]]))"
    )
    delete = f"{API}/experiments/delete"
    refused = [f"{base}{delete}" for base in ("/health", "/healthcare", "/static-lab", "/favicon.ico")]
    taken = [Settings(base_url=base).at(delete) for base in ("/", "/dure/", "/lab/health/")]
    command = [sys.executable, "-W", "ignore", "-c", text, *refused, *taken]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert json.loads(done.stdout.splitlines()[-1]) == [True] * 4 + [False] * 3

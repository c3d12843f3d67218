"""Train, register, serve, try, promote, roll back: through the SDK, on a whole portal."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

import dure
from dure.wire import ModelVersion, Replica
from tests.contract.digits import CODE, held_out
from tests.e2e.portal import Portal, until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def ana(portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The SDK speaks for ana here; the answer is her working folder, with the code in it."""
    folder = tmp_path_factory.mktemp("ana")
    (folder / "train.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DURE_URL", portal.url)
        patch.setenv("DURE_TOKEN", portal.token("ana"))
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def versions(ana: Path) -> list[ModelVersion]:
    """Two versions of a model, from two jobs of two ranks each, trained one after the other."""
    made = []
    for name, epochs in (("e2e-short", 5), ("e2e-long", 25)):
        job = dure.train("train.py:train", name=name, processes=2, parameters={"epochs": epochs})
        job.wait(timeout=300)
        made.append(dure.models.register("e2e-digits", job))
    return made


@pytest.fixture
def endpoint(versions: list[ModelVersion], portal: Portal) -> Iterator[dure.endpoints.Endpoint]:
    """The first version, served; taken down at the end."""
    made = dure.endpoints.deploy("e2e-digits", "e2e-digits", versions[0].version)
    try:
        yield made.wait(timeout=120)
    finally:
        made.delete()
        until(lambda: not model_servers(portal), "every model server to be gone")


def trial(endpoint: dure.endpoints.Endpoint) -> Replica:
    """The version on trial, as it is now."""
    found = endpoint.status.canary
    assert found is not None
    return found


def model_servers(portal: Portal) -> list[int]:
    """Pids of the model servers of this portal for our model, without their keepers; others have theirs there."""
    found = []
    for process in portal.processes():
        try:
            words, kind = process.cmdline(), process.environ().get("DURE_KIND")
            if "dure.server" in words and "e2e-digits" in words and kind == "model":
                found.append(process.pid)
        except psutil.Error:  # it has just ended
            continue
    return found


class Load:
    """Requests one after another, from several threads, until it is told to stop."""

    def __init__(self, portal: Portal, endpoint: dure.endpoints.Endpoint) -> None:
        self.url = endpoint.address
        self.headers = {"Authorization": f"Bearer {os.environ['DURE_TOKEN']}"}
        self.row = {"inputs": held_out()[0][:1]}
        self.answers: Counter[tuple[int, str]] = Counter()
        self.faults: list[str] = []

    def ask(self, client: httpx.Client) -> None:
        """One request."""
        try:
            answer = client.post(self.url, json=self.row)
        except httpx.TransportError as error:
            self.faults.append(repr(error))
            return
        self.answers[answer.status_code, answer.headers.get("x-dure-model-version", "")] += 1
        if answer.status_code != 200:
            self.faults.append(f"{answer.status_code}: {answer.text[:200]}")

    def times(self, number: int) -> Counter[str]:
        """This many requests; how many each version answered."""
        self.answers.clear()
        with httpx.Client(headers=self.headers, timeout=30, trust_env=False) as client:
            for _ in range(number):
                self.ask(client)
        assert self.faults == []
        return Counter({version: count for (_, version), count in self.answers.items()})

    @contextmanager
    def running(self, threads: int = 3) -> Iterator[None]:
        """In the background, for as long as the context lasts."""
        ending = threading.Event()

        def work() -> None:
            with httpx.Client(headers=self.headers, timeout=30, trust_env=False) as client:
                while not ending.is_set():
                    self.ask(client)

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            ending.set()
            for worker in workers:
                worker.join()

    def next_from(self, version: int) -> None:
        """Wait until this version has answered once more."""
        key = (200, str(version))
        before = self.answers[key]
        until(lambda: self.answers[key] > before, f"an answer of version {version}", timeout=60)


def test_two_ranks_train_on_real_data_and_mlflow_has_it(versions: list[ModelVersion], portal: Portal) -> None:
    job = dure.training.job("e2e-long")
    log = job.logs()
    assert "2 processes (gloo)" in log
    assert "rank 1: accuracy" in log
    version = versions[1]
    assert version.metrics["accuracy"] > 0.9
    assert (version.tags["dure.job"], version.tags["dure.device"], version.owner) == ("e2e-long", "cpu", "ana")
    with httpx.Client(headers={"Authorization": f"Bearer {os.environ['DURE_TOKEN']}"}) as client:
        path = f"{portal.url}/services/mlflow/api/2.0/mlflow/runs/get?run_id={version.run_id}"
        run = client.get(path).json()["run"]
    assert run["info"]["status"] == "FINISHED"
    assert {"key": "epochs", "value": "25"} in run["data"]["params"]


def test_it_answers_rightly_and_only_with_a_token(endpoint: dure.endpoints.Endpoint, portal: Portal) -> None:
    rows, labels = held_out()
    said = endpoint.predict(rows)
    right = sum(a == b for a, b in zip(said, labels, strict=True)) / len(labels)
    assert right > 0.8
    with httpx.Client() as client:
        assert client.post(endpoint.address, json={"inputs": rows[:1]}).status_code == 401
        own = client.get(f"{portal.url}/serve/e2e-digits/ready")
        assert own.status_code == 401


def test_a_tenth_of_the_requests_goes_to_the_canary(
    endpoint: dure.endpoints.Endpoint, versions: list[ModelVersion], portal: Portal
) -> None:
    first, second = (str(version.version) for version in versions)
    endpoint.canary(versions[1].version, 10).wait(timeout=120)
    load = Load(portal, endpoint)
    until(lambda: load.times(10)[second] > 0, "the canary's first answer")
    before = trial(endpoint).requests or 0
    found = load.times(1000)
    assert found[first] + found[second] == 1000
    assert 70 <= found[second] <= 130
    tried, champion = trial(endpoint), endpoint.status.champion
    assert (tried.requests or 0) - before == found[second], "Envoy counted the same"
    assert champion is not None
    assert (tried.errors, champion.errors) == (0, 0)


def test_promote_and_rollback_under_load_lose_no_request(
    endpoint: dure.endpoints.Endpoint, versions: list[ModelVersion], portal: Portal
) -> None:
    first, second = (version.version for version in versions)
    load = Load(portal, endpoint)
    with load.running():
        load.next_from(first)
        endpoint.canary(second, 30).wait(timeout=120)
        load.next_from(second)
        endpoint.rollback()
        until(lambda: len(model_servers(portal)) == 1, "the canary to be gone")
        endpoint.canary(second, 30).wait(timeout=120)
        load.next_from(second)
        endpoint.promote()
        until(lambda: len(model_servers(portal)) == 1, "the old champion to be gone")
        load.next_from(second)
    assert load.faults == []
    assert set(load.answers) == {(200, str(first)), (200, str(second))}
    assert set(load.times(50)) == {str(second)}
    aliases = {v.version: v.aliases for v in dure.models.versions("e2e-digits")}
    assert aliases == {first: [], second: ["champion"]}


def test_a_killed_canary_costs_no_request_and_comes_back(
    endpoint: dure.endpoints.Endpoint, versions: list[ModelVersion], portal: Portal
) -> None:
    second = versions[1].version
    (champion,) = model_servers(portal)
    endpoint.canary(second, 50).wait(timeout=120)
    load = Load(portal, endpoint)
    with load.running():
        load.next_from(second)
        (canary,) = (pid for pid in model_servers(portal) if pid != champion)
        os.kill(canary, signal.SIGKILL)
        killed = time.monotonic()
        until(lambda: model_servers(portal) not in ([champion], []), "the canary to be started again")
        load.next_from(second)
    assert load.faults == [], f"{time.monotonic() - killed:.1f} s after the kill"
    assert trial(endpoint).phase == "ready"

"""`kill -9` of anything at any time: nothing orphaned, doubled or lost, and open notebooks keep their sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

import dure
from dure.training import Job
from dure.wire.ids import new_id
from tests.e2e.kernels import compute, kernel_socket
from tests.e2e.portal import Portal, is_lab, make_portal, mark_of, until, words_of
from tests.support.notebooks import notebook
from tests.support.zips import zipped

pytestmark = pytest.mark.timeout(400)
Running = tuple[Job, list[int], Path]
WHOLE = 30
"""Seconds until the portal must be whole again."""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal that may be broken, with a running server of ana's."""
    portal = make_portal(tmp_path_factory.mktemp("kill"))
    try:
        portal.up()
        portal.add_user("ana")
        yield portal
    finally:
        portal.down()


@pytest.fixture(scope="module")
def api(own: Portal) -> Iterator[httpx.Client]:
    """The API as ana."""
    with own.client("ana") as client:
        yield client


@pytest.fixture(scope="module")
def server(own: Portal, api: httpx.Client) -> psutil.Process:
    """Ana's running server."""
    answer = api.post("/environments", json={"id": new_id(), "name": "default", "profile": "cpu"})
    assert answer.status_code == 202, answer.text
    until(lambda: phase(api) == "running", "ana's server to run", timeout=90)
    return only_server(own)


STEPS = """
import argparse, pathlib, time
import dure

words = argparse.ArgumentParser()
words.add_argument("--until")
until, ctx, step = pathlib.Path(words.parse_args().until), dure.context(), 0
ctx.join()
while not until.exists():
    step += 1
    ctx.log(step=step, steps=step)
    time.sleep(0.2)
print("went through all of it", flush=True)
"""
"""A job that goes on, logging to MLflow, until a file is there."""


@pytest.fixture(scope="module")
def job(own: Portal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A job of two ranks that runs through every kill: itself, its ranks' pids, and the file that lets it end."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "steps.py").write_text(STEPS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DURE_URL", own.url)
        patch.setenv("DURE_TOKEN", own.token("ana"))
        patch.chdir(folder)
        made = dure.train("steps.py", name="steps", processes=2, parameters={"until": str(folder / "go")})
        until(lambda: made.state == "running" and len(ranks(own)) == 2, "two ranks to run", timeout=90)
        yield made, ranks(own), folder / "go"


def ranks(portal: Portal) -> list[int]:
    """Pids of the job's ranks."""
    return sorted(p.pid for p in portal.processes() if "dure.worker" in p.cmdline() and "RANK" in p.environ())


def phase(api: httpx.Client) -> str | None:
    """What the portal says of ana's server; None while it does not answer."""
    try:
        answer = api.get("/environments/default")
    except httpx.HTTPError:
        return None
    return str(answer.json()["phase"]) if answer.status_code == 200 else None


def only_server(portal: Portal) -> psutil.Process:
    """The one process that is a person's server; more than one would be a double."""
    found = [p for p in portal.processes() if (mark := mark_of(p)) and mark[1] == "server" and is_lab(p)]
    assert len(found) == 1, found
    return found[0]


def test_a_killed_hub_leaves_the_kernel_socket_open_and_knows_the_server_again(
    own: Portal, api: httpx.Client, server: psutil.Process
) -> None:
    with kernel_socket(own) as socket:
        compute(socket, "x = 41")
        hub = own.service("hub")
        hub.kill()
        assert compute(socket, "print(x + 1)").strip() == "42"
        until(lambda: whole(own), "the hub to be back", timeout=WHOLE)
        assert own.service("hub").pid != hub.pid
        assert compute(socket, "print(x + 2)").strip() == "43"
    until(lambda: phase(api) == "running", "the new hub to know the server")
    assert only_server(own) == server


@pytest.mark.parametrize("name", ["portal", "mlflow", "envoy"])
def test_a_killed_service_is_back_and_nothing_is_doubled(
    own: Portal, api: httpx.Client, server: psutil.Process, job: Running, name: str
) -> None:
    before = own.service(name)
    before.kill()
    until(lambda: own.pid(name) != before.pid and whole(own), f"{name} to be back", timeout=WHOLE)
    until(lambda: phase(api) == "running", "ana's server to be known")
    assert only_server(own) == server
    assert_one_of_each(own)
    assert ranks(own) == job[1]


def test_after_a_killed_supervisor_the_next_up_adopts_and_resumes(
    own: Portal, api: httpx.Client, server: psutil.Process, job: Running
) -> None:
    envoy = own.service("envoy")
    supervisor = own.service("supervisor")
    supervisor.kill()
    until(lambda: not supervisor.is_running() or supervisor.status() == psutil.STATUS_ZOMBIE, "it to be dead")
    own.up()
    until(lambda: whole(own) and phase(api) == "running", "the portal to be whole", timeout=WHOLE)
    assert own.service("envoy") == envoy
    assert only_server(own) == server
    assert_one_of_each(own)
    assert ranks(own) == job[1]


def test_a_killed_keeper_of_a_scheduled_notebook_costs_none_of_its_work_but_its_outcome(
    own: Portal, api: httpx.Client, tmp_path: Path
) -> None:
    go, done = tmp_path / "go", tmp_path / "done"
    code = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.1)\n"
    digest, content = zipped({"work.ipynb": notebook(f"{code}pathlib.Path({str(done)!r}).open('a').write('1')")})
    api.put(f"/snapshots/{digest}", content=content).raise_for_status()
    rare = {"id": new_id(), "name": "rare", "snapshot": digest, "notebook": "work.ipynb", "cron": "0 0 29 2 *"}
    api.post("/schedules", json=rare).raise_for_status()
    api.post("/schedules/rare/run", json={"id": new_id()}).raise_for_status()

    def execution() -> dict[str, Any]:
        (found,) = api.get("/schedules/rare/executions").raise_for_status().json()
        return dict(found)

    until(lambda: execution()["state"] == "running", lambda: f"it to run: {execution()}", timeout=90)
    until(lambda: len(of_executions(own)) > len(keepers(own)), "its keeper to have started it", timeout=60)
    (keeper,) = keepers(own)
    keeper.kill()
    psutil.wait_procs([keeper], timeout=20)
    assert of_executions(own), "the notebook goes on"
    go.touch()
    until(lambda: execution()["state"] in ("succeeded", "failed"), lambda: f"its end: {execution()}", timeout=90)
    assert done.read_text() == "1", "it went through, and once"
    said = execution()
    assert said["state"] == "failed", "its exit code is known to nobody now"
    assert "without a trace" in str(said["reason"]), said
    until(lambda: not of_executions(own), "nothing of it to be left")
    api.delete("/schedules/rare").raise_for_status()


def of_executions(portal: Portal) -> list[psutil.Process]:
    """What runs for scheduled notebooks, keepers too."""
    return [p for p in portal.processes() if (mark_of(p) or ("", ""))[1] == "execution"]


def keepers(portal: Portal) -> list[psutil.Process]:
    """Those of `of_executions` that look after another."""
    return [p for p in of_executions(portal) if "keeper.py" in " ".join(words_of(p))]


def test_the_job_went_through_all_of_it_once(own: Portal, job: Running) -> None:
    running, _, go = job
    go.touch()
    running.wait(timeout=90)
    assert running.logs().count("went through all of it") == 2, "each rank once"
    assert [attempt.state for attempt in running.attempts] == ["succeeded"]
    until(lambda: not ranks(own), "no rank to be left")
    steps = [step for step, _ in running.metrics("steps")]
    assert steps == [*range(1, steps[-1] + 1)], "no metric is lost or doubled"


def test_a_killed_server_is_seen_and_its_lease_ends(
    own: Portal, api: httpx.Client, server: psutil.Process
) -> None:
    server.kill()
    until(lambda: phase(api) in ("stopped", "failed"), "the portal to see it", timeout=60)
    assert api.get("/environments/default").json()["reason"]
    until(lambda: not [p for p in own.processes() if (mark_of(p) or ("", ""))[1] == "server"], "nothing left")


def whole(portal: Portal) -> bool:
    """Every part answers through the front port."""
    paths = ("/hub/api/", "/services/dure/health", "/api/v1/about")
    try:
        answers = [httpx.get(portal.url + path, timeout=2).status_code for path in paths]
        mlflow = httpx.get(f"{portal.url}/services/mlflow/version", timeout=2)
    except httpx.HTTPError:
        return False
    return answers == [200, 200, 200] and mlflow.status_code in (200, 401)


def assert_one_of_each(portal: Portal) -> None:
    """No service runs twice."""
    words = [" ".join(words_of(p)) for p in portal.processes() if mark_of(p) is None]
    for part in ("dure_hub.app", "jupyterhub_config.py", "envoy"):
        assert len([w for w in words if part in w]) == 1, (part, words)

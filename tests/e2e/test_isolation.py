"""Each person an operating-system user of their own, in a whole portal as root: what ana tries on ben fails.

Ana has a kernel, with which she tries what the machine lets her, and her token, with which she asks the portal.
Ben has a server with a kernel, a trained model, an endpoint and a schedule.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import dure
from dure.wire.ids import new_id
from dure_hub.isolation import confine
from dure_hub.isolation import ground as grounds
from tests.contract.digits import CODE, held_out
from tests.e2e.apart import REFUSALS, REFUSED, Someone, is_shut
from tests.e2e.portal import free_port, until
from tests.support.accounts import ApartPortal, ground, groups_left
from tests.support.notebooks import notebook
from tests.support.zips import zipped

pytestmark = pytest.mark.timeout(900)

SECRET = "bens-own-secret"
FILES = {"train.py": CODE, "work.ipynb": notebook("import os\nprint('I am', os.getuid())")}


@pytest.fixture(scope="module")
def portal() -> Iterator[ApartPortal]:
    """A portal that decides by itself that people have accounts here; nothing of them is left afterwards."""
    with ground() as made:
        started = ApartPortal(
            made.folder / "data",
            free_port(),
            {"DURE_LANGUAGE": "en", "DURE_SYSTEM_ACCOUNT_PREFIX": made.prefix, **made.environment},
            python=made.python,
        )
        try:
            started.up()
            for name in ("ana", "ben"):
                started.add_user(name)
            yield started
        finally:
            started.down()
        assert groups_left(str(started.settings["instance"])) == set()


@pytest.fixture(scope="module")
def ana(portal: ApartPortal) -> Iterator[Someone]:
    """She tries."""
    with portal.client("ana") as client:
        someone = Someone("ana", client, portal)
        someone.start()
        yield someone


@pytest.fixture(scope="module")
def ben(portal: ApartPortal) -> Iterator[Someone]:
    """He has something to hide."""
    with portal.client("ben") as client:
        someone = Someone("ben", client, portal)
        someone.start()
        someone.run(
            f"import os\nos.environ['HIDDEN'] = {SECRET!r}\nopen('diary', 'w').write({SECRET!r})\n"
            "open('/tmp/bens', 'w').write('x')"
        )
        yield someone


@pytest.fixture(scope="module")
def version(ben: Someone, portal: ApartPortal) -> Iterator[Any]:
    """A model that ben's job has trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DURE_URL", portal.url)
        patch.setenv("DURE_TOKEN", portal.token("ben"))
        folder = portal.data.parent / "code"
        folder.mkdir()
        (folder / "train.py").write_text(CODE)
        patch.chdir(folder)
        job = dure.train("train.py:train", name="bens-job", processes=1, parameters={"epochs": 3})
        job.wait(timeout=300)
        yield dure.models.register("bens-digits", job)


@pytest.fixture(scope="module")
def endpoint(version: Any, portal: ApartPortal) -> Iterator[Any]:
    """It, served."""
    made = dure.endpoints.deploy("bens", "bens-digits", version.version)
    yield made.wait(timeout=120)
    made.delete()


@pytest.fixture(scope="module")
def scheduled(ben: Someone) -> dict[str, Any]:
    """An execution of a schedule of ben's that has ended."""
    digest, content = zipped(FILES)
    assert ben.client.put(f"/snapshots/{digest}", content=content).status_code == 204
    asked = {"id": new_id(), "name": "bens", "snapshot": digest, "notebook": "work.ipynb", "cron": "0 0 29 2 *"}
    made = ben.client.post("/schedules", json=asked)
    assert made.status_code == 201, made.text
    assert ben.client.post("/schedules/bens/run", json={"id": new_id()}).status_code == 202

    def ended() -> dict[str, Any] | None:
        (one,) = ben.client.get("/schedules/bens/executions").json()
        return one if one["state"] in ("succeeded", "failed") else None

    found = until(ended, "ben's execution", timeout=120)
    assert found is not None
    return found


def test_it_is_on_by_itself_and_nobody_is_told_to_trust(portal: ApartPortal) -> None:
    assert portal.settings["system_accounts"] == "on"
    said = json.loads(portal.dure("doctor", "--json"))
    (isolation,) = [one for one in said["machine"] if one["topic"] == "isolation"]
    assert "user of their own" in isolation["text"]
    assert "user_isolation" not in [one["topic"] for one in said["limits"]]
    assert "one operating-system user" not in httpx.get(f"{portal.url}/hub/login").text


def test_both_run_as_users_of_their_own(ana: Someone, ben: Someone) -> None:
    assert ana.facts["uid"] == ana.user.pw_uid != ben.user.pw_uid == ben.facts["uid"]
    assert 0 not in (ana.facts["uid"], ben.facts["uid"])
    assert {path.stat().st_uid for path in (ben.home, ben.home / "tutorials", ben.home / "diary")} == {
        ben.user.pw_uid
    }
    assert (
        ana.run("print(open('tutorials/' + __import__('os').listdir('tutorials')[0]).read()[:1])").strip() == "{"
    )


def test_files(ana: Someone, ben: Someone) -> None:
    said = ana.tries(
        ("list", str(ben.home)),
        ("read", str(ben.home / "diary")),
        ("write", str(ben.home / "diary")),
        *((action, str(ben.home / "diary")) for action in ("link", "delete", "rename", "chmod")),
        ("write", str(ben.home / "from-ana")),
        ("chmod", str(ben.home)),
        ("read", f"/proc/{ben.facts['kernel']}/root{ben.home}/diary"),
        ("list", f"/proc/{ben.facts['kernel']}/cwd"),
        ("read", f"{confine.TMP}/bens"),
        ("list", str(ben.portal.data)),
        ("list", str(ben.portal.data / "secrets")),
        ("read", str(ben.portal.data / "db" / "portal.sqlite")),
    )
    assert [one for one in said if one not in REFUSED] == []
    assert ben.run("print(open('diary').read())").strip() == SECRET


def test_environments_of_processes(ana: Someone, ben: Someone) -> None:
    start = f"run = subprocess.Popen(['sleep', '600'], env={{'HIDDEN': {SECRET!r}}})"
    hidden = int(ben.run(f"import subprocess\n{start}\nprint(run.pid)"))
    assert SECRET in ben.tries(("read", f"/proc/{hidden}/environ"))[0]
    keepers = [psutil.Process(ben.facts["server"]).ppid()]
    services = [
        ana.portal.pid(name) for name in ("supervisor", "hub", "portal", "mlflow", "envoy", "voila", "warm")
    ]
    pids = [hidden, ben.facts["kernel"], ben.facts["server"], *keepers, *services]
    names = ("environ", "mem", "maps", "fd/0", "root/etc/hostname")
    attempts = [("read", f"/proc/{pid}/{name}") for pid in pids for name in names]
    attempts += [("list", f"/proc/{pid}/{name}") for pid in pids for name in ("fd", "cwd")]
    assert [one for one in ana.tries(*attempts) if one not in REFUSED] == []
    ben.run("run.kill(); run.wait()")


def test_tokens(ana: Someone, ben: Someone) -> None:
    run = ana.portal.data / "run" / "server" / ben.lease
    names = ("portal-token", "cookie-secret", "session-key")
    said = ana.tries(
        ("read", str(run / "spec.json")),
        *(("read", str(ana.portal.data / "secrets" / name)) for name in names),
        ("list", str(ana.portal.data / "given" / ben.lease)),
    )
    assert [one for one in said if one not in REFUSED] == []
    url = f"{ana.portal.url}/user/ben/api/contents/diary"
    assert httpx.get(url, headers=bearer(ben.token)).json()["content"] == SECRET, "it works for him"
    for token in (ana.token, ana.portal.token("ana")):
        for verb in ("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"):
            for path in ("user/ben/api/contents/diary", "user/ben/api/kernels", "user/ben/lab"):
                answer = httpx.request(verb, f"{ana.portal.url}/{path}", headers=bearer(token), timeout=60)
                assert is_shut(answer), (verb, path, answer.text)
        for verb, path in (
            ("GET", "hub/api/users/ben"),
            ("GET", "hub/api/users/ben/tokens"),
            ("POST", "hub/api/users/ben/tokens"),
            ("DELETE", "hub/api/users/ben/server"),
            ("GET", "api/v1/keys?owner=ben"),
            ("GET", "api/v1/environments/default?owner=ben"),
            ("DELETE", "api/v1/environments/default?owner=ben"),
            ("POST", "api/v1/environments/default/checkpoint?owner=ben"),
            ("GET", f"api/v1/leases/{ben.lease}/logs"),
        ):
            answer = httpx.request(verb, f"{ana.portal.url}/{path}", headers=bearer(token), timeout=60)
            assert answer.status_code in REFUSALS, (verb, path, answer.text)
            assert ben.token not in answer.text
    assert httpx.get(url, headers=bearer(ben.token)).json()["content"] == SECRET


def test_sockets(ana: Someone, ben: Someone) -> None:
    run = ana.portal.data / "run"
    sockets = [str(path) for path in run.rglob("*.sock")]
    assert str(run / "warm.sock") in sockets
    said = ana.tries(*(("connect", path) for path in sockets))
    assert [one for one in said if one not in REFUSED] == []
    file = ben.run("import ipykernel.connect as c; print(c.get_connection_file())").strip()
    assert "key" in ben.tries(("read", file))[0], "who has the key of a kernel's sockets runs code in it"
    ways = [file, f"/proc/{ben.facts['kernel']}/root{file}"]  # it may be in a /tmp of his own
    said = ana.tries(*((action, way) for way in ways for action in ("read", "link")))
    said += ana.tries(("write", ways[1]), ("delete", ways[1]), ("rename", ways[1]))
    assert [one for one in said if one not in REFUSED] == []
    for token in (ana.token, ana.portal.token("ana")):
        with pytest.raises(InvalidStatus) as refused, connect(ben.kernel, additional_headers=bearer(token)):
            pytest.fail("ana has a socket of ben's kernel")
        assert refused.value.response.status_code in REFUSALS
    if grounds.own_tmp():
        say = "import glob; print(len(glob.glob('/tmp/.jupyter/*-ipc-*')))"
        assert int(ben.run(say)) >= 5
        assert ana.tries(("list", f"/proc/{ben.facts['kernel']}/root/tmp")) == ["PermissionError"]


def test_signals(ana: Someone, ben: Someone) -> None:
    keepers = [psutil.Process(one.facts["server"]).ppid() for one in (ana, ben)]
    said = ana.tries(*(("signal", pid) for pid in (ben.facts["kernel"], ben.facts["server"], *keepers)))
    assert said == ["PermissionError"] * 4
    assert ben.run("print(1)").strip() == "1"


def test_mlflow_runs(ana: Someone, ben: Someone, version: Any, portal: ApartPortal) -> None:
    run = {"run_id": version.run_id}
    point = {"key": "loss", "value": 0, "timestamp": 1, "step": 1}
    model = {"name": version.name}
    with tracking(portal, "ana") as mlflow, tracking(portal, "ben") as his:
        found = his.get("/runs/get", params=run).raise_for_status().json()["run"]
        assert found["data"]["metrics"], "it has a metric"
        experiment = {"experiment_id": found["info"]["experiment_id"]}
        for verb, path, body in (
            ("POST", "/runs/set-tag", {**run, "key": "x", "value": "y"}),
            ("POST", "/runs/log-metric", {**run, **point}),
            ("POST", "/runs/log-parameter", {**run, "key": "x", "value": "y"}),
            ("POST", "/runs/log-batch", {**run, "metrics": [point], "params": [], "tags": []}),
            ("POST", "/runs/update", {**run, "status": "FAILED"}),
            ("POST", "/runs/delete", run),
            ("POST", "/runs/restore", run),
            ("POST", "/experiments/update", {**experiment, "new_name": "anas"}),
            ("POST", "/experiments/delete", experiment),
            ("POST", "/experiments/set-experiment-tag", {**experiment, "key": "x", "value": "y"}),
            ("PATCH", "/registered-models/update", {**model, "description": "anas"}),
            ("POST", "/registered-models/alias", {**model, "alias": "champion", "version": "1"}),
            ("DELETE", "/registered-models/delete", model),
            ("DELETE", "/model-versions/delete", {**model, "version": str(version.version)}),
        ):
            answer = mlflow.request(verb, path, json=body)
            assert answer.status_code == 403, (path, answer.text)
        stored = f"{portal.url}/services/mlflow/api/2.0/mlflow-artifacts/artifacts"
        place = f"{stored}/{experiment['experiment_id']}/{version.run_id}/artifacts/anas.txt"
        for verb in ("PUT", "DELETE"):
            answer = mlflow.request(verb, place, content=b"anas" if verb == "PUT" else None)
            assert answer.status_code in REFUSALS, (verb, answer.text)
        assert his.get("/runs/get", params=run).json()["run"] == found, "nothing of it has changed"
        his.post("/runs/set-tag", json={**run, "key": "mine", "value": "y"}).raise_for_status()
    artifacts = portal.data / "artifacts"
    assert ana.tries(("list", str(artifacts)), ("list", str(artifacts / "mlflow"))) == ["PermissionError"] * 2


def tracking(portal: ApartPortal, name: str) -> httpx.Client:
    """MLflow's API as this person."""
    url = f"{portal.url}/services/mlflow/api/2.0/mlflow"
    return httpx.Client(base_url=url, headers=bearer(portal.token(name)), timeout=60)


def test_endpoints(ana: Someone, ben: Someone, version: Any, endpoint: Any, portal: ApartPortal) -> None:
    rows, _ = held_out()
    assert len(endpoint.predict(rows[:2])) == 2
    (server,) = [one for one in portal.processes() if is_model_server(one)]
    assert server.uids().real == ben.user.pw_uid
    before = ben.client.get("/endpoints/bens").raise_for_status().json()
    for verb, path, body in (
        ("DELETE", "/endpoints/bens", None),
        ("POST", "/endpoints/bens/promote", None),
        ("POST", "/endpoints/bens/rollback", None),
        ("POST", "/endpoints/bens/canary", {"id": new_id(), "version": version.version}),
        ("POST", "/endpoints", {"id": new_id(), "name": "bens", "model": "bens-digits", "version": 1}),
        ("PUT", "/endpoints/bens", {}),
        ("PATCH", "/endpoints/bens", {}),
        ("PUT", "/models/bens-digits/aliases/champion", {"version": 1}),
    ):
        answer = ana.client.request(verb, path, json=body)
        assert answer.status_code in (*REFUSALS, 405, 409), (verb, path, answer.text)
    assert ben.client.get("/endpoints/bens").json() == before
    assert ana.tries(("signal", server.pid), ("read", f"/proc/{server.pid}/environ")) == ["PermissionError"] * 2
    models = portal.data / "artifacts" / "models"
    assert (
        ana.tries(("list", str(models)), ("write", str(models / "bens-digits" / "x"))) == ["PermissionError"] * 2
    )
    assert server.is_running()


def bearer(token: str) -> dict[str, str]:
    """What a token is shown by."""
    return {"Authorization": f"Bearer {token}"}


def is_model_server(process: psutil.Process) -> bool:
    """Whether it serves a model, and is not its keeper."""
    return "dure.server" in process.cmdline() and "keeper.py" not in " ".join(process.cmdline())


def test_jobs(ana: Someone, ben: Someone, version: Any, portal: ApartPortal) -> None:
    (folder,) = (portal.data / "jobs").iterdir()
    assert (folder / "outputs").stat().st_uid == ben.user.pw_uid
    assert folder.stat().st_uid == 0
    assert ana.tries(("list", str(folder)), ("list", str(folder / "outputs"))) == ["PermissionError"] * 2
    assert ana.client.get("/training/jobs/bens-job").status_code == 404


def test_schedules(ana: Someone, ben: Someone, scheduled: dict[str, Any], portal: ApartPortal) -> None:
    said = ben.client.get("/schedules/bens/executions/1/logs").json()["text"]
    assert scheduled["state"] == "succeeded", said
    assert f"I am {ben.user.pw_uid}" in said
    run = {"id": new_id()}
    for of in ("", "?owner=ben"):
        for verb, path, body in (
            ("GET", "", None),
            ("GET", "/executions", None),
            ("GET", "/executions/1", None),
            ("GET", "/executions/1/notebook", None),
            ("GET", "/executions/1/logs", None),
            ("DELETE", "/executions/1", None),
            ("POST", "/pause", None),
            ("POST", "/resume", None),
            ("POST", "/run", run),
            ("DELETE", "", None),
        ):
            answer = ana.client.request(verb, f"/schedules/bens{path}{of}", json=body)
            assert answer.status_code == (403 if of else 404), (verb, path, answer.text)
    assert ana.client.get("/schedules?everyone=true").status_code == 403
    (folder,) = (portal.data / "executions").iterdir()
    assert (
        ana.tries(("list", str(folder)), ("read", str(folder / "outputs" / "executed.ipynb")))
        == ["PermissionError"] * 2
    )
    his = ben.client.get("/schedules/bens").raise_for_status().json()
    assert (his["paused"], len(ben.client.get("/schedules/bens/executions").json())) == (False, 1), his


def test_the_ledger(ana: Someone, ben: Someone, version: Any, portal: ApartPortal) -> None:
    (his,) = ben.client.get("/costs", params={"by": "user"}).json()["lines"]
    assert (his["key"], his["hours"] > 0) == ("ben", True), "he has something in it"
    for by in ("user", "team", "project", "profile", "purpose", "day"):
        mine = ana.client.get("/costs", params={"by": by})
        assert mine.status_code == 200
        assert "ben" not in json.dumps(mine.json())
    for path in (
        "/recommendations",
        "/forecast",
        "/quotas",
        "/budgets",
        "/queue",
        "/environments",
        "/training/jobs",
    ):
        assert '"ben' not in ana.client.get(path).raise_for_status().text, path
    for verb, path, body in (
        ("GET", "/events", None),
        ("GET", "/events/export", None),
        ("GET", "/fleet", None),
        ("GET", "/metrics", None),
        ("PUT", "/quotas", {"kind": "user", "name": "ben", "gpus": 0}),
        ("PUT", "/budgets", {"kind": "user", "name": "ben", "amount": 0}),
    ):
        assert ana.client.request(verb, path, json=body).status_code in (403, 422), path
    place = portal.data / "db"
    tried = ana.tries(
        ("read", str(place / "dure.sqlite")), ("write", str(place / "dure.sqlite")), ("list", str(place))
    )
    assert tried == ["PermissionError"] * 3
    assert ben.client.get("/costs", params={"by": "user"}).json()["lines"][0]["hours"] >= his["hours"]


def test_a_kernel_that_takes_too_much_ends_and_nobody_else_does(ana: Someone, ben: Someone) -> None:
    if not groups_left(str(ana.portal.settings["instance"])):
        pytest.skip("no control groups can be made here")
    server = psutil.Process(ana.facts["server"])
    ana.run("import subprocess, sys")
    said = ana.run(
        "print(subprocess.run([sys.executable, '-c', 'x = [b\"y\" * (1 << 20) for _ in range(8192)]']).returncode)"
    )
    assert said.strip() == "-9"
    assert server.is_running()
    assert ben.run("print(1)").strip() == "1"

"""Each person an operating-system user of their own, in a whole portal as root: what ana tries on ben fails.

Ana has a kernel, with which she tries what the machine lets her, and her token, with which she asks the portal.
Ben has a server with a kernel, a trained model, an endpoint and a schedule.
"""

from __future__ import annotations

import json
import pwd
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.sync.client import connect

import dure
from dure.wire.ids import new_id
from dure_hub.isolation import confine
from dure_hub.isolation import ground as grounds
from dure_hub.policies.naming import account_name
from tests.contract.digits import CODE, held_out
from tests.e2e.kernels import compute
from tests.e2e.portal import free_port, until
from tests.support.accounts import ApartPortal, ground, groups_left
from tests.support.notebooks import notebook
from tests.support.zips import zipped

pytestmark = pytest.mark.timeout(900)

ATTEMPTS = Path(__file__).parents[1] / "contract" / "backends" / "attempts.py"
REFUSED = ("PermissionError", "FileNotFoundError", "ConnectionRefusedError")
SECRET = "bens-own-secret"
FILES = {"train.py": CODE, "work.ipynb": notebook("import os\nprint('I am', os.getuid())")}


@dataclass
class Someone:
    """A person with a token, a server and a kernel."""

    name: str
    client: httpx.Client
    portal: ApartPortal
    lease: str = ""
    token: str = ""
    kernel: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def user(self) -> pwd.struct_passwd:
        """Their account as the system has it."""
        return pwd.getpwnam(account_name(str(self.portal.settings["system_account_prefix"]), self.name))

    @property
    def home(self) -> Path:
        """Their folder."""
        return self.portal.data / "users" / self.name

    def start(self) -> None:
        """A server, and a kernel in it."""
        asked = {"id": new_id(), "profile": "cpu"}
        answer = self.client.post("/environments", json=asked)
        assert answer.status_code == 202, answer.text

        def running() -> dict[str, Any] | None:
            seen: dict[str, Any] = self.client.get("/environments/default").json()
            assert seen["phase"] != "failed", f"{seen}{self.portal.logs()}"
            return seen if seen["phase"] == "running" else None

        found = until(running, f"{self.name}'s server", timeout=120)
        assert found is not None
        for record in (self.portal.data / "run" / "server").glob("*/spec.json"):
            spec = json.loads(record.read_text())
            if spec["owner"] == self.name:
                self.lease, self.token = spec["lease"], spec["secret"]
        base, headers = f"{self.portal.url}/user/{self.name}", {"Authorization": f"token {self.token}"}
        made = httpx.post(f"{base}/api/kernels", headers=headers, json={}, timeout=60)
        assert made.status_code == 201, made.text
        self.kernel = base.replace("http", "ws") + f"/api/kernels/{made.json()['id']}/channels"
        said = self.run("import os, json; print(json.dumps([os.getpid(), os.getppid(), os.getuid()]))")
        self.facts = dict(zip(("kernel", "server", "uid"), json.loads(said), strict=True))

    def run(self, code: str) -> str:
        """What this prints in their kernel."""
        with connect(self.kernel, additional_headers={"Authorization": f"token {self.token}"}) as socket:
            return compute(socket, code, patience_s=60)

    def tries(self, *attempts: tuple[str, Any]) -> list[Any]:
        """What comes of these in their kernel."""
        text = ATTEMPTS.read_text().partition("def status(")[0]
        code = f"{text}\nprint(json.dumps([tried(*one) for one in {list(attempts)!r}]))"
        return list(json.loads(self.run(code).splitlines()[-1]))


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
    keepers = [psutil.Process(ben.facts["server"]).ppid()]
    services = [ana.portal.pid(name) for name in ("hub", "portal", "mlflow", "envoy", "warm")]
    pids = [ben.facts["kernel"], ben.facts["server"], *keepers, *services]
    attempts = [("read", f"/proc/{pid}/{name}") for pid in pids for name in ("environ", "mem", "maps")]
    assert [one for one in ana.tries(*attempts) if one not in REFUSED] == []


def test_tokens(ana: Someone, ben: Someone) -> None:
    run = ana.portal.data / "run" / "server" / ben.lease
    names = ("portal-token", "cookie-secret", "session-key")
    said = ana.tries(
        ("read", str(run / "spec.json")),
        *(("read", str(ana.portal.data / "secrets" / name)) for name in names),
        ("list", str(ana.portal.data / "given" / ben.lease)),
    )
    assert [one for one in said if one not in REFUSED] == []
    other = httpx.get(f"{ana.portal.url}/user/ben/api/contents", headers={"Authorization": f"token {ana.token}"})
    assert other.status_code in (401, 403, 404)


def test_sockets(ana: Someone, ben: Someone) -> None:
    run = ana.portal.data / "run"
    sockets = [str(path) for path in run.rglob("*.sock")]
    assert str(run / "warm.sock") in sockets
    said = ana.tries(*(("connect", path) for path in sockets))
    assert [one for one in said if one not in REFUSED] == []
    if grounds.own_tmp():
        say = "import glob; print(len(glob.glob('/tmp/.jupyter/*-ipc-*')))"
        assert int(ben.run(say)) >= 5
        assert ana.tries(("list", f"/proc/{ben.facts['kernel']}/root/tmp")) == ["PermissionError"]


def test_signals(ana: Someone, ben: Someone) -> None:
    keepers = [psutil.Process(one.facts["server"]).ppid() for one in (ana, ben)]
    said = ana.tries(*(("signal", pid) for pid in (ben.facts["kernel"], ben.facts["server"], *keepers)))
    assert said == ["PermissionError"] * 4
    assert ben.run("print(1)").strip() == "1"


def test_mlflow_runs(ana: Someone, version: Any, portal: ApartPortal) -> None:
    headers = {"Authorization": f"Bearer {portal.token('ana')}"}
    with httpx.Client(base_url=f"{portal.url}/services/mlflow/api/2.0/mlflow", headers=headers) as mlflow:
        for path, body in (
            ("/runs/set-tag", {"run_id": version.run_id, "key": "x", "value": "y"}),
            ("/runs/log-metric", {"run_id": version.run_id, "key": "loss", "value": 0, "timestamp": 1, "step": 1}),
            ("/runs/delete", {"run_id": version.run_id}),
        ):
            assert mlflow.post(path, json=body).status_code == 403
        assert (
            mlflow.get("/runs/get", params={"run_id": version.run_id}).json()["run"]["info"]["status"]
            == "FINISHED"
        )
    artifacts = portal.data / "artifacts"
    assert ana.tries(("list", str(artifacts)), ("list", str(artifacts / "mlflow"))) == ["PermissionError"] * 2


def test_endpoints(ana: Someone, ben: Someone, endpoint: Any, portal: ApartPortal) -> None:
    rows, _ = held_out()
    assert len(endpoint.predict(rows[:2])) == 2
    (server,) = [one for one in portal.processes() if is_model_server(one)]
    assert server.uids().real == ben.user.pw_uid
    for answer in (
        ana.client.delete("/endpoints/bens"),
        ana.client.post("/endpoints/bens/promote", json={}),
        ana.client.post("/endpoints/bens/rollback", json={}),
    ):
        assert answer.status_code in (403, 404), answer.text
    assert ana.tries(("signal", server.pid), ("read", f"/proc/{server.pid}/environ")) == ["PermissionError"] * 2
    models = portal.data / "artifacts" / "models"
    assert (
        ana.tries(("list", str(models)), ("write", str(models / "bens-digits" / "x"))) == ["PermissionError"] * 2
    )
    assert server.is_running()


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
    for answer in (
        ana.client.get("/schedules/bens"),
        ana.client.get("/schedules/bens/executions"),
        ana.client.get("/schedules/bens/executions/1/notebook"),
        ana.client.post("/schedules/bens/run", json={"id": new_id()}),
        ana.client.delete("/schedules/bens"),
    ):
        assert answer.status_code == 404, answer.text
    (folder,) = (portal.data / "executions").iterdir()
    assert (
        ana.tries(("list", str(folder)), ("read", str(folder / "outputs" / "executed.ipynb")))
        == ["PermissionError"] * 2
    )
    assert ben.client.get("/schedules/bens").status_code == 200


def test_the_ledger(ana: Someone, version: Any, portal: ApartPortal) -> None:
    mine = ana.client.get("/costs", params={"by": "user"})
    assert mine.status_code == 200
    assert "ben" not in json.dumps(mine.json())
    assert (
        ana.tries(("read", str(portal.data / "db" / "dure.sqlite")), ("list", str(portal.data / "db")))
        == ["PermissionError"] * 2
    )


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

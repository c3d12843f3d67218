"""What a person installs in a notebook is theirs: after a restart, in jobs and schedules, in nobody else's way.

Once where everybody is one user of the system, and once as root, where each has an account.
"""

from __future__ import annotations

import json
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import dure
from dure.wire.ids import new_id
from tests.e2e.own_server import OwnServer
from tests.e2e.portal import Portal, free_port, make_portal, until
from tests.support.accounts import ApartPortal, ground
from tests.support.notebooks import notebook
from tests.support.wheels import tree, wheel
from tests.support.zips import zipped

pytestmark = pytest.mark.timeout(900)
SAYS = """
import pathlib, sys, tiny
print("tiny", tiny.VERSION, sys.prefix)
print("shared", pathlib.Path("~/shared/sets/set.csv").expanduser().read_text())
"""


@pytest.fixture(scope="module", params=["one_user", "accounts"])
def portal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal of its own, with ana."""
    if request.param == "one_user":
        folder = tmp_path_factory.mktemp("own")
        yield from lived(make_portal(folder, DURE_SHARED_FOLDERS=shared(folder)))
        return
    with ground() as made:
        told = {"DURE_LANGUAGE": "en", "DURE_SYSTEM_ACCOUNT_PREFIX": made.prefix, **made.environment}
        told["DURE_SHARED_FOLDERS"] = shared(made.folder)
        yield from lived(ApartPortal(made.folder / "data", free_port(), told, python=made.python))


def shared(folder: Path) -> str:
    """A setting that shares a folder with one file, to read."""
    (folder / "sets").mkdir(mode=0o755)
    (folder / "sets" / "set.csv").write_text("1,2")
    (folder / "sets" / "set.csv").chmod(0o644)
    return json.dumps([{"name": "sets", "path": str(folder / "sets")}])


def lived(portal: Portal) -> Iterator[Portal]:
    """Up, and down again."""
    try:
        portal.up()
        portal.add_user("ana")
        yield portal
    finally:
        portal.down()


class Ana(OwnServer):
    """She has a server, and a Python of her own."""

    @property
    def own(self) -> str:
        """Its folder."""
        return str(self.home / ".dure" / "python")


@pytest.fixture(scope="module")
def ana(portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ana]:
    """With a server, and a wheel in her folder."""
    made = wheel(tmp_path_factory.mktemp("wheels"), "tiny", "1.0")
    with portal.client("ana") as client:
        someone = Ana(portal, client)
        someone.start()
        shutil.copyfile(made, someone.home / made.name)
        (someone.home / made.name).chmod(0o644)
        yield someone


@pytest.fixture(scope="module")
def before() -> dict[str, tuple[int, int]]:
    """The portal's own packages as they were."""
    return tree(Path(sysconfig.get_path("purelib")))


@pytest.fixture(scope="module")
def installed(ana: Ana, before: dict[str, tuple[int, int]]) -> Ana:
    """She has installed a package in a cell, and started her server anew since."""
    said = ana.run("%pip install --no-index --disable-pip-version-check tiny-1.0-py3-none-any.whl")
    assert "Successfully installed tiny-1.0" in said
    ana.restart()
    return ana


def test_a_cell_installs_for_good_and_the_portal_stays_as_it_was(
    installed: Ana, before: dict[str, tuple[int, int]]
) -> None:
    assert installed.run(SAYS).split() == ["tiny", "1.0", installed.own, "shared", "1,2"]
    assert tree(Path(sysconfig.get_path("purelib"))) == before
    made = Path(installed.own) / "dure.json"
    assert made.stat().st_uid == installed.home.stat().st_uid
    assert "own packages" not in installed.run("!pip uninstall --yes httpx")
    assert installed.run("import httpx; print('there')").strip() == "there"


def test_a_terminal_has_the_same(installed: Ana) -> None:
    where = " ".join(f"$(command -v {name})" for name in ("pip", "python", "dure"))
    said = installed.type(f"echo $VIRTUAL_ENV {where} END=$((1+1))", "END=2")
    shown = said.rpartition("END=2")[0].split()[-4:]
    programs = Path(installed.own) / "bin"
    assert shown[:3] == [installed.own, str(programs / "pip"), str(programs / "python")]
    assert Path(shown[3]).name == "dure"
    assert not shown[3].startswith(installed.own)
    assert "tiny  1.0" in installed.type("dure env; echo END=$((1+1))", "END=2")


def test_a_job_has_the_same(installed: Ana, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURE_URL", installed.portal.url)
    monkeypatch.setenv("DURE_TOKEN", installed.portal.token("ana"))
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(SAYS)
    job = dure.train("train.py", name="own", processes=1)
    job.wait(timeout=300)
    assert f"tiny 1.0 {installed.own}" in job.logs()
    assert "shared 1,2" in job.logs()
    (listed,) = (installed.portal.data / "jobs").glob("*/outputs/own-packages.txt")
    assert listed.read_text().startswith("tiny @ file://")


def test_a_notebook_that_runs_by_itself_has_the_same(installed: Ana) -> None:
    digest, content = zipped({"work.ipynb": notebook(SAYS)})
    client = installed.client
    assert client.put(f"/snapshots/{digest}", content=content).status_code == 204
    asked = {"id": new_id(), "name": "own", "snapshot": digest, "notebook": "work.ipynb", "cron": "0 0 29 2 *"}
    assert client.post("/schedules", json=asked).status_code == 201
    assert client.post("/schedules/own/run", json={"id": new_id()}).status_code == 202

    def state() -> str:
        (one,) = client.get("/schedules/own/executions").json()
        return str(one["state"])

    until(lambda: state() in ("succeeded", "failed"), "the execution", timeout=120)
    said = client.get("/schedules/own/executions/1/logs").json()["text"]
    assert state() == "succeeded", said
    assert f"tiny 1.0 {installed.own}" in said
    assert "shared 1,2" in said


def test_who_has_broken_it_gets_in_and_mends_it(installed: Ana) -> None:
    broken = next(Path(installed.own).glob("lib/python*/site-packages")) / "ipykernel_launcher.py"
    broken.write_text("raise SystemExit('broken')\n")
    broken.chmod(0o644)
    installed.restart()
    kernel = installed.kernel()
    until(lambda: kernel_state(installed, kernel) in ("dead", "none"), "the kernel to be given up", timeout=120)
    said = installed.type("dure env reset --yes; echo END=$((1+1))", "END=2")
    assert "requirements.txt" in said
    assert installed.run("print(6 * 7)").strip() == "42"
    assert installed.run("import importlib.util; print(importlib.util.find_spec('tiny'))").strip() == "None"
    (aside,) = Path(installed.own).parent.glob("python-*")
    assert (aside / "requirements.txt").read_text().startswith("tiny @ file://")


def kernel_state(ana: Ana, kernel: str) -> str:
    """What her server says of it; `none` where it has let go of it."""
    answer = httpx.get(f"{ana.base}/api/kernels/{kernel}", headers=ana.headers, timeout=30)
    return str(answer.json()["execution_state"]) if answer.status_code == 200 else "none"

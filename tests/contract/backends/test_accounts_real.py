"""With accounts of the system: real kernels, notebooks, training and model servers run as who owns them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from dure.wire.ids import new_id
from dure_hub.backends.base import ExecutionWork, Handle, Kind, Reason, ServerWork, ServingWork, TrainingWork
from dure_hub.backends.embedded import EmbeddedExecutions, EmbeddedServing, EmbeddedTraining
from dure_hub.isolation import accounts, confine
from dure_hub.isolation import ground as grounds
from tests.contract.backends.apart import REFUSED, ApartPlace
from tests.contract.backends.kit import until
from tests.e2e.kernels import compute
from tests.support.accounts import ground, groups_left
from tests.support.notebooks import notebook

pytestmark = pytest.mark.timeout(300)

TRAIN = """
import os
import dure


def train(ctx):
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.rand(64, 4))
    for (rows,) in DataLoader(data, batch_size=16, num_workers=1):  # its worker hands tensors over in /dev/shm
        pass
    torch.save(rows, os.path.join(os.getcwd(), "seen.pt"))
    print(f"rank {ctx.rank} of {ctx.world_size} as {os.getuid()}", flush=True)
"""


@pytest.fixture(scope="module")
def apart() -> Iterator[ApartPlace]:
    """A place with a Python that everybody reaches."""
    with ground() as made, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(made.python))
        place = ApartPlace(made)
        yield place
        assert groups_left(place.settings.instance) == set()


@pytest.fixture
async def place(apart: ApartPlace) -> AsyncIterator[ApartPlace]:
    """Nothing runs, and nothing is left behind, after each test."""
    yield apart
    await apart.end_all()


async def jupyter(place: ApartPlace, owner: str) -> tuple[Handle, str]:
    """A real Jupyter server as the spawner would configure it, but for the hub; and its address."""
    home = place.settings.folder.users / owner
    accounts.ensure(place.settings, owner)
    places = [str(files("dure_hub.spawners") / "apart")]
    environment = {
        **place.ground.environment,
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "JUPYTER_TOKEN": f"token-of-{owner}",
        "JUPYTER_RUNTIME_DIR": f"{confine.TMP}/.jupyter",
        "JUPYTER_CONFIG_PATH": os.pathsep.join(places),
        "HIDDEN": f"secret-of-{owner}",
    }
    command = [
        sys.executable,
        "-P",
        "-m",
        "jupyter_server",
        "--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
    ]
    work = ServerWork(
        lease=new_id(),
        owner=owner,
        folder=home,
        environment=environment,
        command=command,
        memory_mb=1024,
        cores=2.0,
    )
    backend = place.servers()
    port_asked = [one async for one in backend.start(work)][-1]
    url = "http://{}:{}".format(*backend.address(port_asked))

    async def answers() -> bool:
        try:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"{url}/api")).status_code == 200
        except httpx.TransportError:
            return False

    await until(answers, lambda: place.report(port_asked), 60)
    return port_asked, url


def in_kernel(url: str, owner: str, code: str) -> str:
    """What this prints in a new kernel of a server."""
    headers = {"Authorization": f"token token-of-{owner}"}
    made = httpx.post(f"{url}/api/kernels", headers=headers, json={}, timeout=60)
    assert made.status_code == 201, made.text
    address = url.replace("http", "ws") + f"/api/kernels/{made.json()['id']}/channels"
    with connect(address, additional_headers=headers) as socket:
        return compute(socket, code, patience_s=60)


async def test_a_kernels_sockets_are_out_of_everybodys_reach(place: ApartPlace) -> None:
    if not grounds.own_tmp():
        pytest.skip("this kernel gives processes no /tmp of their own")
    _, url = await jupyter(place, "ben")
    shown = "os.getpid(), os.getuid(), sorted(glob.glob('/tmp/.jupyter/*-ipc-*'))"
    say = f"import os, json, glob; print(json.dumps([{shown}]))"
    said = await asyncio.to_thread(in_kernel, url, "ben", say)
    pid, uid, sockets = json.loads(said)
    assert uid == place.user("ben").pw_uid
    assert len(sockets) == 5
    # its only port is that into which its children print: it gives nothing, and takes what knows its secret
    listening = [one for one in psutil.Process(pid).net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    assert len(listening) <= 1
    attempts = [("connect", path) for path in sockets] + [("connect", f"/proc/{pid}/root{one}") for one in sockets]
    more = [("read", f"/proc/{pid}/environ"), ("list", f"{confine.TMP}/.jupyter"), ("signal", pid)]
    _, ana = await place.server("ana", *attempts, *more)
    assert [one for one in ana["attempts"] if one not in REFUSED] == []
    assert "secret-of-ben" not in json.dumps(ana)


def work_folder(place: ApartPlace, kind: str, **code: str) -> Path:
    """The folder of a job or an execution as the portal lays it out."""
    folder = getattr(place.settings.folder, kind) / new_id()
    for name in ("code", "outputs", "home"):
        (folder / name).mkdir(mode=0o700, parents=True)
    for name, text in code.items():
        (folder / "code" / name.replace("_DOT_", ".")).write_text(text)
    (folder / "token").write_text("dure_a-token")
    (folder / "token").chmod(0o600)
    return Path(folder)


def common(place: ApartPlace, folder: Path) -> dict[str, Any]:
    """What such works share."""
    environment = {
        **place.ground.environment,
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "MPLBACKEND": "agg",
    }
    return {
        "lease": new_id(),
        "owner": "ana",
        "folder": folder / "code",
        "outputs": folder / "outputs",
        "token_file": folder / "token",
        "environment": environment,
        "memory_mb": 2048,
        "cores": 2.0,
    }


async def test_a_scheduled_notebook_runs_as_its_owner(place: ApartPlace) -> None:
    cell = (
        "import os\nfrom pathlib import Path\nprint(os.getuid(), Path(os.environ['DURE_TOKEN_FILE']).read_text())"
    )
    folder = work_folder(place, "executions", work_DOT_ipynb=notebook(cell))
    backend = EmbeddedExecutions(place.settings)
    work = ExecutionWork(notebook="work.ipynb", **common(place, folder))
    handle = [one async for one in backend.start(work)][-1]
    seen = await place.ended(handle)
    log = (await backend.log(handle, 0, 1 << 20)).text
    assert seen.reason == Reason.FINISHED, log
    assert f"{place.user('ana').pw_uid} dure_a-token" in log
    assert json.loads(text_of(folder / "outputs" / "result.json"))["state"] == "succeeded"


async def test_two_ranks_train_as_the_jobs_owner_and_share_memory(place: ApartPlace) -> None:
    folder = work_folder(place, "jobs", train_DOT_py=TRAIN)
    backend = EmbeddedTraining(place.settings)
    work = TrainingWork(entry="train.py:train", processes=2, **common(place, folder))
    handle = [one async for one in backend.start(work)][-1]
    seen = await place.ended(handle)
    log = (await backend.log(handle, 0, 1 << 20)).text
    assert seen.reason == Reason.FINISHED, log
    uid = place.user("ana").pw_uid
    assert {f"rank {rank} of 2 as {uid}" for rank in (0, 1)} <= {*log.splitlines()}
    assert owner_of(folder / "code" / "seen.pt") == uid


async def test_a_model_server_is_its_endpoints_owners_and_only_reads(place: ApartPlace) -> None:
    model = place.settings.folder.artifacts / "models" / "digits" / "1"
    await asyncio.to_thread(save_model, model)
    backend = EmbeddedServing(place.settings)
    environment = {**place.ground.environment, "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    work = ServingWork(
        lease=new_id(),
        owner="ben",
        folder=place.settings.folder.run,
        environment=environment,
        model=model,
        name="digits",
        version=1,
        memory_mb=1024,
    )
    handle = [one async for one in backend.start(work)][-1]

    async def ready() -> bool:
        return await backend.ready(handle)

    await until(ready, lambda: place.report(handle), 60)
    started = await place.started(handle)
    assert psutil.Process(started["pid"]).uids().real == place.user("ben").pw_uid
    assert owner_of(model) == 0
    _, ana = await place.server("ana", ("signal", started["pid"]), ("write", str(model / "MLmodel")))
    assert ana["attempts"] == ["PermissionError"] * 2
    assert (await backend.poll(handle)).handle.kind is Kind.MODEL


def save_model(target: Path) -> None:
    """A small model, as a job saves it."""
    import torch

    from dure.saving import save

    target.parent.mkdir(parents=True, exist_ok=True)
    save(torch.nn.Linear(4, 2), torch.rand(1, 4), target, classes=["no", "yes"], name="model", run_id=None)


def text_of(path: Path) -> str:
    """What is in it."""
    return path.read_text()


def owner_of(path: Path) -> int:
    """Its user's number."""
    return path.stat().st_uid

"""A portal that people have used: homes, running servers, two who wait in line, a schedule, a model, an endpoint.

`python -m tests.support.lived_in FOLDER` makes one with the program of this source tree and leaves its data folder
in FOLDER/data; with `--pack FILE FOLDER` what is there is packed: that is how the data folder of a release comes
into tests/data (see the README there).
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from dure.wire.ids import new_id
from tests.contract.digits import CODE, held_out
from tests.e2e.portal import Portal, make_portal
from tests.support.notebooks import notebook
from tests.support.zips import zipped

STUB = Path(__file__).parents[1] / "support" / "stub_server.py"
WIDE = "gpu-full"
NOTES = "What I found out.\n"
CRON = "0 3 * * *"


def environment(clock: Path) -> dict[str, str]:
    """Simulated GPUs, small servers, and a clock that can be moved."""
    command = json.dumps([sys.executable, "-I", "-S", str(STUB)])
    return {
        "DURE_SIMULATED_FLEET": "workstation",
        "DURE_SERVER_COMMAND": command,
        "DURE_CLOCK_FILE": str(clock),
        "DURE_LOOK_INTERVAL_S": "0.5",
    }


def fill(portal: Portal) -> dict[str, Any]:
    """Use the portal, which is up, as ana, ben and cho do; answers with what must be there afterwards."""
    for name in ("ana", "ben", "cho"):
        portal.add_user(name)
    tokens = {
        name: portal.dure("token", "--user", name, "--days", "36500").split()[-1] for name in portal.passwords
    }
    with api(portal, tokens["ana"]) as ana, api(portal, tokens["ben"]) as ben, api(portal, tokens["cho"]) as cho:
        _homes(portal)
        made = _model(portal, tokens["ana"])
        _schedule(ana)
        total = next(one["total"] for one in cho.get("/profiles").json() if one["name"] == WIDE)
        running = [_server(cho, f"g{number}") for number in range(total)]
        for name in running:
            _until(partial(_runs, cho, name), name)
        _server(ben, "first-in-line")
        _server(ana, "second-in-line")
        answer = ask(portal, tokens["ana"])
    return {
        "tokens": tokens,
        "passwords": dict(portal.passwords),
        "running": running,
        "model": made,
        "answer": answer,
        "at": time.time(),
    }


@contextmanager
def api(portal: Portal, token: str) -> Iterator[httpx.Client]:
    """A client of the API with this token."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{portal.url}/api/v1", headers=headers, timeout=60) as client:
        yield client


def ask(portal: Portal, token: str) -> Any:
    """What the endpoint says to two rows, once it answers."""
    url, headers = f"{portal.url}/serve/digits/invocations", {"Authorization": f"Bearer {token}"}
    rows = held_out()[0][:2]
    found: list[Any] = []

    def look() -> bool:
        answer = httpx.post(url, json={"inputs": rows}, headers=headers, timeout=30)
        found[:] = [answer.json()] if answer.status_code == 200 else []
        return bool(found)

    _until(look, "the endpoint's answer", timeout=180)
    return found[0]


def line(client: httpx.Client) -> list[str]:
    """The tickets that wait, the first in line first, as an administrator sees them."""
    return [str(one["ticket"]) for one in client.get("/queue").raise_for_status().json()]


def _homes(portal: Portal) -> None:
    for name in ("ana", "ben"):
        home = portal.data / "users" / name
        (home / "work" / "empty").mkdir(parents=True, exist_ok=True)
        (home / "work" / "notes.txt").write_text(NOTES + name)
        (home / "work" / "노트.ipynb").write_text(notebook("print('hello')"))
        (home / "latest").symlink_to("work/notes.txt")
        (home / "datasets").symlink_to("/usr/share")
        (home / "run.sh").write_text("#!/bin/sh\necho hello\n")
        (home / "run.sh").chmod(0o700)


def _model(portal: Portal, token: str) -> dict[str, Any]:
    """Trained by a job, registered and served, through the SDK in this process."""
    import dure

    folder = portal.data.parent / "code"
    folder.mkdir()
    (folder / "train.py").write_text(CODE)
    before, here = dict(os.environ), Path.cwd()
    os.environ.update(DURE_URL=portal.url, DURE_TOKEN=token)
    os.chdir(folder)
    try:
        job = dure.train("train.py:train", name="digits-1", processes=1, parameters={"epochs": 3})
        job.wait(timeout=400)
        version = dure.models.register("digits", job)
        dure.endpoints.deploy("digits", "digits", version.version).wait(timeout=300)
        return {"version": version.version, "run_id": version.run_id, "metrics": dict(version.metrics)}
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)


def _schedule(client: httpx.Client) -> None:
    digest, content = zipped({"work.ipynb": notebook("print(epochs)", parameters="epochs: int = 3")})
    client.put(f"/snapshots/{digest}", content=content).raise_for_status()
    body = {"id": new_id(), "name": "nightly", "snapshot": digest, "notebook": "work.ipynb", "cron": CRON}
    client.post("/schedules", json=body).raise_for_status()


def _server(client: httpx.Client, name: str) -> str:
    body = {"id": new_id(), "name": name, "profile": WIDE, "lifetime_s": 3600}
    client.post("/environments", json=body).raise_for_status()
    return name


def _runs(client: httpx.Client, name: str) -> bool:
    return bool(client.get(f"/environments/{name}").json()["phase"] == "running")


def _until(look: Callable[[], bool], what: str, timeout: float = 120) -> None:
    deadline = time.monotonic() + timeout
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.2)


def pack(folder: Path, file: Path) -> None:
    """What `main` has left, as one small file: without logs and what `up` makes anew; databases without gaps."""
    for database in (folder / "data" / "db").glob("*.sqlite"):
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def kept(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        path = Path(info.name)
        left = path.parts[1:2] in (("log",), ("envoy",)) or path.name.endswith(("-wal", "-shm", ".sock"))
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info if (info.isreg() or info.isdir() or info.issym()) and not left else None

    with tarfile.open(file, "w:xz", preset=9) as tar:
        tar.add(folder / "expected.json", "expected.json", filter=kept)
        tar.add(folder / "data", "data", filter=kept)


def unpack(file: Path, folder: Path) -> dict[str, Any]:
    """Its data folder comes into `folder`/data, with a clock that goes on when it was left; what must be there."""
    with tarfile.open(file) as tar:
        tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
        tar.extractall(folder)  # noqa: S202 - a file of this repository, with a link to outside
    found: dict[str, Any] = json.loads((folder / "expected.json").read_text())
    (folder / "data" / "instance").write_text(secrets.token_hex(6))  # another test may run the same one beside us
    (folder / "clock").write_text(str(found["at"] + 60 - time.time()))
    return found


def main(folder: Path) -> None:
    """Make one, take it down, and write beside it what must be there."""
    clock = folder / "clock"
    clock.write_text("0")
    portal = make_portal(folder, **environment(clock))
    try:
        portal.up()
        expected = fill(portal)
    finally:
        portal.down()
    (folder / "expected.json").write_text(json.dumps(expected, indent=2))


if __name__ == "__main__":
    if sys.argv[1] == "--pack":
        pack(Path(sys.argv[3]).resolve(), Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]).resolve())

"""With accounts of the system: what runs is its owner's, and can do nothing to anybody else's. Needs root."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from dure.wire.ids import new_id
from dure_hub.backends.base import Feature, Handle, Kind, Phase, Reason, TrainingWork
from dure_hub.backends.embedded import cgroups, measures
from dure_hub.isolation import accounts, confine
from dure_hub.isolation import ground as grounds
from dure_hub.spawners.waiting import ServerSilent, until_answers
from tests.contract.backends.apart import PROGRAM, REFUSED, ApartPlace
from tests.contract.backends.kit import is_alive
from tests.support.accounts import ground, groups_left
from tests.support.warm import fork_server

BENS = f"{confine.TMP}/bens"


def sleeper(environment: Mapping[str, str], user: pwd.struct_passwd) -> subprocess.Popen[bytes]:
    """A process of this user's with an environment that it made up."""
    command = ["/bin/sleep", "600"]
    return subprocess.Popen(command, env=environment, user=user.pw_uid, group=user.pw_gid, extra_groups=[])


@contextmanager
def listening(port: int, user: pwd.struct_passwd) -> Iterator[list[bytes]]:
    """Somebody who answers on this port: what came there. A socket is its maker's."""
    before = os.geteuid()
    os.seteuid(user.pw_uid)
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), _Answer)
    finally:
        os.seteuid(before)
    asked: list[bytes] = []
    server.asked = asked  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.requestline.encode())  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


def lies_outside(path: str) -> bool:
    """Whether everybody's /tmp has it."""
    return os.path.lexists(path)


def written(path: Path) -> str:
    """What somebody wrote there."""
    return path.read_text()


@pytest.fixture(scope="module", params=["cold", "warm"])
def apart(request: pytest.FixtureRequest) -> Iterator[ApartPlace]:
    """A place whose servers are started in either way, with a Python that everybody reaches."""
    with ground() as made, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(made.python))
        place = ApartPlace(made)
        if request.param == "cold":
            yield place
        else:
            with fork_server(place.settings, PROGRAM, {**made.environment, "PYTHONPATH": str(place.code)}):
                yield place
        assert groups_left(place.settings.instance) == set()


@pytest.fixture
async def place(apart: ApartPlace) -> AsyncIterator[ApartPlace]:
    """Nothing runs, and nothing is left behind, after each test."""
    yield apart
    await apart.end_all()


async def test_what_runs_is_its_owners_user_and_can_become_nobody_else(place: ApartPlace) -> None:
    handle, facts = await place.server("ana", ("become", 0), ("write", "here"))
    user = place.user("ana")
    assert facts["uid"] == [user.pw_uid] * 3
    assert facts["gid"] == [user.pw_gid] * 3
    assert facts["groups"] == sorted([user.pw_name, f"{place.ground.prefix}-all"])
    assert (facts["umask"], facts["no_new_privileges"]) == ("0077", "1")
    assert facts["cwd"] == str(place.settings.folder.users / "ana")
    assert facts["attempts"] == ["PermissionError", "done"]
    written = (place.settings.folder.users / "ana" / "here").stat()
    assert (written.st_uid, written.st_mode & 0o777) == (user.pw_uid, 0o600)
    assert (await place.servers().poll(handle)).phase is Phase.RUNNING


async def test_nobody_reaches_anothers_files_environment_records_or_processes(place: ApartPlace) -> None:
    secret = "a-secret-of-bens"
    handle, ben = await place.server("ben", ("write", "diary"), environment={"SECRET": secret})
    home, run = place.settings.folder.users / "ben", place.run_folder(handle)
    _, ana = await place.server(
        "ana",
        ("read", str(home / "diary")),
        ("list", str(home)),
        ("write", str(home / "diary")),
        ("list", str(home.parent)),
        ("read", f"/proc/{ben['pid']}/environ"),
        ("read", f"/proc/{ben['parent']}/environ"),
        ("list", f"/proc/{ben['pid']}/fd"),
        ("list", f"/proc/{ben['pid']}/root"),
        ("signal", ben["pid"]),
        ("signal", ben["parent"]),
        ("read", str(run / "spec.json")),
        ("write", str(run / "exit.json")),
        ("list", str(place.settings.folder.given / handle.lease)),
        ("list", str(place.settings.folder.given / handle.lease / "tmp")),
        ("connect", str(place.settings.folder.run / "warm.sock")),
        ("list", str(place.settings.folder.secrets)),
        ("list", str(place.settings.folder.db)),
    )
    assert [said for said in ana["attempts"] if said not in REFUSED] == []
    assert secret not in json.dumps(ana)
    assert (home / "diary").read_text() == "mine"
    assert (await place.servers().poll(handle)).phase is Phase.RUNNING


async def test_nobody_says_how_their_own_run_went_or_ends_its_keeper(place: ApartPlace) -> None:
    _, first = await place.server("ana")
    lease = first["environment"]["DURE_LEASE"]
    records = place.settings.folder.run / "server" / lease
    handle, facts = await place.server("ana", ("write", str(records / "exit.json")), ("signal", first["parent"]))
    assert facts["attempts"] == ["PermissionError", "PermissionError"]
    assert (await place.servers().poll(Handle(lease, Kind.SERVER))).phase is Phase.RUNNING
    assert (await place.servers().poll(handle)).phase is Phase.RUNNING


async def test_each_has_a_tmp_of_their_own_in_which_the_portal_is_still_found(place: ApartPlace) -> None:
    if not grounds.own_tmp():
        pytest.skip("this kernel gives processes no /tmp of their own")
    outside = Path(confine.TMP) / f"dure-seen-{os.urandom(4).hex()}"
    outside.write_text("everybody's")
    try:
        outside.chmod(0o644)
        handle, ben = await place.server("ben", ("write", BENS), ("read", str(outside)))
        _, ana = await place.server(
            "ana", ("read", BENS), ("list", confine.SHARED_MEMORY), ("write", f"{confine.TMP}/anas")
        )
    finally:
        outside.unlink()
    assert ben["attempts"] == ["done", "FileNotFoundError"]
    assert ana["attempts"] == ["FileNotFoundError", [], "done"]
    assert lies_outside(BENS) is False
    assert (place.settings.folder.given / handle.lease / "tmp" / "bens").read_text() == "mine"
    assert Feature.OWN_TMP not in place.servers().unsupported


async def test_a_job_reads_what_to_do_and_keeps_what_it_makes(place: ApartPlace) -> None:
    folder = place.settings.folder.jobs / new_id()
    for name in ("code", "outputs", "home"):
        (folder / name).mkdir(mode=0o700, parents=True)
    (folder / "code" / "attempts.py").write_text((place.code / "attempts.py").read_text())
    (folder / "token").write_text("its token")
    (folder / "token").chmod(0o600)
    work = TrainingWork(
        lease=new_id(),
        owner="ana",
        folder=folder / "code",
        environment=place.environment(
            ("write", str(folder / "outputs" / "model")), ("read", str(folder / "token"))
        )
        | {"HOME": str(folder / "home"), "THEN": "exit"},
        outputs=folder / "outputs",
        token_file=folder / "token",
        processes=1,
        entry="attempts.py",
    )
    backend = place.training()
    backend.worker = PROGRAM
    handle = [one async for one in backend.start(work)][-1]
    facts = await place.facts(handle)
    assert facts["attempts"] == ["done", "its token"]
    assert json.loads(written(Path(facts["environment"]["DURE_JOB_FILE"])))["entry"] == "attempts.py"
    assert facts["uid"] == [place.user("ana").pw_uid] * 3
    assert (await place.ended(handle)).reason == Reason.FINISHED
    assert written(folder / "outputs" / "model") == "mine"
    assert folder.stat().st_uid == 0  # nobody puts a link in place of what the portal writes there
    _, ben = await place.server(
        "ben",
        ("read", str(folder / "token")),
        ("list", str(folder)),
        ("write", str(folder / "code" / "attempts.py")),
    )
    assert ben["attempts"] == ["PermissionError"] * 3


async def test_who_takes_more_memory_than_the_profile_has_is_told_so(place: ApartPlace) -> None:
    if not cgroups.here(place.settings.instance).places:
        pytest.skip("no control groups can be made here")
    handle, _ = await place.server("ana", environment={"THEN": "eat"}, cores=1.0, memory_mb=128)
    seen = await place.ended(handle)
    assert seen.reason == Reason.OUT_OF_MEMORY
    assert groups_left(place.settings.instance) == set()


async def test_limits_are_those_of_the_lease_and_gone_with_it(place: ApartPlace) -> None:
    layout = cgroups.here(place.settings.instance)
    if not layout.places:
        pytest.skip("no control groups can be made here")
    handle, facts = await place.server("ana", cores=2.0, memory_mb=256)
    assert f"dure-{place.settings.instance}/{handle.lease}" in facts["cgroups"]
    texts = {
        name: (folder / name).read_text().strip()
        for folder in layout.folders(place.settings.instance, handle.lease)
        for name in ("memory.max", "memory.limit_in_bytes", "cpu.max", "cpu.cfs_quota_us", "pids.max")
        if (folder / name).exists()
    }
    assert str(256 << 20) in texts.values()
    assert {"200000", "200000 100000"} & {*texts.values()}
    assert texts["pids.max"] == str(cgroups.PROCESSES)
    os.kill((await place.started(handle))["keeper"]["pid"], 9)
    await place.servers().stop(handle, 0)
    assert groups_left(place.settings.instance) == set()
    assert place.marked(handle.lease) == {}


async def test_a_mark_that_somebody_else_carries_is_none(place: ApartPlace) -> None:
    handle, _ = await place.server("ben")
    forged = {"DURE_PORTAL": place.settings.instance, "DURE_LEASE": handle.lease, "DURE_KIND": "server"}
    mine = {one.pid for one in place.servers().runner.marked(handle.lease)}
    accounts.ensure(place.settings, "ana")
    user = place.user("ana")
    liar = sleeper(forged, user)
    try:
        assert {one.pid for one in place.servers().runner.marked(handle.lease)} == mine
        assert liar.pid not in mine
    finally:
        liar.kill()
        liar.wait()


@pytest.mark.parametrize("claimed", ["job", "server", "model"])
async def test_a_forged_mark_of_any_kind_ends_nobody_elses_run(place: ApartPlace, claimed: str) -> None:
    handle, facts = await place.server("ben")
    accounts.ensure(place.settings, "ana")
    marks = {"DURE_PORTAL": place.settings.instance, "DURE_LEASE": handle.lease, "DURE_KIND": claimed}
    liar = sleeper(marks, place.user("ana"))
    try:
        backend = place.runs(Kind(claimed))
        others = [seen.handle for seen in await backend.seen() if Kind(claimed) is not Kind.SERVER]
        assert others == []
        assert liar.pid not in set(measures.look(place.settings).leases)
        if claimed != "server":  # even one who is asked to end it does nothing to what is not of its kind
            await backend.stop(Handle(handle.lease, Kind(claimed)), 0)
        assert (await place.servers().poll(handle)).phase is Phase.RUNNING
        assert is_alive(facts["pid"])
        assert is_alive(facts["parent"])
    finally:
        liar.kill()
        liar.wait()


async def test_what_is_left_of_a_run_whose_records_are_lost_is_found_and_ended(place: ApartPlace) -> None:
    handle, facts = await place.server("ben")
    shutil.rmtree(place.run_folder(handle))
    os.kill(facts["parent"], signal.SIGKILL)
    found = {seen.handle.lease: seen for seen in await place.servers().seen()}
    assert found[handle.lease].phase is Phase.RUNNING
    await place.servers().stop(handle, 0)
    assert not is_alive(facts["pid"])
    place.servers().runner.drop(handle.lease)


async def test_a_mark_of_a_lease_without_records_ends_its_own_process_at_most(place: ApartPlace) -> None:
    accounts.ensure(place.settings, "ana")
    lease = new_id()
    marks = {"DURE_PORTAL": place.settings.instance, "DURE_LEASE": lease, "DURE_KIND": "job"}
    handle, facts = await place.server("ben")
    liar = sleeper(marks, place.user("ana"))
    try:
        if cgroups.here(place.settings.instance).places:  # what the portal started is in a group of it
            assert await place.training().seen() == []
        await place.training().stop(Handle(lease, Kind.JOB), 0)
        assert (await place.servers().poll(handle)).phase is Phase.RUNNING
        assert is_alive(facts["pid"])
    finally:
        liar.kill()
        liar.wait()


async def test_who_takes_a_servers_port_is_not_the_server(place: ApartPlace) -> None:
    handle, _ = await place.server("ben", environment={"JUPYTERHUB_SERVICE_PREFIX": "/user/ben/"})
    accounts.ensure(place.settings, "ana")
    port = handle.where["port"]
    assert not await place.servers().is_own(handle), "nobody listens yet"
    for owner, own in (("ana", False), ("ben", True)):
        with listening(port, place.user(owner)):
            assert await place.servers().is_own(handle) is own
            assert (await place.servers().door(handle) is not None) is own


async def test_an_answer_of_somebody_else_is_not_waited_for(place: ApartPlace) -> None:
    handle, _ = await place.server("ben")
    accounts.ensure(place.settings, "ana")
    servers = place.servers()

    async def look() -> None:
        """It runs."""

    async def own() -> bool:
        return await servers.is_own(handle)

    with listening(handle.where["port"], place.user("ana")) as answers, pytest.raises(ServerSilent):
        await until_answers("127.0.0.1", handle.where["port"], "/", look=look, timeout_s=1, own=own)
    assert answers, "it did answer"

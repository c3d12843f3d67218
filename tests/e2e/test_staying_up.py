"""Staying up, with a real portal full of work: a closed terminal, `kill -9` of each part and of all at once, a
restart by a service manager, and a sleep of three hours. How it goes down: tests/unit/supervisor/test_closing.py.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from dure_hub.backends.base import Kind
from tests.e2e.kernels import compute
from tests.e2e.portal import until
from tests.e2e.staying import HOUR, SERVICES, WORK, Site, dure_words, in_terminal, read_until, remembers

pytestmark = pytest.mark.timeout(900)
WHOLE_S = 30
"""Within so many seconds of the restart the portal is whole."""
VALUE = "41"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A portal full of work, started from a terminal that was closed then."""
    made = Site(tmp_path_factory.mktemp("site"))
    portal = made.portal
    environment = {"DURE_DATA": str(portal.data), "DURE_PORT": str(portal.port), **portal.environment}
    try:
        with in_terminal(environment, *dure_words("up", "--detach")) as (process, terminal):
            shown = read_until(terminal, "dure portal-logs", 180)
            assert "runs in the background" in shown, shown + portal.logs()
            process.wait(timeout=60)
        with pytest.MonkeyPatch.context() as patch:
            portal.add_user("ana")
            patch.setenv("DURE_URL", portal.url)
            patch.setenv("DURE_TOKEN", portal.token("ana"))
            patch.chdir(made.folder)
            made.fill()
            with made.kernel.connect() as socket:
                compute(socket, f"x = {VALUE}", patience_s=60)
            yield made
    finally:
        portal.down()


def test_a_closed_terminal_is_nothing_to_it_and_it_has_none(site: Site) -> None:
    supervisor = site.portal.service("supervisor")
    assert (supervisor.terminal(), os.getsid(supervisor.pid)) == (None, supervisor.pid)
    os.kill(supervisor.pid, signal.SIGHUP)
    site.whole_within(WHOLE_S)
    assert site.portal.service("supervisor") == supervisor
    for process in site.portal.processes():
        assert signal.SIGHUP not in ignored(process), f"{process.cmdline()}: a shell in it could not be hung up"


def test_every_log_that_is_rotated_is_written_by_appending(site: Site) -> None:
    """Else what is truncated would grow back to its old length at the next line, with nothing before it."""
    written = set()
    for process in site.portal.processes():
        for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
            try:
                target = descriptor.readlink()
            except OSError:  # it has just been closed
                continue
            if not target.is_relative_to(site.portal.data) or not (
                target.suffix == ".log" or target.name == "log"
            ):
                continue
            flags = Path(f"/proc/{process.pid}/fdinfo/{descriptor.name}").read_text().split("flags:")[1].split()[0]
            assert int(flags, 8) & os.O_APPEND, (process.cmdline(), target)
            written.add(target.name if target.suffix == ".log" else target.parent.parent.name)
    assert {f"{name}.log" for name in SERVICES} | set(WORK) <= written, written


def test_whatever_the_supervisor_runs_is_killed_by_a_test(site: Site) -> None:
    """Nothing else is its child; and nothing has a keeper but what the tests below kill the keepers of."""
    supervisor = site.portal.service("supervisor")
    assert {child.pid for child in supervisor.children()} == {site.portal.pid(name) for name in SERVICES}
    records = {path.name.partition(".")[0] for path in (site.portal.data / "run" / "services").glob("*.json")}
    assert records == {"supervisor", *SERVICES}
    assert {str(kind) for kind in Kind} == {*WORK, "execution"}, "that of an execution: test_kill.py"


@pytest.mark.parametrize("name", SERVICES)
def test_a_killed_service_is_back_with_all_that_leant_on_it(site: Site, name: str) -> None:
    before = site.portal.service(name)
    with site.kernel.connect() as socket:
        assert remembers(socket, VALUE)
        before.kill()
        until(lambda: site.portal.pid(name) != before.pid, f"{name} to be started again", WHOLE_S)
        site.whole_within(WHOLE_S)
        if name == "envoy":  # through which the socket goes
            with pytest.raises(ConnectionClosed):
                remembers(socket, VALUE)
        else:
            assert remembers(socket, VALUE)
    with site.kernel.connect() as socket:
        assert remembers(socket, VALUE)
    told = site.status()["services"][name]
    assert told["restarts"] == 1
    assert (told["last_end"]["signal"], told["next_try"], told["failing"]) == ("SIGKILL", None, False)


def test_killed_keepers_cost_no_work(site: Site) -> None:
    keepers = site.keepers()
    assert len(keepers) == len(WORK)
    with site.kernel.connect() as socket:
        for keeper in keepers:
            keeper.kill()
        psutil.wait_procs(keepers, timeout=20)
        site.until_looked()
        site.whole_within(WHOLE_S)
        assert remembers(socket, VALUE)


def test_a_killed_supervisor_is_told_and_the_next_up_takes_over(site: Site) -> None:
    envoy = site.portal.service("envoy")
    with site.kernel.connect() as socket:
        kill(site.portal.service("supervisor"))
        said = site.portal.dure("status", check=False)
        assert "nothing is restarted" in said
        site.portal.up()
        site.whole_within(WHOLE_S)
        assert remembers(socket, VALUE)
    assert site.portal.service("envoy") == envoy
    found = site.status()
    assert (found["lost"]["times"], found["lost"]["why"]) == (1, "killed")


def test_a_service_managers_restart_leaves_everything_running(site: Site) -> None:
    supervisor, envoy = site.portal.service("supervisor"), site.portal.service("envoy")
    with site.kernel.connect() as socket:
        supervisor.send_signal(signal.SIGUSR1)
        gone(supervisor)
        assert remembers(socket, VALUE)
        assert all(site.portal.service(name).is_running() for name in SERVICES)
        site.portal.up()
        site.whole_within(WHOLE_S)
        assert remembers(socket, VALUE)
    assert site.portal.service("envoy") == envoy
    assert site.status()["lost"] is None, "it went in order"


def test_all_at_once(site: Site) -> None:
    """Supervisor, services, keepers: whatever is not people's work itself."""
    killed = [one for one in site.portal.processes() if not work_of(one, site.before["processes"])]
    assert {site.portal.pid(name) for name in ("supervisor", *SERVICES)} <= {one.pid for one in killed}
    with site.kernel.connect() as socket:
        assert remembers(socket, VALUE)
        for process in killed:
            process.kill()
        with pytest.raises(ConnectionClosed):  # Envoy was among them
            remembers(socket, VALUE)
    site.portal.up()
    site.whole_within(WHOLE_S)
    with site.kernel.connect() as socket:
        assert remembers(socket, VALUE)


def test_after_a_sleep_nothing_ends_before_ten_minutes_and_the_line_stands(site: Site) -> None:
    with site.kernel.connect() as socket:
        end = datetime.fromisoformat(site.server()["lease"]["until"])
        woke = site.now() + timedelta(hours=3)
        assert woke > end
        site.move(3 * HOUR)
        site.until_looked()
        moved = datetime.fromisoformat(site.server()["lease"]["until"])
        assert moved - woke >= timedelta(minutes=10)
        assert site.kept() == site.before
        assert remembers(socket, VALUE)
        assert site.server()["put_off"]["code"] == "clock_leapt"


def work_of(process: psutil.Process, kept: dict[str, list[int]]) -> bool:
    """Whether it is people's work or was started by that, as kernels are."""
    known = {pid for pids in kept.values() for pid in pids}
    try:
        return any(one.pid in known for one in (process, *process.parents()))
    except psutil.Error:
        return True


def kill(process: psutil.Process) -> None:
    """SIGKILL, until it is dead."""
    process.kill()
    gone(process)


def gone(process: psutil.Process) -> None:
    """Until it has ended; who started it may not have looked yet."""
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "its end")


def ignored(process: psutil.Process) -> set[int]:
    """The signals that a process ignores."""
    try:
        text = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return set()
    mask = int(text.split("SigIgn:")[1].split()[0], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}

"""The cluster's place: nothing goes out of it, and nothing of it is left, however it ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.cluster import apart
from tests.cluster.programs import until

pytestmark = pytest.mark.anywhere

CODE = "import sys; from tests.cluster import apart; sys.exit(apart.run(sys.argv[1:]))"


@contextmanager
def in_a_place(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A program in a place of its own, begun by a process that can be killed."""
    environment = {key: value for key, value in os.environ.items() if key != apart.FOLDER}
    words = (sys.executable, "-c", CODE, *words)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process


def sleeping() -> list[psutil.Process]:
    """What the script below leaves running."""
    return [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", "1234"]]


@pytest.fixture(autouse=True)
def nested() -> None:
    """Only within a cluster's place, where these can do no harm either."""
    if apart.inside() is None:
        pytest.skip("These run in namespaces of their own: make test-cluster.")


def test_there_is_no_way_out() -> None:
    with pytest.raises(OSError, match="unreachable"):
        socket.create_connection(("192.0.2.1", 80), timeout=5)  # an address that is nobody's (RFC 5737)


def test_its_exit_code_is_that_of_the_program() -> None:
    with in_a_place("sh", "-c", f'test -n "${apart.FOLDER}" && exit 7') as process:
        assert process.wait(timeout=60) == 7


def test_killed_it_leaves_no_process_and_the_next_one_sweeps_the_rest() -> None:
    script = f'mkdir "${apart.FOLDER}/x"; echo "${apart.FOLDER}"; setsid sleep 1234 & exec sleep 1234'
    with in_a_place("sh", "-c", script) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert folder.is_dir()
        for controller in apart.CGROUPS.iterdir():
            if (controller / "cgroup.procs").exists() and not controller.is_symlink():
                (controller / folder.name / "pod").mkdir(parents=True)
        until(lambda: len(sleeping()) == 2, "both to run", 30)
        inside = sleeping()
        process.kill()
    assert psutil.wait_procs(inside, timeout=30)[1] == []
    assert folder.is_dir(), "a killed one can remove nothing"
    apart.sweep()
    until(lambda: not folder.exists(), "the folder to be gone", 5)
    assert list(apart.CGROUPS.glob(f"*/{folder.name}")) == []
    assert apart.inside() in list(Path(folder.parent).glob(f"{apart.PREFIX}*")), "which somebody still uses"

"""The owner's program before an end: run in bounds, and never in the way."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from dure_lab import hook

LOG = logging.getLogger("hook")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it goes."""
    monkeypatch.setenv("HOME", str(tmp_path))
    place = tmp_path / hook.PLACE
    place.parent.mkdir(parents=True)
    return place


def write(program: Path, script: str, mode: int = 0o700) -> None:
    program.write_text(script)
    program.chmod(mode)


def there(path: Path) -> bool:
    return path.exists()


async def test_it_is_told_why_and_until_when(program: Path) -> None:
    write(program, '#!/bin/sh\necho "$DURE_REASON $DURE_ENDS_AT $PWD"\necho oops >&2\nexit 3\n')
    ran = await hook.run("expired", "2026-01-01T00:00:00Z", 30, LOG)
    assert ran is not None
    assert (ran["exit"], ran["output"]) == (3, f"expired 2026-01-01T00:00:00Z {program.parents[2]}\noops\n")
    assert ran["seconds"] >= 0


async def test_only_the_last_of_what_it_says_is_kept(program: Path) -> None:
    write(program, "#!/bin/sh\nseq 1 100000\n")
    ran = await hook.run("expired", "", 60, LOG)
    assert ran is not None
    assert len(ran["output"]) == hook.TAIL
    assert ran["output"].endswith("99999\n100000\n")


async def test_one_that_takes_too_long_is_killed_with_all_it_started(program: Path) -> None:
    write(program, "#!/bin/sh\nsleep 600 &\necho $! $$\nwait\n")
    ran = await hook.run("expired", "", 0.5, LOG)
    assert ran is not None
    assert ran["exit"] is None
    for pid in map(int, ran["output"].split()):
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_what_it_leaves_in_the_background_is_not_waited_for(program: Path) -> None:
    write(program, "#!/bin/sh\nsleep 600 &\necho $!\n")
    ran = await hook.run("checkpoint", "", 60, LOG)
    assert ran is not None
    psutil.Process(int(ran["output"])).kill()
    assert ran["exit"] == 0


async def test_one_that_cannot_start_says_why(program: Path) -> None:
    write(program, "#!/no/such/interpreter\n")
    ran = await hook.run("expired", "", 30, LOG)
    assert ran is not None
    assert ran["exit"] is None
    assert "No such file" in ran["output"]


async def test_no_descriptor_is_left_open(program: Path) -> None:
    for script in ("#!/bin/sh\necho a\n", "#!/no/such/interpreter\n"):
        write(program, script)
        await hook.run("expired", "", 30, LOG)
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a folder of the kernel's
        for _ in range(3):
            await hook.run("expired", "", 30, LOG)
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def not_executable(program: Path, script: str) -> None:
    write(program, script, 0o600)


def a_link(program: Path, script: str) -> None:
    write(program.with_name("elsewhere"), script)
    program.symlink_to(program.with_name("elsewhere"))


def a_folder(program: Path, script: str) -> None:
    program.mkdir(0o700)


def somebody_elses(program: Path, script: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to give a file away")
    write(program, script, 0o755)
    os.chown(program, 12345, -1)


def nothing(program: Path, script: str) -> None:
    assert not program.exists()


@pytest.mark.parametrize("lay", [nothing, not_executable, a_link, a_folder, somebody_elses])
async def test_what_is_no_program_of_ones_own_does_not_run(
    program: Path, tmp_path: Path, lay: Callable[[Path, str], None]
) -> None:
    lay(program, f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    assert await hook.run("expired", "", 30, LOG) is None
    assert not there(tmp_path / "ran")


async def test_with_no_time_for_it_none_runs(program: Path) -> None:
    write(program, "#!/bin/sh\n")
    assert await hook.run("expired", "", 0, LOG) is None
    assert await hook.run("expired", "", 30, LOG) is not None

"""What leases use, by real processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from dure_hub.backends.base import Usage
from dure_hub.backends.embedded import EmbeddedInventory, limits, measures
from dure_hub.backends.embedded.measures import Look
from dure_hub.backends.embedded.processes import Spent, marks
from dure_hub.settings import Settings
from tests.unit.embedded.test_limits import lay

INSTANCE = os.urandom(6).hex()
BURN = "print(flush=True)\nwhile True: pass"
HOLD = "held = b'x' * (200 << 20)\nprint(flush=True)\ninput()"
# a child that has thrown its mark away, as a daemon or a container's init does
PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {HOLD!r}], env={{}})"


@contextmanager
def process(code: str, lease: str, kind: str) -> Iterator[None]:
    """A process with our mark, once it does what it is for."""
    environment = {**os.environ, **marks(INSTANCE, lease, kind)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        try:
            assert started.stdout.readline() == b"\n"
            yield
        finally:
            for child in psutil.Process(started.pid).children():
                child.kill()
            started.kill()


async def test_each_lease_is_measured_over_all_its_processes_of_any_kind(tmp_path: Path) -> None:
    inventory = EmbeddedInventory(Settings(data=tmp_path, instance=INSTANCE))
    with ExitStack() as running:
        running.enter_context(process(BURN, "burns", "job"))
        running.enter_context(process(HOLD, "holds", "server"))
        running.enter_context(process(HOLD, "holds", "server"))
        running.enter_context(process(PARENT, "parent", "model"))
        seen = await inventory.measure()
    assert set(seen.leases) == {"burns", "holds", "parent"}
    burns, holds, parent = (seen.leases[lease] for lease in ("burns", "holds", "parent"))
    assert burns.cpu_cores is not None
    assert holds.cpu_cores is not None
    assert 0.1 < burns.cpu_cores < 1.5, "one thread, on a machine that may be busy"
    assert holds.cpu_cores < 0.1
    assert holds.memory_mb is not None
    assert parent.memory_mb is not None
    assert 400 <= holds.memory_mb < 600
    assert 200 <= parent.memory_mb < 300
    assert seen.place.cpu_cores is not None
    assert seen.place.memory_mb is not None
    assert burns.cpu_cores * 0.5 < seen.place.cpu_cores <= limits.cores() * 1.2
    assert 600 < seen.place.memory_mb <= limits.memory_mb()


async def test_without_anything_of_ours_only_the_place_is_measured(tmp_path: Path) -> None:
    seen = await EmbeddedInventory(Settings(data=tmp_path, instance=os.urandom(6).hex())).measure()
    assert dict(seen.leases) == {}
    assert seen.place.memory_mb


def test_who_comes_goes_or_takes_anothers_number_is_not_counted() -> None:
    leases = {1: "a", 2: "a", 3: "b", 4: "c"}
    before = Look(10.0, leases, {1: Spent(7, 1.0, 5 << 20), 2: Spent(8, 1.0, 0), 3: Spent(9, 4.0, 1 << 20)})
    after = Look(10.5, leases, {1: Spent(7, 1.25, 6 << 20), 3: Spent(99, 0.1, 1 << 20), 4: Spent(1, 9.0, 1)})
    assert measures.compare(before, after) == {"a": Usage(0.5, 6)}


def test_what_cannot_be_known_of_the_place_is_not_zero() -> None:
    assert measures.place(Look(0, {}, {}), Look(1, {}, {})) == Usage(None, None)


def test_a_limited_place_counts_what_its_own_group_uses(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        proc__self__cgroup="0::/ann\n",
        sys__fs__cgroup__ann__cpu_DOT_max="50000 100000\n",
        sys__fs__cgroup__ann__cpu_DOT_stat="usage_usec 2500000\nuser_usec 1\n",
        sys__fs__cgroup__ann__memory_DOT_max=f"{512 << 20}\n",
        sys__fs__cgroup__ann__memory_DOT_current=f"{300 << 20}\n",
        sys__fs__cgroup__ann__memory_DOT_stat=f"anon 5\ninactive_file {100 << 20}\n",
    )
    assert limits.used(root) == limits.Used(2.5, 200)


def test_so_does_one_of_the_first_version(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        proc__self__cgroup="4:memory:/ann\n3:cpu,cpuacct:/ann\n",
        sys__fs__cgroup__cpu__ann__cpu_DOT_cfs_quota_us="50000\n",
        sys__fs__cgroup__cpu__ann__cpu_DOT_cfs_period_us="100000\n",
        sys__fs__cgroup__cpu__ann__cpuacct_DOT_usage="3000000000\n",
        sys__fs__cgroup__memory__ann__memory_DOT_limit_in_bytes=f"{512 << 20}\n",
        sys__fs__cgroup__memory__ann__memory_DOT_usage_in_bytes=f"{300 << 20}\n",
        sys__fs__cgroup__memory__ann__memory_DOT_stat=f"inactive_file 1\ntotal_inactive_file {50 << 20}\n",
    )
    assert limits.used(root) == limits.Used(3.0, 250)


def test_a_limit_without_a_count_is_unknown(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        proc__self__cgroup="0::/ann\n",
        sys__fs__cgroup__ann__cpu_DOT_max="50000 100000\n",
        sys__fs__cgroup__ann__memory_DOT_max=f"{512 << 20}\n",
    )
    assert limits.used(root) == limits.Used(None, None)

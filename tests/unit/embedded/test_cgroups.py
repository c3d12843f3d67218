"""Where control groups are made and what is written into them, in both versions, on a tree of plain files."""

from __future__ import annotations

from pathlib import Path

import pytest

from dure_hub.backends.embedded import cgroups
from dure_hub.isolation import confine


def tree(root: Path, own: str, **files: str) -> Path:
    """A fake /proc and /sys, `__` for a slash and `_DOT_` for a dot."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(own)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def candidates(root: Path) -> list[cgroups.Layout]:
    """What would be tried, in this order."""
    return list(cgroups._candidates(root))


def test_version_2_is_tried_in_our_own_group_then_in_the_units_then_at_the_root(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        "0::/system.slice/dure.service/portal\n",
        cgroup_DOT_controllers="cpu memory pids io\n",
        system_DOT_slice__dure_DOT_service__cgroup_DOT_controllers="cpu memory pids\n",
        system_DOT_slice__dure_DOT_service__portal__cgroup_DOT_controllers="cpu memory\n",
    )
    mount = root / "sys/fs/cgroup"
    unit = mount / "system.slice/dure.service"
    found = candidates(root)
    assert [one.places["memory"] for one in found] == [unit / "portal", unit, mount]
    assert [set(one.places) for one in found] == [
        {"memory", "cpu"},
        {*cgroups.CONTROLLERS},
        {*cgroups.CONTROLLERS},
    ]


def test_the_slice_of_a_login_is_passed_over(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        "0::/user.slice/user-0.slice/session-3.scope\n",
        cgroup_DOT_controllers="cpu memory pids\n",
        user_DOT_slice__user___0_DOT_slice="",
    )
    mount = root / "sys/fs/cgroup"
    assert [one.places["memory"] for one in candidates(root)] == [mount]


def test_version_1_has_a_place_for_each_controller_and_may_lack_pids(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        "4:memory:/docker/abc\n3:cpu,cpuacct:/\n",
        memory__docker__abc__tasks="",
        cpu__tasks="",
    )
    (found,) = candidates(root)
    mount = root / "sys/fs/cgroup"
    assert (found.version, found.places) == (1, {"memory": mount / "memory/docker/abc", "cpu": mount / "cpu"})


def test_one_folder_of_version_2_holds_all_limits(tmp_path: Path) -> None:
    layout = cgroups.Layout(2, dict.fromkeys(cgroups.CONTROLLERS, tmp_path))
    (group,) = layout.plan("p", "lease", 4.0, 1024)
    assert group == {
        "folder": str(tmp_path / "dure-p" / "lease"),
        "above": {"cgroup.subtree_control": "+memory +cpu +pids"},
        "limits": {
            "memory.max": str(1 << 30),
            "cpu.max": "400000 100000",
            "cpu.weight": "400",
            "pids.max": str(cgroups.PROCESSES),
        },
    }


def test_version_1_writes_each_limit_where_its_controller_is(tmp_path: Path) -> None:
    layout = cgroups.Layout(1, {"memory": tmp_path / "m", "cpu": tmp_path / "c"})
    memory, cpu = layout.plan("p", "lease", 2.0, 64)
    assert (memory["folder"], memory["limits"]) == (
        str(tmp_path / "m/dure-p/lease"),
        {"memory.limit_in_bytes": str(64 << 20)},
    )
    assert cpu["limits"] == {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "200000", "cpu.shares": "2048"}
    assert memory["above"] == cpu["above"] == {}


def test_nobody_is_kept_to_less_than_a_core_and_half_a_core_counts_half(tmp_path: Path) -> None:
    (group,) = cgroups.Layout(2, dict.fromkeys(cgroups.CONTROLLERS, tmp_path)).plan("p", "lease", 0.5, None)
    assert (group["limits"]["cpu.max"], group["limits"]["cpu.weight"]) == ("100000 100000", "50")
    assert "memory.max" not in group["limits"]


def test_where_nothing_can_be_made_the_reason_is_told(tmp_path: Path) -> None:
    assert cgroups.find("p", tree(tmp_path, "")) == cgroups.Layout(0, {}, "no control groups are mounted")
    mount = tmp_path / "sys/fs/cgroup"
    mount.mkdir(parents=True)
    (mount / "cgroup.controllers").write_text("memory cpu pids\n")
    found = cgroups.find("p", tmp_path)  # the files that the kernel would have made are not there
    assert (found.version, found.places) == (0, {})
    assert "cgroup.subtree_control" in found.why
    assert not (mount / "dure-p").exists()


@pytest.mark.parametrize(
    ("name", "text", "lacked"),
    [
        ("memory.events", "low 0\noom 2\noom_kill 1\n", True),
        ("memory.events", "low 0\noom 0\noom_kill 0\n", False),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", True),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", False),
    ],
)
def test_a_kill_for_want_of_memory_is_read_in_both_versions(
    tmp_path: Path, name: str, text: str, lacked: bool
) -> None:
    (tmp_path / name).write_text(text)
    assert confine.out_of_memory({"cgroups": [{"folder": str(tmp_path)}]}) is lacked

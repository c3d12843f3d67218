"""What a fleet offers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dure_hub.catalogue import grids
from dure_hub.catalogue.machine import Gpu, Machine, MigInstance
from dure_hub.catalogue.profiles import FRACTIONS, ProfileSpec, profiles, replicas
from dure_hub.catalogue.rates import GIVEN, MICRO
from dure_hub.policies.board import Board
from dure_hub.settings import Settings

NOW = datetime(2026, 11, 25, tzinfo=UTC)
SETTINGS = Settings()


def node(*gpus: Gpu, name: str = "a") -> Machine:
    return Machine(64.0, 512 * 1024, gpus, name)


def h100(number: int, **more: Any) -> Gpu:
    return Gpu(f"h{number}", "NVIDIA H100", 81920, "h100-sxm-80", **more)


def a100(number: int, **more: Any) -> Gpu:
    return Gpu(f"a{number}", "NVIDIA A100", 81920, "a100-sxm-80", **more)


def offered(*nodes: Machine, settings: Settings = SETTINGS) -> dict[str, ProfileSpec]:
    return profiles(nodes, settings, GIVEN, NOW)


def test_whole_gpus_come_in_groups_that_one_node_has() -> None:
    found = offered(node(*(h100(n) for n in range(4))), node(*(h100(n) for n in range(4, 6)), name="b"))
    assert list(found) == ["gpu-full", "gpu-full-x2", "gpu-full-x4", "cpu"]
    assert found["gpu-full-x4"].rate == 32 * MICRO
    assert found["gpu-full-x4"].gpus == 4


def test_with_several_models_names_say_which() -> None:
    found = offered(node(h100(0), a100(0)))
    assert list(found) == ["gpu-full-a100-sxm-80", "gpu-full-h100-sxm-80", "cpu"]


def test_a_model_that_drivers_give_two_names_is_one_profile_with_every_gpu_of_it() -> None:
    """An A800 is an A100 of the catalogue; grouped by name, one of the two hid the other."""
    named = Gpu("a8", "NVIDIA A800-SXM4-80GB", 81920, "a100-sxm-80")
    nodes = (node(a100(0), a100(1)), node(named, name="b"))
    found = offered(*nodes)
    assert list(found) == ["gpu-full", "gpu-full-x2", "cpu"]
    assert Board(nodes).count(found["gpu-full"]) == 3


def test_models_whose_names_look_alike_in_a_profile_keep_a_profile_each() -> None:
    found = offered(node(Gpu("x", "Weird 9"), Gpu("y", "weird-9"), Gpu("z", "H100 SXM 80"), h100(0)))
    models = {name: spec.gpu_model for name, spec in found.items()}
    assert models == {
        "gpu-full-h100-sxm-80": "NVIDIA H100",
        "gpu-full-h100-sxm-80-2": "H100 SXM 80",
        "gpu-full-weird-9": "Weird 9",
        "gpu-full-weird-9-2": "weird-9",
        "cpu": None,
    }


def test_a_part_of_a_gpu_on_a_small_node_never_comes_with_nothing() -> None:
    small = Machine(2.0, 1024, tuple(Gpu(f"r{n}", "RTX", 24564, "rtx-4090", replicas=48) for n in range(8)), "s")
    found = offered(small, settings=Settings(gpu_sharing="time-slice", gpu_replicas=48))["gpu-shared"]
    assert found.cpu_cores > 0
    assert found.memory_mb > 0


def test_a_model_that_nobody_knows_is_offered_without_a_price() -> None:
    found = offered(node(Gpu("x", "Weird GPU 9", None)))
    assert found["gpu-full"].rate is None
    assert found["gpu-full"].gpu_memory_mb is None


def test_instances_that_exist_are_offered_and_with_dynamic_all_that_may_be_made() -> None:
    fixed = h100(0, grid=grids.H100_80, instances=(MigInstance("1g.10gb", 0),))
    assert list(offered(node(fixed))) == ["mig-1g.10gb", "cpu"]
    moving = h100(0, grid=grids.H100_80, dynamic=True)
    assert set(offered(node(moving))) == {f"mig-{one.name}" for one in grids.H100_80.profiles} | {"cpu"}


def test_one_name_is_never_two_models_at_two_prices() -> None:
    nodes = node(h100(0, grid=grids.H100_80, dynamic=True), a100(0, grid=grids.A100_80, dynamic=True))
    found = offered(nodes)
    assert found["mig-3g.40gb-h100-sxm-80"].rate == 4 * MICRO
    assert found["mig-3g.40gb-a100-sxm-80"].rate == 3 * MICRO
    assert "mig-3g.40gb" not in found


def test_a_shared_gpu_is_offered_in_shares_and_says_who_keeps_its_memory() -> None:
    by_time = Settings(gpu_sharing="time-slice", gpu_replicas=4)
    found = offered(node(h100(0, replicas=4)), settings=by_time)
    assert list(found) == ["gpu-shared", "cpu"]
    assert (found["gpu-shared"].share, found["gpu-shared"].enforced) == (250, False)
    assert found["gpu-shared"].rate == 2 * MICRO
    assert "agreed" in found["gpu-shared"].description["en"]
    by_mps = offered(node(h100(0, replicas=4, mps=True)), settings=Settings(gpu_sharing="mps"))
    assert by_mps["gpu-shared"].enforced is True
    assert "dev/shm" not in by_mps["gpu-shared"].description["en"]


def test_on_a_cluster_a_share_by_mps_says_whose_its_shared_memory_is() -> None:
    cluster = Settings(backend="kubernetes", server_image="registry.example/lab:1")
    for mps in (True, False):
        described = offered(node(h100(0, replicas=4, mps=mps)), settings=cluster)["gpu-shared"].description
        assert {language: "dev/shm" in text for language, text in described.items()} == {"en": mps, "ko": mps}


MEMORY = Settings(gpu_sharing="memory")
CARD = Gpu("r0", "NVIDIA RTX 4090", 24564, "rtx-4090", replicas=replicas(24564, MEMORY))


@pytest.mark.parametrize(("name", "holders"), list(zip(FRACTIONS, (6, 3, 2, 1, 1), strict=True)))
def test_a_24_gb_card_has_so_many_holders(name: str, holders: int) -> None:
    machine = node(CARD)
    spec = offered(machine, settings=MEMORY)[name]
    board = Board([machine])
    for _ in range(holders):
        placed = board.place(spec)
        assert placed.verdict.allowed
        board.take(placed.slices)
    assert not board.place(spec).verdict.allowed


def test_parts_of_a_card_are_mixed_as_long_as_its_memory_reaches() -> None:
    machine = node(CARD)
    found = offered(machine, settings=MEMORY)
    board = Board([machine])
    for name in ("PROF-12Q", "PROF-8Q", "PROF-4Q"):
        placed = board.place(found[name])
        assert placed.verdict.allowed, name
        board.take(placed.slices)
    assert not board.place(found["PROF-4Q"]).verdict.allowed


@pytest.mark.parametrize("memory_mb", [24576, 24564, 23034, 23028])
def test_what_drivers_show_of_24_gb_is_shared_by_memory(memory_mb: int) -> None:
    """An RTX 3090, an RTX 4090, an L4, an A10: the last two keep their ECC in their memory."""
    assert replicas(memory_mb, MEMORY) == 6


def test_a_card_whose_memory_nobody_knows_stays_whole_beside_shared_ones_of_its_model() -> None:
    found = offered(node(CARD, Gpu("r1", "NVIDIA RTX 4090", None, "rtx-4090")), settings=MEMORY)
    assert list(found) == ["gpu-full", *FRACTIONS, "cpu"]


def test_words_say_with_whom_a_gpu_is_shared() -> None:
    shared = node(h100(0, replicas=4))
    own = offered(shared, settings=Settings(gpu_sharing="time-slice"))["gpu-shared"].description
    any_team = Settings(gpu_sharing="time-slice", share_across_teams=True)
    all_of = offered(shared, settings=any_team)["gpu-shared"].description
    assert "others of your team" in own["en"]
    assert "팀의 다른 사람과" in own["ko"]
    assert "team" not in all_of["en"]
    assert "팀" not in all_of["ko"]


def test_a_card_of_another_size_is_not_shared_by_memory() -> None:
    assert replicas(81920, MEMORY) == replicas(None, MEMORY) == 0
    assert replicas(81920, Settings(gpu_sharing="mps", gpu_replicas=7)) == 7
    assert replicas(24564, SETTINGS) == 0


def test_every_profile_has_words_in_both_languages_and_something_to_compute_on() -> None:
    nodes = node(
        h100(0, grid=grids.H100_80, dynamic=True), a100(1), Gpu("r", "RTX", 24564, "rtx-4090", replicas=4)
    )
    for spec in offered(nodes, settings=Settings(gpu_sharing="time-slice")).values():
        assert set(spec.title) == set(spec.description) == {"en", "ko"}
        assert spec.cpu_cores > 0
        assert spec.memory_mb > 0

"""The board: where a holder goes, why it is refused, and the promises for every sequence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dure_hub.catalogue.machine import Gpu
from dure_hub.policies.board import Board
from dure_hub.policies.slices import Slice, Wish
from tests.unit.policies.grids import A30, A100, cut, mig, node, spec

H100 = "NVIDIA H100"
WHOLE = spec("gpu-full", gpus=1, gpu_model=H100)
FOUR = spec("gpu-full-x4", gpus=4, gpu_model=H100)
SHARED = spec("gpu-shared", share=250, sharing="time-slice", gpu_model=H100)


def h100(uuid: str, group: str = "", replicas: int = 0) -> Gpu:
    return Gpu(uuid, H100, 81920, group=group, replicas=replicas)


def test_an_instance_is_made_where_most_placements_stay_open() -> None:
    for name, start in {"1g.10gb": 6, "1g.20gb": 6, "2g.20gb": 4, "3g.40gb": 4, "4g.40gb": 0}.items():
        placed = Board([node(cut("a"))]).place(mig(name))
        assert placed.slices == (Slice("a", 1, 1024, mig=name, start=start),), name


def test_an_existing_instance_is_taken_before_one_is_made_as_good() -> None:
    board = Board([node(cut("a"), cut("b", ("1g.10gb", 6)))])
    assert board.place(mig("1g.10gb")).slices[0].visible == "b/1g.10gb@6"


def test_without_dynamic_mig_only_what_exists_can_be_had() -> None:
    board = Board([node(cut("a", ("3g.40gb", 0), ("1g.10gb", 4), dynamic=False))])
    first = board.place(mig("1g.10gb"))
    assert (first.slices[0].start, first.slices[0].visible) == (4, "a/1g.10gb@4")
    board.take(first.slices)
    assert board.place(mig("1g.10gb")).verdict.code == "no_slice_free"
    assert board.place(mig("2g.20gb")).verdict.code == "never_fits"


def test_a_free_instance_in_the_way_is_no_obstacle_a_held_one_is() -> None:
    machine = node(cut("a", ("3g.40gb", 0), ("3g.40gb", 4)))
    assert Board([machine]).place(mig("7g.80gb")).verdict.allowed
    board = Board([machine], [Slice("a", 1, 1024, mig="3g.40gb", start=4)])
    refused = board.place(mig("7g.80gb"))
    assert (refused.verdict.code, refused.verdict.facts["mig"]) == ("no_slice_free", "7g.80gb")
    assert board.place(mig("4g.40gb")).slices[0].start == 0


def test_a_small_instance_goes_where_a_large_one_does_not_fit_any_more() -> None:
    held = [Slice("b", 1, 1024, mig="1g.10gb", start=6)]
    assert Board([node(cut("a"), cut("b"))], held).place(mig("1g.10gb")).slices[0].device == "b"


def test_one_media_engine_instance_a_gpu() -> None:
    board = Board([node(cut("a"), cut("b"))])
    for _ in range(2):
        board.take(board.place(mig("1g.10gb+me")).slices)
    assert board.place(mig("1g.10gb+me")).verdict.code == "no_slice_free"
    assert board.count(mig("1g.10gb")) == 12


def test_a_gpu_in_mig_mode_is_never_given_whole_nor_a_whole_one_cut() -> None:
    board = Board([node(cut("a"), h100("h"))])
    assert board.count(spec("any", gpus=1)) == 1
    assert board.place(spec("any", gpus=1)).slices[0].device == "h"
    assert board.place(spec("a100", gpus=1, gpu_model=A100.name)).verdict.code == "never_fits"


@pytest.mark.parametrize(("broken", "whole"), ["xy", "yx"])
def test_several_gpus_of_one_job_are_joined_by_one_nvlink_group(broken: str, whole: str) -> None:
    gpus = [h100(f"{group}{n}", group) for n in range(4) for group in "xy"]
    board = Board([node(*gpus)], [Slice(f"{broken}0", 1, 1024)])
    assert {piece.device for piece in board.place(FOUR).slices} == {f"{whole}{n}" for n in range(4)}
    # and a single one leaves the whole group alone
    assert board.place(WHOLE).slices[0].device.startswith(broken)
    # where no group has four, the largest gives what it has
    both = Board(
        [node(*gpus)], [Slice(f"{broken}0", 1, 1024), Slice(f"{broken}1", 1, 1024), Slice(f"{whole}0", 1, 1)]
    )
    assert sorted(piece.device[0] for piece in both.place(FOUR).slices).count(whole) == 3


def test_gpus_of_one_job_are_on_one_node() -> None:
    board = Board([node(*(h100(f"{n}{m}") for m in range(3)), name=f"n{n}") for n in range(2)])
    refused = board.place(FOUR).verdict
    assert (refused.code, refused.facts["total"]) == ("never_fits", 0)
    board = Board([node(*(h100(f"{m}") for m in range(4)), name="n")], [Slice("0", 1, 1024, "n")])
    facts = board.place(FOUR).verdict.facts
    assert (facts["free"], facts["free_on_one_node"], facts["asked_gpus"]) == (3, 3, 4)


def test_shares_fill_a_shared_gpu_before_the_next_and_never_a_whole_one() -> None:
    board = Board([node(h100("a", replicas=4), h100("b", replicas=4))])
    for number in range(4):
        placed = board.place(SHARED).slices
        assert (placed[0].device, placed[0].share) == ("a", 250), number
        board.take(placed)
    whole = board.place(WHOLE).slices
    assert whole[0].device == "b"
    board.take(whole)
    assert board.place(SHARED).verdict.code == "no_slice_free"
    assert board.place(WHOLE).verdict.code == "no_gpu_free"


def test_shares_go_where_shares_are_and_whole_gpus_where_none_is() -> None:
    board = Board([node(h100("a", replicas=4), h100("b", replicas=4))], [Slice("b", 1, 1024, share=250)])
    assert board.place(SHARED).slices[0].device == "b"
    assert board.place(WHOLE).slices[0].device == "a"
    board.take(board.place(WHOLE).slices)
    assert board.place(WHOLE).verdict.code == "no_gpu_free"
    assert board.count(SHARED) == 3


def test_what_is_asked_for_decides_what_is_kept_free() -> None:
    half = spec("half", share=500, sharing="time-slice", gpu_model=H100)
    machine = node(h100("a", replicas=4), h100("b", replicas=4))
    held = [Slice("a", 1, 1024, share=250), Slice("b", 1, 1024, share=500)]
    # 750 and 500 thousandths are free: best fit would take from b, which a half then no longer fits
    assert Board([machine], held, [(half, 1)]).place(SHARED).slices[0].device == "a"
    assert Board([machine], held, [(SHARED, 1)]).place(SHARED).slices[0].device == "b"


def test_no_more_holders_than_replicas_however_small() -> None:
    small = spec("small", share=100, sharing="time-slice", gpu_model=H100)
    board = Board([node(h100("a", replicas=3))])
    for left in (3, 2, 1, 0):
        assert board.count(small) == left
        board.take(board.place(small).slices)
    assert board.place(small).verdict.code == "no_slice_free"
    assert Board([node(h100("a"))]).place(small).verdict.code == "never_fits"
    assert Board([node(h100("a", replicas=3))]).count(spec("mps", share=100, sharing="mps")) == 0


def test_another_team_shares_only_where_that_is_allowed() -> None:
    board = Board([node(h100("a", replicas=4))])
    board.take(board.place(SHARED, Wish(team="blue")).slices)
    assert board.place(SHARED, Wish(team="blue")).verdict.allowed
    refused = board.place(SHARED, Wish(team="red")).verdict
    assert (refused.code, refused.facts["profile"]) == ("other_team_shares", "gpu-shared")
    assert board.place(SHARED, Wish(team="red", share_across_teams=True)).verdict.allowed
    assert (board.count(SHARED), board.count(SHARED, Wish(team="blue"))) == (0, 3)


def test_replicas_go_to_other_nodes_then_to_other_gpus() -> None:
    board = Board([node(h100("a0"), h100("a1"), name="a"), node(h100("b0"), name="b")])
    apart: frozenset[str] = frozenset()
    seen = []
    for _ in range(3):
        (piece,) = board.place(SHARED_ANY, Wish(apart=apart)).slices
        seen.append((piece.node, piece.device))
        apart |= {piece.node, piece.device}
    assert {seen[0][0], seen[1][0]} == {"a", "b"}
    assert len({device for _, device in seen}) == 3
    assert board.place(SHARED_ANY, Wish(apart=apart)).verdict.allowed


SHARED_ANY = spec("whole", gpus=1)


def test_a_node_for_gpus_only_takes_nobody_without_one() -> None:
    plain = spec("plain")
    board = Board([replace(node(h100("a"), name="a"), gpus_only=True)])
    assert board.count(plain) == board.total(plain) == 0
    assert not board.place(plain).verdict.allowed
    assert board.place(WHOLE).slices[0].node == "a"
    both = Board([replace(node(h100("a"), name="a"), gpus_only=True), node(name="b")])
    assert {both.place(plain).slices[0].node for _ in range(3)} == {"b"}


def test_a_pool_is_the_nodes_of_it_and_those_for_anything() -> None:
    board = Board([node(h100("a"), name="a", pool="training"), node(h100("b"), name="b")])
    board.take(board.place(WHOLE, Wish(pool="inference")).slices)
    assert board.place(WHOLE, Wish(pool="inference")).verdict.code == "no_gpu_free"
    assert board.place(WHOLE, Wish(pool="training")).slices[0].node == "a"
    assert board.place(WHOLE).slices[0].node == "a"


def test_cpu_goes_where_it_takes_nothing_from_gpus() -> None:
    board = Board([node(h100("a"), name="a", cores=8), node(name="b", cores=8)])
    assert board.place(spec("cpu", cores=2)).slices == (Slice("cpu", 2, 1024, "b"),)


def test_a_part_of_a_gpu_that_is_free_keeps_its_part_of_the_node() -> None:
    machine = node(h100("a", replicas=2), cores=8, memory_mb=8192)
    half = spec("half", cores=2, memory_mb=2048, share=500, sharing="time-slice", gpu_model=H100)
    board = Board([machine])
    assert board.count(spec("cpu")) == 4
    board.take(board.place(half).slices)
    assert board.count(spec("cpu")) == 4
    board.take(board.place(half).slices)
    assert board.count(spec("cpu")) == 4


def test_slices_of_what_is_gone_count_on_their_node_alone() -> None:
    machines = [node(name="a", cores=8), node(name="b", cores=8)]
    board = Board(machines, [Slice("gone", 6, 1024, "a"), Slice("cpu", 6, 1024, "left")])
    assert board.count(spec("cpu")) == 10


def test_what_was_granted_before_nodes_had_names_counts_on_the_only_one() -> None:
    assert Board([node(name="a", cores=8)], [Slice("cpu", 6, 1024)]).count(spec("cpu")) == 2


def test_what_is_not_held_cannot_be_given_back() -> None:
    with pytest.raises(ValueError, match="not in list"):
        Board([node(h100("a"))]).give_back([Slice("a", 1, 1024)])


def test_the_next_best_is_the_nearest_with_room() -> None:
    board = Board([node(cut("a"), h100("h"))], [Slice("h", 1, 1024)])
    offered = {one.name: one for one in (WHOLE, mig("3g.40gb", gpu_memory_mb=40000), spec("cpu"))}
    assert board.next_best("gpu-full", offered) == "mig-3g.40gb"
    board.take(board.place(mig("7g.80gb")).slices)
    assert board.next_best("gpu-full", offered) == "cpu"


def test_grids_of_one_name_are_kept_apart() -> None:
    board = Board([node(cut("a"), cut("b", grid=A30))])
    assert (board.count(mig("2g.12gb")), board.count(mig("2g.20gb"))) == (2, 3)


def test_only_the_nodes_of_a_home_will_do_and_the_refusal_names_them() -> None:
    board = Board([node(h100(name), name=name) for name in "abcde"])
    wish = Wish(nodes=frozenset("c"))
    placed = board.place(WHOLE, wish)
    assert placed.slices[0].node == "c"
    assert (board.count(WHOLE, wish), board.total(WHOLE, wish), board.count(WHOLE)) == (1, 1, 5)
    board.take(placed.slices)
    refused = board.place(WHOLE, wish).verdict
    assert (refused.code, refused.facts["nodes"], refused.facts["total"]) == ("home_bound", "c", 1)
    assert board.place(WHOLE, Wish(nodes=frozenset())).verdict.facts["nodes"] == "-"
    several = board.place(FOUR, Wish(nodes=frozenset("abcd"))).verdict
    assert (several.code, several.facts["nodes"]) == ("home_bound", "a, b, c (+1)")


def test_nodes_that_may_not_have_it_are_left_out_also_of_those_that_alone_will_do() -> None:
    board = Board([node(h100(name), name=name) for name in "ab"])
    assert board.place(WHOLE, Wish(without=frozenset("a"))).slices[0].node == "b"
    assert board.count(WHOLE, Wish(without=frozenset("a"))) == 1
    assert not board.place(WHOLE, Wish(nodes=frozenset("a"), without=frozenset("a"))).verdict.allowed
    assert board.place(WHOLE).slices[0].node == "a", "others' wishes are their own"

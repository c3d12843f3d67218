"""A start that is given up at any step: what has come of it is seen, asked for again, and ended."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from dure_hub.backends.base import Handle, Kind, Phase, Reason, Work
from tests.contract.backends.kit import Place

STEPS = (0, 1, 2, 3, 5, 8, 13, 21, 34)
"""After how many turns of the event loop it is given up: before anything was asked, in the middle, and later."""


async def given_up(place: Place, work: Work, turns: int) -> None:
    """Start it, and cancel that after so many turns of the event loop."""
    starting = asyncio.create_task(place.start(work))
    for _ in range(turns):
        await asyncio.sleep(0)
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await starting


async def test_what_was_given_up_at_any_step_can_be_asked_for_again(place: Place) -> None:
    works = [place.work(Kind.SERVER) for _ in STEPS]
    await asyncio.gather(*(given_up(place, work, turns) for work, turns in zip(works, STEPS, strict=True)))
    handles = await asyncio.gather(*(place.start(work) for work in works))
    facts = [await place.facts(handle) for handle in handles]
    assert len({one["own"] for one in facts}) == len(works)
    seen = await place.servers().seen()
    assert sorted(one.handle.lease for one in seen) == sorted(work.lease for work in works)
    assert {one.phase for one in seen} == {Phase.RUNNING}


async def test_what_was_given_up_half_way_is_found_and_ended_by_whoever_looks(place: Place) -> None:
    """By its first handle, which is all that a hub may have kept, or by none at all."""
    work = place.work(Kind.SERVER)
    start = place.handles(work)
    first = await anext(start)
    await start.aclose()  # type: ignore[attr-defined]
    assert [one.handle.lease for one in await place.servers().seen()] == [work.lease]
    recalled = place.servers().recall(work.lease)
    assert recalled is not None
    assert (await place.servers().poll(recalled[0])).phase is Phase.RUNNING
    await place.servers().stop(first, grace_s=5)
    for handle in (first, recalled[0]):
        seen = await place.servers().poll(handle)
        assert (seen.phase, seen.reason) == (Phase.EXITED, Reason.STOPPED)


@pytest.mark.parametrize("kind", [Kind.SERVER, Kind.MODEL, Kind.EXECUTION])
async def test_two_backends_that_stop_and_forget_at_once_do_it_once(place: Place, kind: Kind) -> None:
    handle = await place.start(place.work(kind))
    await place.facts(handle)
    one, other = place.runs(kind), place.runs(kind)
    await asyncio.gather(one.stop(handle, grace_s=5), other.stop(handle, grace_s=5))
    assert (await one.poll(handle)).reason == Reason.STOPPED
    await asyncio.gather(one.forget(handle), other.forget(handle))
    assert (await other.poll(handle)).phase is Phase.GONE
    assert list(await one.seen()) == []


async def test_one_of_two_portals_neither_sees_nor_ends_what_the_other_runs(place: Place) -> None:
    handle = await place.start(place.work(Kind.SERVER))
    await place.facts(handle)
    ours, bare = place.settings, Handle(handle.lease, handle.kind)
    place.settings = ours.model_copy(update={"instance": "another", "data": ours.data.with_name("another")})
    try:
        assert list(await place.servers().seen()) == []
        await place.servers().stop(bare, grace_s=0)
        await place.servers().forget(bare)
        assert (await place.servers().poll(bare)).phase is Phase.GONE
    finally:
        place.settings = ours
    assert (await place.servers().poll(handle)).phase is Phase.RUNNING

"""What every backend promises of servers, jobs, model servers and notebooks, with real processes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx
import pytest

from dure_hub.backends.base import REASONS, Handle, Kind, Phase, Reason, StillRuns
from tests.contract.backends.kit import EmbeddedPlace, Place, until

ALL = pytest.mark.parametrize("kind", list(Kind))
PLAIN = pytest.mark.parametrize("kind", [Kind.SERVER, Kind.MODEL, Kind.EXECUTION])


@ALL
async def test_what_is_started_is_seen_and_stopped_by_a_backend_that_did_not_start_it(
    place: Place, kind: Kind
) -> None:
    handle = await place.start(place.work(kind))
    await place.facts(handle)
    assert set(await place.marks()) == {handle.lease}

    seen = {one.handle.lease: one for one in await place.runs(kind).seen()}
    assert seen[handle.lease].phase is Phase.RUNNING
    assert seen[handle.lease].exit_code is None
    assert seen[handle.lease].started is not None
    assert (await place.runs(kind).poll(handle)).phase is Phase.RUNNING

    await place.runs(kind).stop(seen[handle.lease].handle, grace_s=10)
    after = await place.runs(kind).poll(handle)
    assert (after.phase, after.reason, after.exact) == (Phase.EXITED, Reason.STOPPED, True)
    assert after.ended_ago_s is not None

    await place.runs(kind).forget(handle)
    assert (await place.runs(kind).poll(handle)).phase is Phase.GONE
    assert list(await place.runs(kind).seen()) == []


@ALL
async def test_one_kind_does_not_see_another(place: Place, kind: Kind) -> None:
    other = Kind.MODEL if kind is Kind.SERVER else Kind.SERVER
    await place.start(place.work(other))
    assert list(await place.runs(kind).seen()) == []


@ALL
async def test_a_failure_is_seen_as_one(place: Place, kind: Kind) -> None:
    handle = await place.start(place.work(kind, "exit 3"))
    seen = await place.ended(handle)
    assert seen.reason == Reason.FAILED
    assert seen.exit_code == 3


@PLAIN
@pytest.mark.parametrize(
    ("stub", "code", "reason"), [("exit 0", 0, Reason.FINISHED), ("kill 9", -9, Reason.KILLED)]
)
async def test_exit_codes_and_signals_are_kept(
    place: Place, kind: Kind, stub: str, code: int, reason: Reason
) -> None:
    seen = await place.ended(await place.start(place.work(kind, stub)))
    assert (seen.exit_code, seen.reason) == (code, reason)
    assert seen.exact
    again = await place.runs(kind).poll(seen.handle)
    assert seen.ended_ago_s is not None
    assert again.ended_ago_s is not None
    assert again.ended_ago_s > seen.ended_ago_s, "the end stays where it was"


async def test_every_reason_has_its_sentences() -> None:
    assert set(REASONS) == set(Reason)
    assert all(set(text) == {"en", "ko"} for text in REASONS.values())


async def test_what_cannot_be_executed_says_so_in_its_log(place: Place) -> None:
    handle = await place.start(place.work(Kind.SERVER, command=["/no/such/program"]))
    seen = await place.ended(handle)
    assert (seen.exit_code, seen.reason) == (None, Reason.NOT_EXECUTABLE)
    assert "/no/such/program" in (await place.servers().log(handle, 0, 1000)).text


@PLAIN
async def test_a_second_start_with_the_same_lease_gives_the_first(place: Place, kind: Kind) -> None:
    work = place.work(kind)
    first, *others = await asyncio.gather(*(place.start(work) for _ in range(8)))
    assert others == [first] * 7
    assert await place.start(work) == first
    facts = await place.facts(first)
    assert (await place.facts(await place.start(work)))["own"] == facts["own"]
    assert [one.handle.lease for one in await place.runs(kind).seen()] == [work.lease]


@PLAIN
async def test_a_lease_that_has_ended_is_not_started_again(place: Place, kind: Kind) -> None:
    work = place.work(kind, "exit 4")
    handle = await place.start(work)
    await place.ended(handle)
    again = await place.start(replace(work, environment={**work.environment, "STUB": "serve"}))
    assert (await place.runs(kind).poll(again)).exit_code == 4


@PLAIN
async def test_who_ignores_sigterm_is_killed_after_the_grace(place: Place, kind: Kind) -> None:
    handle = await place.start(place.work(kind, "stubborn"))
    await place.facts(handle)
    await place.runs(kind).stop(handle, grace_s=0.2)
    seen = await place.runs(kind).poll(handle)
    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.EXITED, -9, Reason.STOPPED)


async def test_a_second_stop_may_be_less_patient(place: Place) -> None:
    handle = await place.start(place.work(Kind.SERVER, "stubborn"))
    await place.facts(handle)
    patient = asyncio.create_task(place.servers().stop(handle, grace_s=600))
    await asyncio.sleep(0)
    await place.servers().stop(handle, grace_s=0)
    await asyncio.wait_for(patient, timeout=60)


@PLAIN
async def test_stopping_what_is_gone_is_no_error(place: Place, kind: Kind) -> None:
    await place.runs(kind).stop(Handle("never-was", kind, {"port": 1}), grace_s=0)
    handle = await place.start(place.work(kind, "exit 0"))
    await place.ended(handle)
    await place.runs(kind).stop(handle, grace_s=0)
    assert (await place.runs(kind).poll(handle)).reason == Reason.FINISHED
    await place.runs(kind).forget(handle)
    await place.runs(kind).forget(handle)
    await place.runs(kind).stop(handle, grace_s=0)


@pytest.mark.parametrize("kind", list(Kind))
async def test_what_never_was_is_gone_and_everything_takes_it_for_that(place: Place, kind: Kind) -> None:
    """Also of a kind that does not run here."""
    never = Handle("01J00000000000000000000000", kind)
    for _ in range(2):
        assert (await place.runs(kind).poll(never)).phase is Phase.GONE
        await place.runs(kind).stop(never, grace_s=0)
        await place.runs(kind).forget(never)
    assert list(await place.runs(kind).seen()) == []


@PLAIN
async def test_what_runs_is_not_forgotten(place: Place, kind: Kind) -> None:
    handle = await place.start(place.work(kind))
    with pytest.raises(StillRuns):
        await place.runs(kind).forget(handle)
    assert (await place.runs(kind).poll(handle)).phase is Phase.RUNNING


async def test_many_starts_at_once_have_each_an_address_of_their_own(place: Place) -> None:
    works = [place.work(Kind.SERVER, command=place.waits()) for _ in range(place.many)]
    handles = await asyncio.gather(*(place.start(work) for work in works))
    assert len({place.servers().address(handle) for handle in handles}) == place.many
    assert {one.phase for one in await place.servers().seen()} == {Phase.RUNNING}
    assert len(await place.servers().seen()) == place.many
    await asyncio.gather(*(place.servers().stop(handle, grace_s=5) for handle in handles))
    assert {one.phase for one in await place.servers().seen()} == {Phase.EXITED}


async def test_a_server_is_reached_at_its_address_and_recalled_from_its_record(place: Place) -> None:
    work = place.work(Kind.SERVER)
    handle = await place.start(work)
    await place.facts(handle)
    recalled = place.servers().recall(work.lease)
    assert recalled is not None
    located = await place.servers().located(recalled[0])
    assert place.servers().address(located) == place.servers().address(handle)
    assert (await place.servers().poll(recalled[0])).phase is Phase.RUNNING
    assert await place.servers().is_own(located)

    host, port = place.servers().address(handle)

    async def answers() -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"http://{host}:{port}/")).status_code == 200
            except httpx.TransportError:
                return False

    await until(answers, lambda: place.report(handle))


async def test_what_is_recalled_of_a_server_that_never_was_is_gone(place: Place) -> None:
    recalled = place.servers().recall("01J00000000000000000000000")
    if recalled is not None:  # by its name alone, which asks nobody
        seen = await place.servers().poll(recalled[0])
        assert (seen.phase, seen.reason, recalled[1]) == (Phase.GONE, Reason.NEVER_STARTED, "")


async def test_its_own_record_has_the_token_on_one_machine(embedded: EmbeddedPlace) -> None:
    work = embedded.work(Kind.SERVER)
    assert embedded.servers().recall(work.lease) is None
    await embedded.start(work)
    recalled = embedded.servers().recall(work.lease)
    assert recalled is not None
    assert recalled[1] == "s3cret"


async def test_a_model_server_is_ready_when_it_answers_and_not_before_or_after(place: Place) -> None:
    handle = await place.start(place.work(Kind.MODEL))
    assert not await place.serving().ready(Handle(handle.lease, handle.kind, {**handle.where, "port": 1}))
    await until(lambda: place.serving().ready(handle), lambda: place.report(handle))
    await place.serving().stop(handle, grace_s=5)
    assert not await place.serving().ready(handle)


@pytest.mark.parametrize("count", [0, 2])
async def test_it_is_given_exactly_its_devices(place: Place, count: int) -> None:
    devices = place.devices[:count]
    handle = await place.start(place.work(Kind.SERVER, devices=devices))
    assert list(await place.given(handle)) == list(devices)


async def test_a_log_is_read_in_pieces_that_cut_no_character(place: Place) -> None:
    text = "두레 two 🐂 three\n" * 20
    handle = await place.start(place.work(Kind.SERVER, command=place.says(text)))
    await place.ended(handle)
    for limit in (1, 4, 5, 7, 64, 10_000):
        pieces, offset = [], 0
        while (piece := await place.servers().log(handle, offset, limit)).text:
            assert piece.offset == offset
            pieces.append(piece.text)
            offset = piece.next_offset
        assert "".join(pieces) == text
        assert offset == len(text.encode())
    beyond = await place.servers().log(handle, 1 << 30, 100)
    assert (beyond.text, beyond.next_offset) == ("", 1 << 30)

"""Jobs with a real store, real processes, the real worker and a real MLflow."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from dure import wire
from dure.errors import BadRequest, Conflict, DureError, NotFound
from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, Kind, Phase, Reason, Seen
from dure_hub.operations.jobruns import outcome
from dure_hub.operations.jobs import OVER, SnapshotMissing
from dure_hub.operations.models import JobNotSucceeded, NoSavedModel
from dure_hub.operations.notes import sentence
from dure_hub.operations.people import USE, Person
from dure_hub.settings import Settings
from dure_hub.store.models import Attempt, Event, Job, Lease, Token
from tests.support.mlflow import save_model
from tests.support.workshop import Workshop, end_all, workshop, workshop_settings

# httpcore 1.0 leaves the socket of a refused Unix connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)

ANA, BEN = Person("ana", scopes=frozenset({USE})), Person("ben", scopes=frozenset({USE}))
FILES = {
    "train.py": "import sys\n\n\ndef train(words=1):\n    print('세 words', words)\n\n\n"
    "if __name__ == '__main__':\n    print('argv', sys.argv[1:])\n",
    "fail.py": "raise ValueError('no data here')\n",
    "wait.py": "import time, pathlib\nprint('waiting', flush=True)\nwhile True:\n    time.sleep(0.05)\n",
    "die.py": "import os\nos.kill(os.getpid(), 9)\n",
    "who.py": "import os, pathlib, json\n"
    "job = json.loads(pathlib.Path(os.environ['DURE_JOB_FILE']).read_text())\n"
    "print(pathlib.Path(job['token_file']).read_text(), os.environ['MLFLOW_RUN_ID'], os.environ['LOGNAME'])\n",
}


@pytest.fixture
async def shop(settings: Settings) -> AsyncIterator[Workshop]:
    """The operations."""
    async with workshop(settings) as made:
        yield made


def leadership_ends(settings: Settings) -> None:
    """Let the time pass for which a killed portal still counts as the one that acts."""
    (settings.folder.root / "clock").write_text("11")


async def request(shop: Workshop, entry: str, name: str = "first", **more: object) -> wire.JobRequest:
    """A job of one of FILES."""
    digest = await shop.upload(FILES)
    return wire.JobRequest.model_validate(
        {"id": new_id(), "name": name, "snapshot": digest, "entry": entry, **more}
    )


async def over(shop: Workshop, name: str = "first") -> wire.Job:
    """Wait for the end of one of ana's jobs."""

    async def look() -> wire.Job | None:
        job = await shop.jobs.get(ANA, name)
        return job if job.state in OVER else None

    job = await shop.until(look, f"{name} ends")
    assert job is not None
    return job


async def running(shop: Workshop, says: str, name: str = "first") -> wire.Job:
    """Wait until one of ana's jobs says something."""

    async def look() -> bool:
        job = await shop.jobs.get(ANA, name)
        return job.state == "running" and says in (await shop.jobs.logs(ANA, name)).text

    await shop.until(look, f"{name} says {says}")
    return await shop.jobs.get(ANA, name)


async def tidy(shop: Workshop, job: wire.Job, status: str) -> None:
    """Wait until nothing of it is left to do, and MLflow knows how it ended."""
    folder = shop.settings.folder.jobs / job.id

    async def look() -> bool:
        left = [folder / name for name in ("token", "run-open", "code")]
        return not any(place.exists() for place in left) and not await shop.training.seen()

    await shop.until(look, "it is tidied up")
    assert job.run_id is not None
    assert (await shop.mlflow.acting("ana").run(job.run_id)).status == status


async def test_a_job_runs_from_its_snapshot_to_a_finished_run(shop: Workshop) -> None:
    asked = await request(shop, "train.py:train", parameters={"words": 3}, git_commit="0123abc")
    first = await shop.jobs.submit(ANA, asked)
    assert first.state == "starting", "there is room, so it has its lease at once"
    assert (await shop.jobs.submit(ANA, asked)).id == first.id, "the same id is the same job"

    job = await over(shop)
    assert (job.state, job.reason, job.device) == ("succeeded", None, "cpu")
    assert [(a.number, a.state, a.exit_code) for a in job.attempts] == [(1, "succeeded", 0)]
    page = await shop.jobs.logs(ANA, "first")
    assert "세 words 3" in page.text
    assert page.done
    cut = await shop.jobs.logs(ANA, "first", page.next_offset)
    assert (cut.text, cut.done) == ("", True)
    whole = page.text.encode()
    at = whole.index("세".encode())
    end = await shop.jobs.logs(ANA, "first", at + 1 - len(whole))  # the middle of a character, from the end
    assert (end.text, end.offset, end.next_offset) == (whole[at + 3 :].decode(), at + 3, len(whole))
    assert (await shop.jobs.logs(ANA, "first", -(1 << 30))).text == page.text
    await tidy(shop, job, "FINISHED")
    tags = (await shop.mlflow.acting("ana").run(job.run_id or "")).tags
    assert (tags["mlflow.user"], tags["dure.job"], tags["dure.git_commit"]) == ("ana", "first", "0123abc")
    with shop.store.reading() as session:
        assert session.scalars(select(Lease.ended_at)).all() != [None]
        assert [e for e in session.scalars(select(Event.verb)) if e.startswith("job.")] == [
            "job.submit",
            "job.start",
            "job.end",
        ]


async def test_its_token_speaks_for_the_owner_until_the_job_ends(shop: Workshop) -> None:
    await shop.jobs.submit(ANA, await request(shop, "who.py"))
    job = await over(shop)
    said = (await shop.jobs.logs(ANA, "first")).text.split("\n")
    token, run_id, name = next(line for line in said if line.startswith("dure_")).split()
    assert (run_id, name) == (job.run_id, "ana")
    assert await shop.tokens.find(token) is None
    with shop.store.reading() as session:
        row = session.scalars(select(Token)).one()
        assert (row.owner, row.admin, row.scopes) == ("ana", False, {"scopes": [USE]})


async def test_a_failed_job_says_why_in_both_languages(shop: Workshop) -> None:
    await shop.jobs.submit(ANA, await request(shop, "fail.py"))
    job = await over(shop)
    assert job.state == "failed"
    assert job.reason is not None
    assert "ValueError: no data here" in job.reason
    assert "종료 코드 1" in job.model_dump()["reason_text"]["ko"]
    await tidy(shop, job, "FAILED")


async def test_a_killed_job_names_the_signal(shop: Workshop) -> None:
    await shop.jobs.submit(ANA, await request(shop, "die.py"))
    job = await over(shop)
    assert job.state == "failed"
    assert "SIGKILL" in (job.reason or "")
    assert job.attempts[0].exit_code == -9


async def test_a_running_job_is_stopped_on_request(shop: Workshop) -> None:
    await shop.jobs.submit(ANA, await request(shop, "wait.py"))
    await running(shop, "waiting")
    await shop.jobs.stop(ANA, "first")
    await shop.jobs.stop(ANA, "first")
    job = await over(shop)
    assert (job.state, job.reason) == ("stopped", "Stopped on request.")
    await tidy(shop, job, "KILLED")


async def test_a_waiting_job_is_cancelled_at_once_and_a_place_goes_to_the_next(
    tmp_path: Path, mlflow: Settings
) -> None:
    cores = len(os.sched_getaffinity(0))
    small = workshop_settings(tmp_path / "small", mlflow, cpu_profile_cores=cores, cpu_overcommit=1)
    async with workshop(small) as shop:
        await shop.jobs.submit(ANA, await request(shop, "wait.py", "one"))
        waiting = await shop.jobs.submit(ANA, await request(shop, "train.py", "two"))
        assert (waiting.state, waiting.reason) == ("queued", "Waits until cpu is free.")
        await shop.jobs.submit(ANA, await request(shop, "train.py", "three"))
        await shop.jobs.stop(ANA, "two")
        assert (await shop.jobs.get(ANA, "two")).state == "stopped"
        await running(shop, "waiting", "one")
        assert (await shop.jobs.get(ANA, "three")).state == "queued"
        await shop.jobs.stop(ANA, "one")
        assert (await over(shop, "three")).state == "succeeded"
        assert (await shop.jobs.get(ANA, "one")).state == "stopped"
    await end_all(small)


async def test_a_job_outlives_the_portal_and_is_neither_lost_nor_doubled(settings: Settings) -> None:
    async with workshop(settings) as first:
        await first.jobs.submit(ANA, await request(first, "wait.py"))
        await running(first, "waiting")
        before = await first.training.seen()
    leadership_ends(settings)
    async with workshop(settings) as second:
        for _ in range(3):
            await second.reconciler.look()
        assert [s.handle for s in await second.training.seen()] == [s.handle for s in before]
        assert (await second.jobs.get(ANA, "first")).state == "running"
        await second.jobs.stop(ANA, "first")
        job = await over(second)
        assert (job.state, len(job.attempts)) == ("stopped", 1)


async def test_a_portal_killed_before_it_noted_the_start_finds_its_job(settings: Settings) -> None:
    async with workshop(settings) as first:
        await first.jobs.submit(ANA, await request(first, "wait.py"))
        job = await running(first, "waiting")
        with first.store.transaction() as session:  # as if it had died right after the process began
            session.scalars(select(Job)).one().state = session.scalars(select(Attempt)).one().state = "starting"
            session.scalars(select(Lease)).one().handle = {}
    leadership_ends(settings)
    async with workshop(settings) as second:
        await running(second, "waiting")
        seen = await second.training.seen()
        assert [s.phase for s in seen] == [Phase.RUNNING]
        with second.store.reading() as session:
            assert session.scalars(select(Lease)).one().handle["pid"] == seen[0].handle.where["pid"]
        again = await second.jobs.get(ANA, "first")
        assert (again.run_id, len(again.attempts)) == (job.run_id, 1)


async def test_a_job_that_vanished_is_lost_and_not_run_again(shop: Workshop) -> None:
    await shop.jobs.submit(ANA, await request(shop, "wait.py"))
    await running(shop, "waiting")
    (seen,) = await shop.training.seen()
    folder = shop.settings.folder.run / "job" / seen.handle.lease
    pids = [p.pid for p in shop.training.runner.marked(seen.handle.lease)]
    os.kill(seen.handle.where["pid"], signal.SIGKILL)  # its keeper first, so that nobody records an exit
    for pid in pids:
        if pid != seen.handle.where["pid"]:
            os.kill(pid, signal.SIGKILL)
    assert not (folder / "exit.json").exists()
    job = await over(shop)
    assert (job.state, job.attempts[0].state) == ("failed", "lost")
    assert "not run again" in (job.reason or "")


async def test_without_mlflow_a_job_waits_and_says_so(tmp_path: Path) -> None:
    alone = workshop_settings(tmp_path / "alone")
    async with workshop(alone) as shop:
        await shop.jobs.submit(ANA, await request(shop, "train.py"))

        async def look() -> bool:
            return "MLflow" in ((await shop.jobs.get(ANA, "first")).reason or "")

        await shop.until(look, "it says that MLflow is away")
        for _ in range(3):
            await shop.reconciler.look()
        assert (await shop.jobs.get(ANA, "first")).state == "starting"
        assert not await shop.training.seen()
        await shop.jobs.stop(ANA, "first")
        assert (await over(shop)).state == "stopped"


def test_a_job_that_went_down_with_the_portal_says_so() -> None:
    stopped = Seen(Handle("a", Kind.JOB), Phase.EXITED, -15, Reason.STOPPED)
    state, reason = outcome("exited", False, stopped, "")
    assert (state, sentence(reason)) == ("stopped", "The portal was shut down while it ran.")
    assert outcome("exited", True, stopped, "") == ("stopped", "asked")
    assert outcome("expired", False, stopped, "") == ("failed", "expired")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"entry": "missing.py"}, BadRequest),
        ({"processes": 64}, BadRequest),
        ({"snapshot": "0" * 64}, SnapshotMissing),
        ({"profile": "gpu-huge"}, DureError),
    ],
)
async def test_what_cannot_run_is_refused_and_leaves_nothing(
    shop: Workshop, change: dict[str, object], error: type[DureError]
) -> None:
    asked = await request(shop, "train.py")
    with pytest.raises(error):
        await shop.jobs.submit(ANA, asked.model_copy(update=change))
    assert not await shop.jobs.list(ANA)


async def test_names_are_per_owner_and_others_see_nothing(shop: Workshop) -> None:
    asked = await request(shop, "train.py")
    await shop.jobs.submit(ANA, asked)
    with pytest.raises(Conflict):
        await shop.jobs.submit(ANA, await request(shop, "train.py"))
    with pytest.raises(Conflict):
        await shop.jobs.submit(BEN, asked)
    with pytest.raises(NotFound):
        await shop.jobs.get(BEN, "first")
    with pytest.raises(NotFound):
        await shop.jobs.logs(BEN, "first")
    with pytest.raises(NotFound):
        await shop.jobs.stop(BEN, "first")
    same_name = [await request(shop, "train.py") for _ in range(3)]
    both = await asyncio.gather(*(shop.jobs.submit(BEN, one) for one in same_name), return_exceptions=True)
    assert sorted(type(one).__name__ for one in both) == ["Conflict", "Conflict", "Job"]


async def test_a_model_is_registered_once_with_its_lineage(shop: Workshop, mlflow: Settings) -> None:
    await shop.jobs.submit(ANA, await request(shop, "wait.py", "early"))
    with pytest.raises(JobNotSucceeded):
        await shop.models.register(ANA, wire.RegisterRequest(name="lineage", job="early"))
    await shop.jobs.submit(ANA, await request(shop, "train.py", git_commit="0123abc"))
    job = await over(shop)
    asked = wire.RegisterRequest(name="lineage", job="first", tags={"note": "mine"})
    with pytest.raises(NoSavedModel):
        await shop.models.register(ANA, asked)
    experiment = await shop.mlflow.acting("ana").experiment("ana/default")
    save_model(mlflow, "ana", experiment, job.run_id or "", {"MLmodel": b"x"})

    versions = await asyncio.gather(*(shop.models.register(ANA, asked) for _ in range(3)))
    assert [v.version for v in versions] == [1, 1, 1]
    made = versions[0]
    assert made.owner == "ana"
    assert (
        made.tags
        | {
            "note": "mine",
            "dure.job": "first",
            "dure.job_id": job.id,
            "dure.git_commit": "0123abc",
            "dure.device": "cpu",
            "dure.entry": "train.py",
        }
        == made.tags
    )
    assert (await shop.models.set_alias(ANA, "lineage", "best", 1)).aliases == ["best"]
    assert [v.aliases for v in await shop.models.versions(BEN, "lineage")] == [["best"]]
    assert "lineage" in [v.name for v in await shop.models.list(BEN)]

    await shop.jobs.submit(BEN, await request(shop, "train.py", "bens"))

    async def look() -> wire.Job | None:
        bens = await shop.jobs.get(BEN, "bens")
        return bens if bens.state == "succeeded" else None

    bens = await shop.until(look, "ben's job succeeds")
    assert bens is not None
    at = await shop.mlflow.acting("ben").experiment("ben/default")
    save_model(mlflow, "ben", at, bens.run_id or "", {"MLmodel": b"x"})
    with pytest.raises(Conflict, match="somebody else's"):
        await shop.models.register(BEN, wire.RegisterRequest(name="lineage", job="bens"))
    assert (await shop.models.register(BEN, wire.RegisterRequest(name="bens", job="bens"))).version == 1

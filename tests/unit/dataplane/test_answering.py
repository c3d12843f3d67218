"""Routes are given out once the clusters are in force that they name."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from dure_hub.dataplane import asking
from dure_hub.dataplane.answering import Answers, Question
from dure_hub.dataplane.asking import CLUSTERS, ROUTES, Asked
from dure_hub.dataplane.files import Files
from dure_hub.dataplane.fragments import Cluster, Fragment, Route
from dure_hub.dataplane.render import make_clusters
from dure_hub.settings import DataFolder


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "HOLD_S", 0)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    folder = DataFolder(tmp_path)
    folder.create()
    return Files(folder)


def write(files: Files, address: str) -> tuple[str, str]:
    hub = {"hub": Fragment((Cluster(address, address),), (Route("/", ((address, 1),)),))}
    return files.write_clusters(make_clusters(hub, "portal:1")), files.write_routes(hub)


async def here() -> bool:
    return False


async def gone() -> bool:
    return True


async def ask(answers: Answers, kind: str, version: str = "", envoy: str = "one") -> str | None:
    """The version of what is answered."""
    text = await answers.answer(Question(envoy, kind, version), here)
    return None if text is None else str(json.loads(text)["version_info"])


async def test_routes_wait_for_their_clusters(files: Files) -> None:
    answers = Answers(files)
    clusters, routes = write(files, "ana:1")
    assert await ask(answers, ROUTES) is None
    assert await ask(answers, CLUSTERS) == clusters
    assert await ask(answers, ROUTES) is None, "sent is not taken"
    assert await ask(answers, CLUSTERS, clusters) is None
    assert await ask(answers, ROUTES) == routes
    assert await ask(answers, ROUTES, envoy="two") is None, "each has its own clusters"
    newer, also = write(files, "ben:1")
    assert await ask(answers, ROUTES, routes) is None
    assert await ask(answers, CLUSTERS, clusters) == newer
    assert await ask(answers, CLUSTERS, newer) is None
    assert await ask(answers, ROUTES, routes) == also


async def test_a_portal_that_began_anew_knows_by_the_first_question(files: Files) -> None:
    clusters, routes = write(files, "ana:1")
    answers = Answers(files)
    assert await ask(answers, CLUSTERS, clusters) is None
    assert await ask(answers, ROUTES, routes) is None
    assert await ask(answers, ROUTES) == routes


async def test_who_waits_is_woken_by_what_is_new(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "HOLD_S", 60)
    clusters, _ = write(files, "ana:1")
    answers = Answers(files)
    watch = asyncio.create_task(answers.watch())
    waiting = asyncio.create_task(ask(answers, CLUSTERS, clusters))
    older = asyncio.create_task(ask(answers, CLUSTERS, clusters, "two"))
    async with asyncio.timeout(20):
        while len(answers.asked.envoys) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        latest = asyncio.create_task(ask(answers, CLUSTERS, clusters, "two"))
        newer, _ = write(files, "ben:1")
        assert await waiting == newer
        assert [await older, await latest] == [None, newer], "to one that asks twice once, where it asked last"
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


async def test_who_hung_up_is_not_there(files: Files) -> None:
    clusters, _ = write(files, "ana:1")
    answers = Answers(files)
    await ask(answers, CLUSTERS, clusters)
    assert set(answers.asked.present(answers.asked.beat)) == {"one"}
    assert await answers.answer(Question("one", CLUSTERS, clusters), gone) is None
    assert answers.asked.present(answers.asked.beat) == {}


async def test_before_anything_was_written_nothing_is_answered(files: Files) -> None:
    assert await ask(Answers(files), CLUSTERS) is None


async def test_a_file_without_its_version_is_no_answer(files: Files) -> None:
    files.write(files.clusters, "{}")
    with pytest.raises(ValueError, match="does not begin with its version"):
        await ask(Answers(files), CLUSTERS)


async def test_it_says_again_and_again_that_it_answers(files: Files) -> None:
    """Also while nobody asks: who waits for routes tells by it a portal that is away from Envoys that are."""
    answers = Answers(files)
    answers.keep()

    def beat() -> float:
        return Asked.from_json(json.loads(files.asked.read_text())).beat

    first, watch = beat(), asyncio.create_task(answers.watch())
    async with asyncio.timeout(20):
        while beat() == first:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)

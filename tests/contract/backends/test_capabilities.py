"""What a place can do and what it cannot: all of it is done, or has a sentence, and what has one is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dure.errors import LANGUAGES, Unsupported
from dure_hub.backends.base import NO_MIG, Feature, Kind, MigRefused, Phase, Reason
from dure_hub.catalogue.machine import MigInstance
from tests.contract.backends.kit import NEEDED, Place

ROOT = Path(__file__).parents[3]
HANGUL = re.compile("[가-힣]")


@pytest.mark.parametrize("kind", list(Kind))
async def test_every_kind_runs_or_is_refused_with_its_sentence(place: Place, kind: Kind) -> None:
    work, why = place.make_work(kind, "exit 0"), place.gap(kind)
    if why is None:
        seen = await place.ended(await place.start(work))
        assert (seen.exit_code, seen.reason) == (0, Reason.FINISHED)
        return
    with pytest.raises(Unsupported) as refused:
        await place.start(work)
    assert refused.value.facts["feature"] == NEEDED[kind].value
    assert all(why[language] in refused.value.text(language) for language in LANGUAGES)
    assert list(await place.runs(kind).seen()) == []
    assert not await place.marks()


@pytest.mark.parametrize("feature", list(Feature))
async def test_every_feature_has_a_sentence_or_a_test_that_sees_it(place: Place, feature: Feature) -> None:
    why, test = place.gaps().get(feature), place.exercised.get(feature)
    assert why or test, f"the backend neither says why there is no {feature}, nor does a test see it"
    if why is not None:
        assert set(why) == set(LANGUAGES)
        assert all(len(text.split()) > 3 for text in why.values())
        assert HANGUL.search(why["ko"])
        assert not HANGUL.search(why["en"])
    if test is not None:
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(), f"there is no test {test}"


async def test_mig_is_cut_or_refused_with_its_sentence(place: Place) -> None:
    inventory = place.inventory()
    why = inventory.unsupported.get(Feature.MIG)
    if why is None:
        pytest.skip(f"it can be: {place.exercised[Feature.MIG]}")
    assert why is not NO_MIG, "which says nothing of this place"
    with pytest.raises(MigRefused) as refused:
        await inventory.make(place.devices[0], "1g.10gb", 0)
    assert all(refused.value.text(language) for language in LANGUAGES)
    with pytest.raises(MigRefused):
        await inventory.remove(place.devices[0], MigInstance("1g.10gb", 0, "MIG-1"))


def limited(place: Place, feature: Feature) -> None:
    """The test ends with the sentence of a place that limits nothing."""
    if (why := place.gaps().get(feature)) is not None:
        pytest.skip(why["en"])


async def test_who_takes_more_memory_than_the_lease_has_is_ended_for_that(place: Place) -> None:
    limited(place, Feature.MEMORY_LIMIT)
    seen = await place.ended(await place.start(place.work(Kind.SERVER, "eat", memory_mb=64)))
    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.EXITED, -9, Reason.OUT_OF_MEMORY)


async def test_the_kernel_keeps_it_to_its_cores(place: Place) -> None:
    limited(place, Feature.CPU_LIMIT)
    facts = await place.facts(await place.start(place.work(Kind.SERVER, cores=0.5, memory_mb=96)))
    assert (facts["cores"], facts["memory_mb"]) == (0.5, 96)


async def test_what_one_leaves_in_tmp_another_does_not_find(place: Place) -> None:
    limited(place, Feature.OWN_TMP)
    for owner in ("ann", "ben"):
        work = place.work(Kind.SERVER, owner=owner, variables={"LEAVES": "/tmp/left-by-a-test"})  # noqa: S108
        assert (await place.facts(await place.start(work)))["alone"]

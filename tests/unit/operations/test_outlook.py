"""The month's end and what could have cost less, read from rows."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dure_hub.backends.base import Inventory
from dure_hub.catalogue.machine import Gpu, machine
from dure_hub.catalogue.mig import MigGrid, MigProfile
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.operations import money_words
from dure_hub.operations.outlook import Outlook, offers
from dure_hub.operations.people import Person
from dure_hub.operations.profiles import Fleet, Profiles
from tests.support.money import GPU, H100, START, Books
from tests.support.world import FixedInventory

ANN, EVE, ROOT = Person("ann"), Person("eve"), Person("root", admin=True)
GRID = MigGrid(
    "h100", 8, (MigProfile("1g.10gb", 19, 1, 1, tuple(range(7)), 7), MigProfile("7g.80gb", 0, 7, 8, (0,), 1))
)


def spec(name: str, memory_mb: int, rate: int, **more: object) -> ProfileSpec:
    words = {"en": name, "ko": name}
    base = {"gpu_model": "H100", "gpu_key": "h100", "gpu_memory_mb": memory_mb, "rate": rate, **more}
    return ProfileSpec(name, words, words, 1.0, 1024, 3600, 7200, **base)  # type: ignore[arg-type]


FLEET = Fleet(
    {
        "gpu-full": spec("gpu-full", 81920, H100, gpus=1),
        "mig-1g.10gb": spec("mig-1g.10gb", 10240, 1_240_000, mig="1g.10gb", enforced=True),
        "gpu-shared": spec("gpu-shared", 20480, 100, share=250, sharing="time-slice", enforced=False),
        "gpu-full-x4": spec("gpu-full-x4", 81920, 4 * H100, gpus=4),
    },
    (
        machine(
            real_cores=8,
            overcommit=1,
            memory_mb=65536,
            reserved_mb=0,
            gpus=[Gpu("GPU-0", "H100", 81920, "h100", GRID)],
        ),
    ),
)


class Offered(Profiles):
    """Profiles of a fleet that is not measured."""

    async def fleet(self, *owners: str) -> Fleet:
        return FLEET


@pytest.fixture
def outlook(books: Books) -> Outlook:
    place = FixedInventory(Inventory(cpu_cores=8, memory_mb=65536))
    return Outlook(books.store, books.clock, Offered(books.settings, books.store, books.clock, place))


async def test_a_month_is_foretold_with_its_uncertainty(books: Books, outlook: Outlook) -> None:
    for day in range(10):
        books.lease(day * 24 + 9, 8)
    books.lease(0, None, purpose="serving", until=None, owner="eve")
    found = await outlook.forecast(ROOT)
    assert (found.code, found.month, found.days) == ("forecast", "2026-01", 10)
    assert (found.spent, found.running) == ((80 + 240) * H100, 21 * 24 * H100)
    assert found.expected is not None
    assert abs(found.expected - (8 + 24) * 31 * H100) < 10 * H100
    assert "2026-01" in found.text["ko"]
    assert "2,560.00 is spent so far" in found.text["en"]
    assert (await outlook.forecast(ANN)).running == 0
    assert (await outlook.forecast(ROOT, team="red")).spent == 0


async def test_too_few_days_are_said_with_how_many_it_takes(books: Books, outlook: Outlook) -> None:
    books.lease(9 * 24, 1)
    books.lease(9 * 24, 2, rate=None)
    found = await outlook.forecast(ANN)
    assert (found.code, found.expected, found.days_needed, found.unpriced_hours) == ("too_few_days", None, 3, 2)
    assert "a forecast takes 3" in found.text["en"]
    assert "2.0 h were held at an unknown price" in found.text["en"]


async def test_a_smaller_profile_is_recommended_from_measured_use(books: Books, outlook: Outlook) -> None:
    lease = books.lease(0, 40)
    for hour in range(40):
        books.used(lease, hour, 0.9, known_us=0, busy_us=0, memory_max_mb=8000, memory_samples=60)
    (found,) = await outlook.recommendations(ANN)
    assert (found.code, found.facts["instead"], found.facts["saved_percent"]) == (
        "smaller_profile",
        "mig-1g.10gb",
        84,
    )
    assert found.text["en"].startswith(
        "ann held gpu-full for 40.0 h at 10 % of its memory at most; mig-1g.10gb would"
    )
    assert "(49.60 instead of 320.00)" in found.text["en"]
    assert "49.60" in found.text["ko"]
    assert await outlook.recommendations(EVE) == []
    assert len(await outlook.recommendations(ROOT)) == 1


async def test_a_gpu_at_work_keeps_its_compute(books: Books, outlook: Outlook) -> None:
    lease = books.lease(0, 40)
    for hour in range(40):
        books.used(lease, hour, 0.9, memory_max_mb=8000, memory_samples=60)
    assert await outlook.recommendations(ANN) == []


async def test_what_was_never_measured_is_not_recommended_upon(books: Books, outlook: Outlook) -> None:
    books.lease(0, 40)
    books.lease(0, 40, profile="cpu", gpus=0, slices=[{**GPU, "device": "cpu"}])
    assert await outlook.recommendations(ANN) == []
    books.clock.now = START + timedelta(days=100)
    assert await outlook.recommendations(ANN) == []


def test_offers_stand_beside_each_other_only_where_memory_is_kept_apart() -> None:
    found = offers(FLEET)
    assert set(found) == {"gpu-full", "mig-1g.10gb"}
    assert found["mig-1g.10gb"].compute == 1 / 7


def test_every_sentence_is_in_both_languages() -> None:
    for words in money_words.SENTENCES.values():
        assert set(words) == {"en", "ko"}
    assert money_words.money(1_234_567_890) == "1,234.57"

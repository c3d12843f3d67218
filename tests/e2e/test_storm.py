"""The hub is killed while sixty people start servers: nothing is orphaned or doubled, nobody is left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.portal import until
from tests.support.hubstorm import PEOPLE, QUICK_S, Storm, storm

pytestmark = pytest.mark.timeout(400)
PATIENCE_S = 120
"""For a busy machine. What is forgotten is found again only after the grace of a start, which is longer."""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storm]:
    """A portal with room for all of them."""
    with storm(tmp_path_factory.mktemp("storm")) as made:
        yield made


def early(storm: Storm) -> bool:
    """The first starts are claimed."""
    return storm.progress().claimed >= 1


def middle(storm: Storm) -> bool:
    """Half of the processes are there."""
    return storm.progress().processes >= len(PEOPLE) // 2


def late(storm: Storm) -> bool:
    """Most run, and some of them are being stopped."""
    if storm.progress().running < 45:
        return False
    storm.stop_some(8)
    return True


@pytest.mark.parametrize("moment", [early, middle, late])
def test_a_hub_killed_in_a_storm_leaves_nobody_behind(front: Storm, moment: Callable[[Storm], bool]) -> None:
    front.calm()
    with front.asking():
        until(lambda: moment(front), lambda: f"the moment: {front.progress()}", timeout=120, every=QUICK_S)
        at = front.progress()
        front.kill_hub()
    front.ask_again()
    found = front.settled(PATIENCE_S)
    assert found.clean, (at, found, front.portal.logs())
    assert found.served + found.told + len(front.stopped) == len(PEOPLE)

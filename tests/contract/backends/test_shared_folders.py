"""Shared folders with accounts of the system: who reads, who writes, and who does not get there. Needs root."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dure_hub.isolation import accounts, links, shared
from dure_hub.isolation import ground as grounds
from dure_hub.settings.shared import SharedFolder
from tests.contract.backends.apart import ApartPlace
from tests.support.accounts import ground, groups_left

TEAM = {"ana": ["vision"], "ben": ["sound"]}


@pytest.fixture(scope="module")
def apart() -> Iterator[ApartPlace]:
    """A place with a folder of each kind: to read, to write, and one of a team's to write and to read."""
    with ground() as made, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(made.python))
        place = ApartPlace(made)
        folders = []
        for name, write, teams in (
            ("read", False, []),
            ("write", True, []),
            ("team", True, ["vision"]),
            ("lesson", False, ["vision"]),
        ):
            path = made.folder / "shared folders" / name
            path.mkdir(parents=True)
            (path / "there").write_text(name)
            for one in (path.parent, path, path / "there"):
                one.chmod(0o777 if one.is_dir() else 0o666)  # who is kept out is not by chance
            folders.append(SharedFolder(name=name, path=path, write=write, teams=teams))
        place.settings = place.settings.model_copy(update={"shared_folders": folders})
        yield place
        assert groups_left(place.settings.instance) == set()


@pytest.fixture
async def place(apart: ApartPlace) -> AsyncIterator[ApartPlace]:
    """Nothing runs, and nothing is left behind, after each test."""
    yield apart
    await apart.end_all()


async def tries(place: ApartPlace, person: str, *attempts: tuple[str, str]) -> list[object]:
    """What comes of these in a server of somebody's that starts as servers do."""
    home = accounts.ensure(place.settings, person).home
    shared.arrange(place.settings, person, TEAM[person], home)
    _, facts = await place.server(person, *((verb, str(home / "shared" / on)) for verb, on in attempts))
    return list(facts["attempts"])


async def test_everybody_finds_what_is_theirs(place: ApartPlace) -> None:
    found = {name: await tries(place, name, ("list", "")) for name in TEAM}
    assert found == {"ana": [["lesson", "read", "team", "write"]], "ben": [["read", "write"]]}
    link = place.settings.folder.users / "ana" / "shared" / "read"
    assert link.lstat().st_uid == place.user("ana").pw_uid


async def test_what_is_to_be_read_is_written_by_nobody(place: ApartPlace) -> None:
    if not grounds.own_tmp():
        pytest.skip("This kernel lets no process have mounts of its own.")
    said = await tries(place, "ana", ("read", "read/there"), ("write", "read/there"), ("write", "read/new"))
    assert said[0] == "read"
    assert [*said[1:]] == ["OSError", "OSError"]
    folder = place.ground.folder / "shared folders" / "read"
    assert [one.name for one in folder.iterdir()] == ["there"]
    (folder / "there").write_text("read")  # the machine itself has it as before


async def test_what_one_writes_all_may_change(place: ApartPlace) -> None:
    assert await tries(place, "ana", ("write", "write/from-ana")) == ["done"]
    file = place.ground.folder / "shared folders" / "write" / "from-ana"
    assert (file.stat().st_mode & 0o777, file.stat().st_uid) == (0o660, place.user("ana").pw_uid)
    said = await tries(place, "ben", ("read", "write/from-ana"), ("write", "write/from-ana"))
    assert said == ["mine", "done"]


async def test_a_teams_folder_is_its_peoples_alone(place: ApartPlace) -> None:
    said = await tries(place, "ana", ("write", "team/from-ana"), ("read", "lesson/there"))
    assert said == ["done", "lesson"]
    accounts.ensure(place.settings, "ben")
    base = place.ground.folder / "shared folders"
    paths = [
        str(base / "team"),
        str(base / "lesson"),
        str(base / "team" / "from-ana"),
        str(base / "lesson" / "there"),
    ]
    shared.arrange(place.settings, "ben", TEAM["ben"], place.settings.folder.users / "ben")
    _, facts = await place.server(
        "ben", ("list", paths[0]), ("list", paths[1]), *(("read", one) for one in paths[2:])
    )
    assert facts["attempts"] == ["PermissionError"] * 4


async def test_somebody_who_is_called_like_a_folders_group_gets_nothing_by_it(place: ApartPlace) -> None:
    path = place.ground.folder / "shared folders" / "team" / "there"
    await tries(place, "ana")
    home = accounts.ensure(place.settings, "in-team").home
    shared.arrange(place.settings, "in-team", [], home)
    _, facts = await place.server("in-team", ("read", str(path)))
    assert facts["attempts"] == ["PermissionError"]


async def test_who_leaves_a_team_loses_its_folder_with_the_next_start(place: ApartPlace) -> None:
    assert await tries(place, "ana", ("read", "team/there")) == ["team"]
    home = place.settings.folder.users / "ana"
    shared.arrange(place.settings, "ana", [], home)
    path = place.ground.folder / "shared folders" / "team" / "there"
    _, facts = await place.server("ana", ("list", str(home / "shared")), ("read", str(path)))
    assert facts["attempts"] == [["read", "write"], "PermissionError"]


async def test_a_folder_that_is_away_keeps_nobody_from_working(place: ApartPlace) -> None:
    away = SharedFolder(name="away", path=Path("/nonexistent/folder"))
    place.settings = place.settings.model_copy(update={"shared_folders": [*place.settings.shared_folders, away]})
    assert await tries(place, "ben", ("read", "read/there"), ("list", "away")) == ["read", "FileNotFoundError"]
    assert links.recorded(place.settings.folder.users / "ben")["away"] == str(away.path)

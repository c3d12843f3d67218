"""Shared folders with accounts of the system: who reads, who writes, and who does not get there. Needs root."""

from __future__ import annotations

import grp
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dure.wire.ids import new_id
from dure_hub.backends.base import ExecutionWork, Kind, TrainingWork
from dure_hub.backends.embedded import EmbeddedExecutions, EmbeddedTraining
from dure_hub.isolation import accounts, links, shared
from dure_hub.isolation import ground as grounds
from dure_hub.isolation.accounts import NOBODY
from dure_hub.settings.shared import SharedFolder
from tests.contract.backends.apart import PROGRAM, ApartPlace
from tests.support.accounts import ground, groups_left

SKIPPED = 77
WITHOUT_ACLS = """
import json, os, sys
from pathlib import Path
from dure_hub.isolation import confine, shared
from dure_hub.isolation.accounts import NOBODY
from dure_hub.settings.shared import SharedFolder

path = Path(sys.argv[1])
path.mkdir()
try:
    confine.mount(None, "/", confine.MS_REC | confine.MS_PRIVATE)
    confine.mount("ramfs", str(path), 0, "ramfs", "mode=777")
except OSError as error:
    sys.exit(f"{error}") if error.errno not in (1, 19) else sys.exit(77)
path.chmod(0o777)
folder = SharedFolder(name="given", path=path, write=True, teams=["vision"])
shared._open_to(folder, NOBODY)
found = path.stat()
said = {"mode": found.st_mode & 0o7777, "group": found.st_gid, "keeps": shared.keeps_acls(folder)}
shared._open_to(folder.model_copy(update={"write": False}), NOBODY)
print(json.dumps(said | {"mode_to_read": path.stat().st_mode & 0o7777}))
"""
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
    home = place.settings.folder.users / person
    facts = await starts(
        place, person, TEAM[person], *((verb, str(home / "shared" / on)) for verb, on in attempts)
    )
    return list(facts["attempts"])


async def starts(
    place: ApartPlace, person: str, teams: Sequence[str], *attempts: tuple[str, str]
) -> dict[str, Any]:
    """What a server says of somebody who is in these teams now."""
    home = accounts.ensure(place.settings, person).home
    given = shared.arrange(place.settings, person, teams, home)
    _, facts = await place.server(person, *attempts, shared=given, environment=seen(place))
    return facts


def seen(place: ApartPlace) -> dict[str, str]:
    """What keeps all these folders at their place below /tmp, those that are in no settings too."""
    return {"JUPYTER_PATH": str(place.ground.folder / "shared folders")}


def in_groups(place: ApartPlace, facts: dict[str, Any]) -> set[str]:
    """The folders whose groups a process is in."""
    begins = accounts.folder_groups(place.settings)
    return {one.removeprefix(begins) for one in facts["groups"] if one.startswith(begins)}


def unchangeable(patch: pytest.MonkeyPatch, *groups: str) -> None:
    """From now on the system's tool fails with these groups."""
    run = accounts._run

    def instead(name: str, command: Sequence[str]) -> None:
        run(name, ["false"] if command[0] == "gpasswd" and name.endswith(groups) else command)

    patch.setattr(accounts, "_run", instead)


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
    base = place.ground.folder / "shared folders"
    paths = [
        str(base / "team"),
        str(base / "lesson"),
        str(base / "team" / "from-ana"),
        str(base / "lesson" / "there"),
    ]
    attempts = [("list", paths[0]), ("list", paths[1]), *(("read", one) for one in paths[2:])]
    facts = await starts(place, "ben", TEAM["ben"], *attempts)
    assert facts["attempts"] == ["PermissionError"] * 4


async def test_somebody_who_is_called_like_a_folders_group_gets_nothing_by_it(place: ApartPlace) -> None:
    path = place.ground.folder / "shared folders" / "team" / "there"
    await tries(place, "ana")
    facts = await starts(place, "in-team", [], ("read", str(path)))
    assert facts["attempts"] == ["PermissionError"]


async def test_who_leaves_a_team_loses_its_folder_with_the_next_start(place: ApartPlace) -> None:
    assert await tries(place, "ana", ("read", "team/there")) == ["team"]
    home = place.settings.folder.users / "ana"
    path = place.ground.folder / "shared folders" / "team" / "there"
    facts = await starts(place, "ana", [], ("list", str(home / "shared")), ("read", str(path)))
    assert facts["attempts"] == [["read", "write"], "PermissionError"]


async def test_who_cannot_be_taken_out_of_a_group_does_not_run_in_it(
    place: ApartPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tries(place, "ana")
    unchangeable(monkeypatch, "-in-team")
    base = place.ground.folder / "shared folders"
    tried = [("read", str(base / "team" / "there")), ("read", str(base / "lesson" / "there"))]
    facts = await starts(place, "ana", [], *tried)
    assert (facts["attempts"], in_groups(place, facts)) == (["PermissionError"] * 2, set())
    group = f"{accounts.folder_groups(place.settings)}team"
    assert place.user("ana").pw_name in grp.getgrnam(group).gr_mem  # the system itself lets them in still


async def test_a_group_that_cannot_be_changed_is_no_other_folders_trouble(
    place: ApartPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    await starts(place, "ana", [])
    unchangeable(monkeypatch, "-in-team")
    assert await tries(place, "ana", ("list", ""), ("read", "lesson/there")) == [
        ["lesson", "read", "write"],
        "lesson",
    ]


@pytest.mark.parametrize("left", [0, 2])
async def test_a_folder_that_leaves_the_settings_is_nobodys_any_more(
    place: ApartPlace, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    await tries(place, "ana")
    fewer = place.settings.shared_folders[:left]
    monkeypatch.setattr(place, "settings", place.settings.model_copy(update={"shared_folders": fewer}))
    path = str(place.ground.folder / "shared folders" / "team" / "there")
    facts = await starts(place, "ana", ["vision"], ("read", path))
    assert (facts["attempts"], in_groups(place, facts)) == (["PermissionError"], set())
    _, told = await place.server(
        "ana", ("read", path), shared=["team"], environment=seen(place)
    )  # whatever a start is told
    assert (told["attempts"], in_groups(place, told)) == (["PermissionError"], set())


@pytest.mark.parametrize("kind", [Kind.JOB, Kind.EXECUTION])
async def test_jobs_and_notebooks_have_the_folders_of_their_owners_start(place: ApartPlace, kind: Kind) -> None:
    path = str(place.ground.folder / "shared folders" / "team" / "there")
    given = shared.arrange(place.settings, "ana", TEAM["ana"], accounts.ensure(place.settings, "ana").home)
    for names, comes in ((given, "team"), ([], "PermissionError")):
        folder = place.settings.folder.jobs / new_id()
        for name in ("code", "outputs", "home"):
            (folder / name).mkdir(mode=0o700, parents=True)
        environment = place.environment(("read", path)) | {"HOME": str(folder / "home")}
        common: dict[str, Any] = {
            "lease": new_id(),
            "owner": "ana",
            "folder": folder / "code",
            "outputs": folder / "outputs",
        }
        common |= {"environment": environment, "shared": names}
        backend: EmbeddedTraining | EmbeddedExecutions
        if kind is Kind.JOB:
            (folder / "code" / "attempts.py").write_text((place.code / "attempts.py").read_text())
            backend = EmbeddedTraining(place.settings, worker=PROGRAM)
            handles = backend.start(TrainingWork(**common, processes=1, entry="attempts.py"))
        else:
            backend = EmbeddedExecutions(place.settings)
            backend.program = PROGRAM
            handles = backend.start(ExecutionWork(**common))
        handle = [one async for one in handles][-1]
        assert (await place.facts(handle))["attempts"] == [comes]


def test_a_file_system_without_acls_keeps_others_out_all_the_same(place: ApartPlace) -> None:
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", WITHOUT_ACLS, str(place.ground.folder / "given")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode == SKIPPED or "unshare failed" in done.stderr:
        pytest.skip("This kernel lets nobody mount a file system of memory.")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"mode": 0o2770, "group": NOBODY, "keeps": False, "mode_to_read": 0o750}
    assert "their owner's alone" in done.stderr


async def test_a_folder_that_is_away_keeps_nobody_from_working(place: ApartPlace) -> None:
    away = SharedFolder(name="away", path=Path("/nonexistent/folder"))
    place.settings = place.settings.model_copy(update={"shared_folders": [*place.settings.shared_folders, away]})
    assert await tries(place, "ben", ("read", "read/there"), ("list", "away")) == ["read", "FileNotFoundError"]
    assert links.recorded(place.settings.folder.users / "ben")["away"] == str(away.path)

"""Links to shared folders: ours come and go with the settings, and what a person has stays theirs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from dure_hub.isolation import links, shared
from dure_hub.settings import Settings
from dure_hub.settings.shared import SharedFolder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder to share."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "set.csv").write_text("1,2")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Somebody's."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def test_they_come_lead_on_and_go(home: Path, data: Path) -> None:
    assert links.lay(home, {"sets": str(data)}) == []
    assert (home / "shared" / "sets" / "set.csv").read_text() == "1,2"
    assert links.lay(home, {"sets": str(data)}) == []
    (home / "shared" / "own").symlink_to(data)
    assert links.lay(home, {"others": str(data)}) == []
    assert sorted(one.name for one in (home / "shared").iterdir()) == ["others", "own"]
    links.lay(home, {})
    assert [one.name for one in (home / "shared").iterdir()] == ["own"]
    assert (data / "set.csv").exists()


def test_starts_of_one_person_at_once_lay_them_one_after_the_other(
    home: Path, data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(shared_folders=[SharedFolder(name="sets", path=data)])
    replace = Path.replace

    def slowly(self: Path, target: Path) -> Path:
        time.sleep(0.01)  # so that they meet
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", slowly)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: shared.arrange(settings, "ana", [], home), range(4)))
    assert found == [["sets"]] * 4
    assert (home / "shared" / "sets" / "set.csv").exists()
    assert caplog.records == [], "it raises nothing, and would say so here"


def test_one_whose_place_moved_is_followed(home: Path, data: Path, tmp_path: Path) -> None:
    links.lay(home, {"sets": str(data)})
    moved = data.rename(tmp_path / "moved")
    links.lay(home, {"sets": str(moved)})
    assert (home / "shared" / "sets" / "set.csv").exists()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_the_person_has_is_left_alone_and_named(home: Path, data: Path, kind: str) -> None:
    place = home / "shared" / "sets"
    place.parent.mkdir()
    if kind == "file":
        place.write_text("mine")
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to("/nonexistent")
    assert links.lay(home, {"sets": str(data), "more": str(data)}) == ["sets"]
    assert links.recorded(home) == {"more": str(data)}
    links.lay(home, {})
    assert [one.name for one in place.parent.iterdir()] == ["sets"]


def test_where_shared_itself_is_a_file_of_theirs_nothing_is_made(home: Path, data: Path) -> None:
    (home / "shared").write_text("mine")
    assert links.lay(home, {"sets": str(data)}) == ["sets"]
    assert (home / "shared").read_text() == "mine"


def test_killed_between_record_and_link_it_goes_on(home: Path, data: Path) -> None:
    (home / ".dure").mkdir()
    (home / links.RECORD).write_text(json.dumps({"sets": str(data), "gone": "/gone"}))
    assert links.lay(home, {"sets": str(data)}) == []
    assert (home / "shared" / "sets").is_symlink()
    assert links.recorded(home) == {"sets": str(data)}


@pytest.mark.parametrize("text", ["", "[]", "no json", "[" * 8000, '{"../up": "/etc"}'])
def test_a_record_that_is_none_removes_nothing(home: Path, data: Path, text: str) -> None:
    (home / ".dure").mkdir()
    (home / links.RECORD).write_text(text)
    (home / "up").symlink_to("/etc")
    links.lay(home, {"sets": str(data)})
    assert (home / "up").is_symlink()


def test_as_a_program_it_says_what_was_taken(home: Path, data: Path) -> None:
    (home / "shared").mkdir()
    (home / "shared" / "sets").write_text("mine")
    command = [sys.executable, "-I", "-S", str(links.__file__), str(home), "sets", str(data), "more", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["sets"]
    assert (home / "shared" / "more").is_symlink()


def test_who_has_which_is_their_teams_to_say(data: Path, tmp_path: Path) -> None:
    folders = [
        SharedFolder(name="all", path=data),
        SharedFolder(name="vision", path=tmp_path / "vision", teams=["vision", "robots"]),
    ]
    settings = Settings(data=tmp_path / "portal", shared_folders=folders)
    assert [one.name for one in shared.of_teams(settings, ["vision", "x"])] == ["all", "vision"]
    assert [one.name for one in shared.of_teams(settings, [])] == ["all"]


def test_without_accounts_a_person_finds_theirs(home: Path, data: Path, tmp_path: Path) -> None:
    folders = [SharedFolder(name="all", path=data), SharedFolder(name="vision", path=tmp_path, teams=["vision"])]
    settings = Settings(data=tmp_path / "portal", shared_folders=folders, system_accounts="off")
    assert shared.concerns(settings, home)
    shared.arrange(settings, "ana", [], home)
    assert [one.name for one in (home / "shared").iterdir()] == ["all"]
    none = settings.model_copy(update={"shared_folders": []})
    assert shared.concerns(none, home)
    shared.arrange(none, "ana", [], home)
    assert list((home / "shared").iterdir()) == []


@pytest.mark.parametrize(
    "folders",
    [
        [{"name": "Upper", "path": "/srv"}],
        [{"name": "a/b", "path": "/srv"}],
        [{"name": "sets", "path": "srv"}],
        [{"name": "sets", "path": "/srv"}, {"name": "sets", "path": "/opt"}],
        [{"name": "sets", "path": "/srv"}, {"name": "more", "path": "/srv"}],
        [{"name": "sets", "path": "/srv", "mode": "rw"}],
    ],
)
def test_settings_that_make_no_sense_are_refused(folders: list[dict[str, str]]) -> None:
    with pytest.raises(ValidationError):
        Settings(shared_folders=folders)

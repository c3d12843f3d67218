"""People's own Pythons as the portal has them made, and what its processes are told of them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dure import own_python
from dure_hub.backends.embedded import training
from dure_hub.isolation import pythons
from dure_hub.operations.workfiles import WorkFolder, common_environment
from dure_hub.settings import Settings
from dure_hub.spawners.folder import prepare_folder
from tests.unit.hub.test_spawner import make_spawner


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder with a home of ana's."""
    found = Settings(data=tmp_path / "data", instance="0123456789ab", system_accounts="off")
    found.folder.create()
    (found.folder.users / "ana").mkdir()
    return found


def test_one_is_made_and_the_same_is_found_again(settings: Settings) -> None:
    assert pythons.program_of(settings, "ana") is None
    made = pythons.ensure(settings, "ana")
    assert made == settings.folder.users / "ana" / ".dure" / "python"
    assert pythons.program_of(settings, "ana") == str(made / "bin" / "python")
    assert pythons.program_of(settings, "ben") is None


def test_a_job_finds_one_mended_that_was_made_from_another_portal(settings: Settings) -> None:
    home = settings.folder.users / "ana"
    here = own_python.here()
    own_python.make(home, own_python.Portal(here.version, "/nonexistent/python", ("/nonexistent",)))
    program = pythons.program_of(settings, "ana")
    assert program is not None
    done = subprocess.run([program, "-c", "import dure"], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_in_its_way_keeps_nobody_out(
    settings: Settings, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = settings.folder.users / "ana" / ".dure"
    if kind == "file":
        place.write_text("mine")
    else:
        place.symlink_to("/nonexistent")
    assert pythons.ensure(settings, "ana") is None
    assert "works with the portal's" in caplog.text
    assert os.path.lexists(place)


@pytest.mark.parametrize("mark", ["[" * 8000 + "]" * 8000, '{"version": "../x", "python": "/x", "packages": []}'])
def test_a_mark_of_any_kind_keeps_nobody_out(settings: Settings, mark: str) -> None:
    own = own_python.make(settings.folder.users / "ana", own_python.here())
    (own / own_python.MARK).write_text(mark)
    assert pythons.ensure(settings, "ana") == own
    assert own_python.made_for(own) == own_python.here()


def test_what_nobody_thought_of_keeps_nobody_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own_python.make(settings.folder.users / "ana", own_python.here())
    monkeypatch.setattr(own_python, "is_whole", lambda *_: 1 / 0)
    assert pythons.ensure(settings, "ana") is None
    assert "ZeroDivisionError" in caplog.text


def test_one_that_is_held_and_not_whole_is_done_without(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(own_python, "PATIENCE_S", 0.1)
    own = own_python.make(settings.folder.users / "ana", own_python.here())
    with (own.parent / "python.lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert pythons.ensure(settings, "ana") == own
        own_python.program(own).unlink()
        assert pythons.ensure(settings, "ana") is None
    assert "is changing it" in caplog.text
    assert pythons.ensure(settings, "ana") == own
    assert own_python.program(own).exists()


def test_a_server_is_told_of_it_and_runs_with_the_portals(tmp_path: Path) -> None:
    spawner = make_spawner(tmp_path)
    before = spawner._work().environment
    assert "VIRTUAL_ENV" not in before
    for folder in before["JUPYTER_CONFIG_PATH"].split(
        os.pathsep
    ):  # those of an image, which may know nothing of ours
        assert "kernel_spec_manager_class" not in (Path(folder) / "jupyter_server_config.json").read_text()
    home = prepare_folder(spawner.operations.settings, "ana")
    spawner.python = own_python.make(home, own_python.here())
    work = spawner._work()
    first, second, *_ = work.environment["PATH"].split(os.pathsep)
    assert (first, second) == (str(home / ".dure/python/bin"), str(Path(sys.executable).parent))
    assert work.environment["VIRTUAL_ENV"] == work.environment["DURE_OWN_PYTHON"] == str(home / ".dure/python")
    assert work.environment["DURE_PROGRAMS"] == os.pathsep.join((first, second))
    assert work.command[0] == sys.executable
    own_first = Path(work.environment["JUPYTER_CONFIG_PATH"].split(os.pathsep)[0])
    assert "OwnPython" in (own_first / "jupyter_server_config.json").read_text()


def test_jobs_and_notebooks_find_its_programs_first(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    folder = WorkFolder(tmp_path / "work")
    assert "VIRTUAL_ENV" not in common_environment(settings, "ana", folder)
    told = common_environment(settings, "ana", folder, "/home/ana/.dure/python/bin/python")
    assert told["VIRTUAL_ENV"] == "/home/ana/.dure/python"
    assert told["PATH"] == "/home/ana/.dure/python/bin:/usr/bin"


def test_the_launcher_and_so_the_ranks_run_with_it() -> None:
    assert training.make_command(2, "dure.worker", "/home/ana/python")[:3] == [
        "/home/ana/python",
        "-m",
        "dure.launch",
    ]

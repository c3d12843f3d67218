"""A person's own Python: real ones, with real pip, wheels of a few lines and no network."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from dure import cli, own_packages, own_python
from dure.own_python import Portal
from tests.support.wheels import tree, wheel

HIDDEN = "idna"
"""A small package that the portal has."""


NESTED = "[" * 8000 + "]" * 8000
"""JSON that no reader gets to the end of."""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Freshly made, in a home with a space in its name."""
    home = tmp_path / "a home"
    home.mkdir()
    return own_python.make(home, own_python.here())


def python(own: Path, code: str) -> str:
    """What this prints there."""
    return run(str(own_python.program(own)), "-c", code)


def run(*command: str, succeeds: bool = True) -> str:
    """Its output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={"PATH": "/usr/bin:/bin"})
    assert (done.returncode == 0) is succeeds, done.stdout + done.stderr
    return (done.stdout + done.stderr).strip()


def install(own: Path, *words: str) -> str:
    """By its own pip."""
    return run(str(own / "bin" / "pip"), "install", "--no-index", "--disable-pip-version-check", *words)


def lines(own: Path) -> list[str]:
    """Of its list."""
    return [line for _, _, line in own_python.installed(own_python.packages(own, own_python.here().version))]


def project(folder: Path, name: str) -> Path:
    """The source of a package of one module."""
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\n[tool.setuptools]\npy-modules = ["{name}"]\n'
    )
    (folder / f"{name}.py").write_text("VERSION = '1.0'\n")
    return folder


def mine(own: Path) -> dict[str, str]:
    """Its own packages and their versions."""
    found = own_python.installed(own_python.packages(own, own_python.here().version))
    return {name: version for name, version, _ in found}


def test_it_has_the_portals_packages_behind_its_own(own: Path) -> None:
    paths, prefix = json.loads(
        python(own, "import sys, json, dure, IPython; print(json.dumps([sys.path, sys.prefix]))")
    )
    site = str(own_python.packages(own, own_python.here().version))
    assert prefix == str(own)
    assert paths.index(site) < min(paths.index(one) for one in own_python.here().packages)
    assert run(str(own / "bin" / "pip"), "list", "--local", "--format", "json") == "[]"


def test_what_is_installed_hides_the_portals_and_leaves_it_as_it_was(own: Path, tmp_path: Path) -> None:
    (portal,) = map(Path, own_python.here().packages)
    before = tree(portal)
    theirs = python(own, f"import {HIDDEN}; print({HIDDEN}.__file__)")
    install(own, "--upgrade", str(wheel(tmp_path, HIDDEN, "99.0")))
    assert python(own, f"import {HIDDEN}; print({HIDDEN}.VERSION)") == "99.0"
    assert mine(own) == {HIDDEN: "99.0"}
    assert "outside environment" in run(str(own / "bin" / "pip"), "uninstall", "--yes", "httpx")
    run(str(own / "bin" / "pip"), "uninstall", "--yes", HIDDEN)
    assert python(own, f"import {HIDDEN}; print({HIDDEN}.__file__)") == theirs
    assert python(own, "import httpx; print('there')") == "there"
    assert tree(portal) == before


def test_its_own_paths_come_before_the_portals(own: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / HIDDEN).mkdir(parents=True)
    (tmp_path / "mine" / HIDDEN / "__init__.py").write_text("VERSION = 'mine'\n")
    site = own_python.packages(own, own_python.here().version)
    (site / "__editable__mine.pth").write_text(f"{tmp_path / 'mine'}\n")
    assert python(own, f"import {HIDDEN}; print({HIDDEN}.VERSION)") == "mine"


def test_made_again_nothing_changes_and_nothing_is_lost(own: Path, tmp_path: Path) -> None:
    install(own, str(wheel(tmp_path, "tiny", "1.0")))
    before = tree(own)
    assert own_python.make(own.parents[1], own_python.here()) == own
    assert tree(own) == before
    (own / "bin" / "pip").unlink()
    own_python.make(own.parents[1], own_python.here())
    assert "tiny" in run(str(own / "bin" / "pip"), "list", "--local")


def test_one_that_was_killed_while_it_was_made_is_made_again(tmp_path: Path) -> None:
    begun = tmp_path / ".dure" / ".python.new" / "bin"
    begun.mkdir(parents=True)
    (begun / "python").symlink_to("/nonexistent")
    own = own_python.make(tmp_path, own_python.here())
    assert python(own, "print('runs')") == "runs"
    assert sorted(one.name for one in own.parent.glob("*python*")) == ["python", "python.lock"]


def test_what_has_no_mark_is_kept_aside(tmp_path: Path) -> None:
    (tmp_path / ".dure" / "python").mkdir(parents=True)
    (tmp_path / ".dure" / "python" / "notes").write_text("mine")
    own = own_python.make(tmp_path, own_python.here())
    assert (own.with_name("python-unknown") / "notes").read_text() == "mine"
    assert python(own, "print('runs')") == "runs"


@pytest.mark.parametrize("mark", [None, "", "{", NESTED, '{"version": "../x", "python": "", "packages": []}'])
def test_one_that_lost_its_mark_goes_on_where_it_is(own: Path, tmp_path: Path, mark: str | None) -> None:
    install(own, str(wheel(tmp_path, "tiny", "1.0")))
    (own / own_python.MARK).unlink()
    if mark is not None:
        (own / own_python.MARK).write_text(mark)
    own_python.make(own.parents[1], own_python.here())
    assert own_python.made_for(own) == own_python.here()
    assert mine(own) == {"tiny": "1.0"}
    assert list(own.parent.glob("python-*")) == []


def test_a_link_to_somebody_elses_python_is_not_written_through(own: Path, tmp_path: Path) -> None:
    elsewhere = own.rename(tmp_path / "elsewhere")
    (elsewhere / own_python.MARK).unlink()
    own.symlink_to(elsewhere)
    before = tree(elsewhere)
    own_python.make(own.parents[1], own_python.here())
    assert own.with_name("python-unknown").is_symlink()
    assert tree(elsewhere) == before


def test_one_of_an_unknown_python_is_kept_aside_with_what_it_had(own: Path, tmp_path: Path) -> None:
    install(own, str(wheel(tmp_path, "tiny", "1.0")))
    for version, older in (("3.8", "0.8"), ("3.10", "0.10")):
        other = own_python.packages(own, version)
        shutil.copytree(own_python.packages(own, own_python.here().version), other)
        (other / "tiny-1.0.dist-info" / "direct_url.json").unlink()
        (other / "tiny-1.0.dist-info" / "METADATA").write_text(f"Name: tiny\nVersion: {older}\n")
    shutil.rmtree(own_python.packages(own, own_python.here().version))
    (own / own_python.MARK).write_text("")
    own_python.make(own.parents[1], own_python.here())
    assert (own.with_name("python-unknown") / own_python.LIST).read_text() == "tiny==0.10\n"


def test_what_is_put_there_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()

    def fsync(file: int) -> None:
        real(file)
        assert os.fstat(file).st_size > 0
        synced.add(os.fstat(file).st_ino)

    real = os.fsync
    monkeypatch.setattr(os, "fsync", fsync)
    own = own_python.make(tmp_path, own_python.here())
    for name in (own_python.MARK, "pyvenv.cfg"):
        assert (own / name).stat().st_ino in synced


def test_one_that_somebody_else_holds_is_not_waited_for_without_end(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_python, "PATIENCE_S", 0.1)
    home = own.parents[1]
    with (own.parent / "python.lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert own_python.make(home, own_python.here()) == own
        (own / "bin" / "pip").unlink()
        with pytest.raises(TimeoutError, match="is changing it"):
            own_python.make(home, own_python.here())
    own_python.make(home, own_python.here())
    assert (own / "bin" / "pip").exists()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_folder_is_kept_aside(tmp_path: Path, kind: str) -> None:
    place = own_python.place(tmp_path)
    place.parent.mkdir()
    if kind == "file":
        place.write_text("mine")
    else:
        place.symlink_to("/nonexistent")
    own = own_python.make(tmp_path, own_python.here())
    assert os.path.lexists(own.with_name("python-unknown"))
    assert python(own, "print('runs')") == "runs"


def test_a_portal_that_has_moved_is_followed(own: Path, tmp_path: Path) -> None:
    install(own, str(wheel(tmp_path, "tiny", "1.0")))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "moved.py").write_text("")
    moved = replace(own_python.here(), packages=(str(tmp_path / "elsewhere"), *own_python.here().packages))
    own_python.make(own.parents[1], moved)
    assert python(own, "import moved, tiny; print('both')") == "both"
    assert not own.with_name(f"python-{moved.version}").exists()


def test_one_of_another_python_is_kept_aside_with_what_it_had(own: Path, tmp_path: Path) -> None:
    here = own_python.here()
    install(own, str(wheel(tmp_path, "tiny", "1.0")))
    newer = Portal("3.99", here.python, here.packages)
    own_python.make(own.parents[1], newer)
    aside = own.with_name(f"python-{here.version}")
    assert (aside / own_python.LIST).read_text().startswith("tiny @ file://")
    assert own_python.made_for(own) == newer
    assert own_python.packages(own, "3.99").is_dir()
    own_python.make(own.parents[1], here)
    own_python.make(own.parents[1], newer)
    assert own.with_name(f"python-{here.version}-2").is_dir()


def test_several_at_once_make_one(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", str(own_python.__file__), str(tmp_path), own_python.here().python]
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: run(*command, *own_python.here().packages), range(8)))
    assert said == [""] * 8
    assert sorted(one.name for one in (tmp_path / ".dure").glob("*python*")) == ["python", "python.lock"]
    assert own_python.made_for(own_python.place(tmp_path)) == own_python.here()


def versioned(version: str) -> str:
    """A mark that is whole but for its version."""
    return json.dumps({"version": version, "python": "/usr/bin/python3", "packages": []})


def test_a_mark_that_is_a_link_or_no_mark_counts_for_nothing(own: Path, tmp_path: Path) -> None:
    mark = own / own_python.MARK
    mark.rename(tmp_path / "mark")
    mark.symlink_to(tmp_path / "mark")
    assert own_python.made_for(own) is None
    for text in (
        "",
        "[]",
        "{}",
        '{"version": 1}',
        "x" * 20_000,
        NESTED,
        *map(versioned, ("../x", "", "3", "3.11\n", "3.11.2", "٣.١١")),
    ):
        mark.unlink()
        mark.write_text(text)
        assert own_python.made_for(own) is None


def test_the_command_shows_lists_and_empties_it(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DURE_OWN_PYTHON", str(own))
    monkeypatch.setenv("DURE_LANGUAGE", "en")
    install(own, str(wheel(tmp_path, HIDDEN, "99.0")), str(wheel(tmp_path, "tiny", "1.0")))
    assert cli.main(["env", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    hidden, tiny = shown["packages"]
    assert (hidden["name"], tiny["name"], tiny["hides"]) == (HIDDEN, "tiny", None)
    assert hidden["hides"] not in (None, "99.0")
    assert shown["size_bytes"] > 0

    assert cli.main(["env", "snapshot", str(tmp_path / "mine.txt")]) == 0
    assert cli.main(["env", "reset"]) == 1
    assert "nobody has said yes" in capsys.readouterr().err
    assert len(mine(own)) == 2

    assert cli.main(["env", "reset", "--yes"]) == 0
    assert mine(own) == {}
    aside = own.with_name(f"python-{own_python.here().version}")
    assert (aside / own_python.LIST).read_text() == (tmp_path / "mine.txt").read_text()
    assert str(aside / own_python.LIST) in capsys.readouterr().out
    install(own, "-r", str(aside / own_python.LIST))
    assert set(mine(own)) == {HIDDEN, "tiny"}
    assert cli.main(["env"]) == 0
    assert str(aside) in capsys.readouterr().out


def test_a_list_is_written_anew_each_time_it_is_moved_aside(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURE_OWN_PYTHON", str(own))
    install(own, str(wheel(tmp_path, "tiny", "1.0")))
    aside = Path(own_packages.reset().folder)
    shutil.rmtree(own)
    aside.rename(own)
    install(own, str(wheel(tmp_path, "later", "2.0")))
    listed = own_packages.reset().list
    assert listed is not None
    assert [line.split()[0] for line in Path(listed).read_text().splitlines()] == ["later", "tiny"]


def test_what_is_installed_from_a_folder_to_work_on_comes_back(own: Path, tmp_path: Path) -> None:
    source = project(tmp_path / "내 것", "tiny")
    install(own, "--no-build-isolation", "-e", str(source))
    (tmp_path / "list").write_text("".join(f"{line}\n" for line in lines(own)))
    run(str(own / "bin" / "pip"), "uninstall", "--yes", "tiny")
    install(own, "--no-build-isolation", "-r", str(tmp_path / "list"))
    assert python(own, "import tiny; print(tiny.__file__)") == str(source / "tiny.py")


def test_what_is_installed_from_a_folder_of_a_repository_comes_back(own: Path, tmp_path: Path) -> None:
    project(tmp_path / "work" / "py", "tiny")
    git = ("git", "-C", str(tmp_path / "work"), "-c", "user.name=ana", "-c", "user.email=ana@example.org")
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "first"]):
        run(*git, *words)
    install(own, "--no-build-isolation", f"tiny @ git+file://{tmp_path / 'work'}#subdirectory=py")
    (tmp_path / "list").write_text("".join(f"{line}\n" for line in lines(own)))
    run(str(own / "bin" / "pip"), "uninstall", "--yes", "tiny")
    install(own, "--no-build-isolation", "-r", str(tmp_path / "list"))
    assert mine(own) == {"tiny": "1.0"}


def test_a_folder_is_no_place_for_a_list(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DURE_OWN_PYTHON", str(own))
    monkeypatch.setenv("DURE_LANGUAGE", "en")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    for word in (".", "..", str(tmp_path / "folder")):
        assert cli.main(["env", "snapshot", word]) == 1
        assert os.strerror(21) in capsys.readouterr().err
    assert list(tmp_path.glob("**/.*.new")) == []


def test_a_list_that_cannot_be_written_leaves_what_was_there(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURE_OWN_PYTHON", str(own))
    for word in ("/nonexistent/list", "x" * 300):
        assert cli.main(["env", "snapshot", word]) == 1


def test_elsewhere_it_says_where_it_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DURE_OWN_PYTHON", raising=False)
    monkeypatch.setenv("DURE_LANGUAGE", "ko")
    assert cli.main(["env"]) == 1
    said = capsys.readouterr().err
    assert "포털이 시작한 서버" in said


def test_packages_that_are_broken_are_no_obstacle(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = own_python.packages(own, own_python.here().version)
    (site / "broken-1.0.dist-info").mkdir()
    (site / "worse-1.0.dist-info").mkdir()
    (site / "worse-1.0.dist-info" / "METADATA").write_bytes(b"\xff\xfe\x00")
    (site / "deep-1.0.dist-info").mkdir()
    (site / "deep-1.0.dist-info" / "METADATA").write_text("Name: deep\nVersion: 1.0\n")
    (site / "deep-1.0.dist-info" / "direct_url.json").write_text(NESTED)
    monkeypatch.setenv("DURE_OWN_PYTHON", str(own))
    assert own_packages.show().packages == []
    own_packages.reset()
    assert python(own, "print('runs')") == "runs"


def test_from_within_one_that_lost_its_mark_nothing_is_made(
    own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    link = own / "lib" / f"python{own_python.here().version}" / "site-packages" / "zzz_dure_portal.pth"
    before = link.read_text()
    (own / own_python.MARK).unlink()
    monkeypatch.setenv("DURE_OWN_PYTHON", str(own))
    monkeypatch.setattr(sys, "prefix", str(own))
    assert cli.main(["env"]) == 1
    assert "lost its mark" in capsys.readouterr().err
    assert link.read_text() == before

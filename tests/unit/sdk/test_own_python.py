"""A person's own Python: real ones, with real pip, wheels of a few lines and no network."""

from __future__ import annotations

import json
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


def test_a_mark_that_is_a_link_or_no_mark_counts_for_nothing(own: Path, tmp_path: Path) -> None:
    mark = own / own_python.MARK
    mark.rename(tmp_path / "mark")
    mark.symlink_to(tmp_path / "mark")
    assert own_python.made_for(own) is None
    for text in ("", "[]", "{}", '{"version": 1}', "x" * 20_000):
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


def test_a_list_that_cannot_be_written_leaves_what_was_there(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURE_OWN_PYTHON", str(own))
    assert cli.main(["env", "snapshot", "/nonexistent/list"]) == 1


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
    monkeypatch.setenv("DURE_OWN_PYTHON", str(own))
    assert own_packages.show().packages == []
    own_packages.reset()
    assert python(own, "print('runs')") == "runs"

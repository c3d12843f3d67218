"""Which Python the kernels of a person's server run with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from dure import own_python
from dure_lab.kernelspecs import OwnPython


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's own Python, as their server is told of it."""
    made = own_python.make(tmp_path, own_python.here())
    monkeypatch.setenv("DURE_OWN_PYTHON", str(made))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "data"))
    return made


def kernel(folder: Path, name: str, *words: str) -> None:
    """One that somebody has installed."""
    (folder / "kernels" / name).mkdir(parents=True)
    said = {"argv": list(words), "display_name": name, "language": "python"}
    (folder / "kernels" / name / "kernel.json").write_text(json.dumps(said))


def test_python_runs_with_ones_own(own: Path) -> None:
    spec = OwnPython().get_kernel_spec("python3")
    assert spec.argv[0] == str(own / "bin" / "python")
    assert "ipykernel_launcher" in spec.argv
    assert spec.env["JUPYTER_PATH"].endswith(str(Path(sys.prefix) / "share" / "jupyter"))
    listed = OwnPython().get_all_specs()["python3"]["spec"]
    assert listed["argv"][0] == spec.argv[0]


def test_a_kernel_that_came_with_a_package_of_ones_own_does_too(own: Path, tmp_path: Path) -> None:
    kernel(tmp_path / "data", "python3", "python", "-m", "ipykernel_launcher", "-f", "{connection_file}")
    assert OwnPython().get_kernel_spec("python3").argv[0] == str(own / "bin" / "python")


def test_what_its_owner_has_named_stays(own: Path, tmp_path: Path) -> None:
    kernel(tmp_path / "data", "python3", "/opt/conda/bin/python", "-m", "ipykernel_launcher")
    kernel(tmp_path / "data", "other", "python", "-m", "other")
    assert OwnPython().get_kernel_spec("python3").argv[0] == "/opt/conda/bin/python"
    assert OwnPython().get_kernel_spec("other").argv[0] == "python"


def test_a_kernel_of_ones_own_packages_is_found_and_runs_with_ones_own(own: Path) -> None:
    shared = own / "share" / "jupyter"
    kernel(shared, "octave", "python", "-m", "octave_kernel", "-f", "{connection_file}")
    kernel(shared, "other", "/opt/other/bin/kernel")
    assert {"python3", "octave", "other"} <= set(OwnPython().find_kernel_specs())
    assert OwnPython().get_kernel_spec("octave").argv[0] == str(own / "bin" / "python")
    assert OwnPython().get_kernel_spec("other").argv[0] == "/opt/other/bin/kernel"


@pytest.mark.parametrize("lost", ["the variable", "the folder"])
def test_without_one_it_is_the_servers_own(own: Path, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    if lost == "the variable":
        monkeypatch.delenv("DURE_OWN_PYTHON")
    else:
        own.rename(own.with_name("gone"))
    assert OwnPython().get_kernel_spec("python3").argv[0] in ("python", sys.executable)  # which Jupyter makes that

"""What images are made of, before one is built."""

from __future__ import annotations

import re
import stat
import zipfile
from pathlib import Path

import pytest
import yaml

from tools import images
from tools.image_builder import Unbuildable, digest_in

INDEX = "https://somebody:word@index.example/simple"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that Containerfiles copy."""
    made = tmp_path_factory.mktemp("context")
    images.fill(made)
    return made


def files() -> list[str]:
    """The names of all that is built, stages too."""
    return [*images.images(), *images.STAGES]


@pytest.mark.parametrize("name", files())
def test_each_image_is_built_after_what_it_is_built_on(name: str) -> None:
    ordered = images.in_order([name])
    assert ordered[0] == "python"
    assert ordered[-1] == name
    for one in ordered[1:]:
        under = images.parent(one)
        assert under is not None
        assert ordered.index(under) < ordered.index(one)


def test_what_several_are_built_on_is_built_once() -> None:
    ordered = images.in_order(["train", "serve", "singleuser-cuda"])
    assert ordered == ["python", "tracking", "torch", "train", "serve", "lab-torch", "singleuser-cuda"]


def test_an_image_that_is_not_ours_is_refused_by_its_name() -> None:
    with pytest.raises(Unbuildable, match=r"no image named trian\. There are: .*train"):
        images.in_order(["trian"])


@pytest.mark.parametrize("name", files())
def test_a_file_is_read_at_a_glance_and_ends_as_somebody_without_privileges(name: str) -> None:
    text = images.file_of(name).read_text()
    assert len(text.splitlines()) <= 40
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1] == "1000:100"
    for run in re.findall(r"^RUN (?:.*\\\n)*.*$", text, re.MULTILINE):
        if "pip install" in run and "--no-index" not in run:
            assert "--mount=type=secret,id=pip,target=/etc/pip.conf" in run
            assert re.search(r"-c \S*requirements\.lock", run)


@pytest.mark.parametrize("name", files())
def test_all_that_a_file_copies_is_in_the_context(context: Path, name: str) -> None:
    for line in re.findall(r"^COPY (?!--from)(.*)$", images.file_of(name).read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert (context / source).exists()


def test_the_context_holds_our_packages_and_nothing_else_of_the_checkout(context: Path) -> None:
    names = {path.name for path in context.iterdir()}
    assert names == {"LICENSE", "files", "requirements", "requirements.lock", "wheels"}
    (wheel,) = (context / "wheels").iterdir()
    held = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert held == {"dure", "dure_hub", "dure_lab", "dure_widgets", f"dure-{images.version()}.dist-info"}


def test_the_same_sources_make_the_same_layer(context: Path, tmp_path: Path) -> None:
    images.fill(tmp_path)
    (first,), (second,) = (context / "wheels").iterdir(), (tmp_path / "wheels").iterdir()
    assert first.read_bytes() == second.read_bytes()


def test_the_address_of_an_index_goes_into_a_secret_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    monkeypatch.setenv("PIP_INDEX_URL", INDEX)
    monkeypatch.setenv("PIP_CERT", str(authority))
    words = images.secrets(tmp_path)
    (pip,) = (word for word in words if "id=pip" in word)
    file = Path(pip.partition("src=")[2])
    assert f"index-url = {INDEX}\n" in file.read_text()
    assert "cert = /run/secrets/ca\n" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"--secret=id=ca,src={authority}" in words
    assert not any("index.example" in word for word in words)


def test_the_chart_is_told_which_images_were_published() -> None:
    said = yaml.safe_load(images.values("registry.example/team", {"hub": "sha256:1", "portal": "sha256:2"}))
    assert said == {
        "images": {
            "prefix": "registry.example/team",
            "tag": images.version(),
            "digests": {"hub": "sha256:1", "portal": "sha256:2"},
        }
    }


def test_docker_is_believed_the_digest_of_the_repository_that_was_pushed_to() -> None:
    known = "registry.example/other/hub@sha256:1 registry.example:5000/team/hub@sha256:2"
    assert digest_in(known, "registry.example:5000/team/hub:0.1.0") == "sha256:2"
    with pytest.raises(Unbuildable, match=r"no digest of registry\.example/team/hub:0\.1\.0"):
        digest_in(known, "registry.example/team/hub:0.1.0")

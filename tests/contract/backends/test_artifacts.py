"""What every artifact store must do."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from dure_hub.backends.base import ArtifactBackend
from dure_hub.backends.embedded import FolderArtifacts
from dure_hub.settings import Settings


@pytest.fixture
def store(tmp_path: Path) -> ArtifactBackend:
    """A store at a URL of its own."""
    return FolderArtifacts(Settings(data=tmp_path / "d", artifacts_url=(tmp_path / "a store").as_uri()))


def put(store: ArtifactBackend, folder: Path, text: str) -> None:
    file = folder / "new"
    file.write_text(text)
    store.keep("models/a/1.bin", file)


def test_what_is_kept_comes_back_and_the_last_one_counts(store: ArtifactBackend, tmp_path: Path) -> None:
    assert not store.has("models/a/1.bin")
    with pytest.raises(FileNotFoundError):
        store.fetch("models/a/1.bin")
    put(store, tmp_path, "one")
    put(store, tmp_path, "two")
    assert store.has("models/a/1.bin")
    assert not store.has("models/a")
    assert store.fetch("models/a/1.bin").read_text() == "two"


@pytest.mark.parametrize("name", ["../out", "models/../../out", "/etc/passwd", "", "."])
def test_a_name_stays_inside(store: ArtifactBackend, tmp_path: Path, name: str) -> None:
    (tmp_path / "out").write_text("outside")
    for act in (store.has, store.fetch, lambda name: store.keep(name, tmp_path / "out")):
        with pytest.raises(ValueError, match="no name of an artifact"):
            act(name)


def test_from_another_file_system_it_is_copied_whole(
    store: ArtifactBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = Path.replace

    def across(self: Path, target: Path) -> Path:
        if self.parent != target.parent:
            raise OSError(errno.EXDEV, "another file system")
        return move(self, target)

    monkeypatch.setattr(Path, "replace", across)
    put(store, tmp_path, "one")
    kept = store.fetch("models/a/1.bin")
    assert kept.read_text() == "one"
    assert [path.name for path in kept.parent.iterdir()] == ["1.bin"]

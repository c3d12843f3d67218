"""What `up` refuses, and in which words."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dure.errors import DureError
from dure_hub.settings import DataFolder, Settings
from dure_hub.settings.shared import SharedFolder
from dure_hub.supervisor import checks, errors, prepare, words

MOUNTS = r"""
overlay / overlay rw 0 0
server:/homes /home nfs4 rw 0 0
/dev/sda1 /home/ana/local\040disk ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/sdb1 /tmp ext4 rw 0 0
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder that is there."""
    made = Settings.model_validate({"data": tmp_path / "d"})
    made.folder.create()
    return made


@pytest.fixture
def taken() -> Iterator[int]:
    """A loopback port that this process listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.parametrize(("found", "fits"), [((3, 10), False), ((3, 11), True), ((3, 14), True)])
def test_an_old_python_is_refused(found: tuple[int, int], fits: bool) -> None:
    if fits:
        checks.python_new_enough(found)
        return
    with pytest.raises(errors.PythonTooOld, match=r"Python 3\.10"):
        checks.python_new_enough(found)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/ana", "nfs4"),
        ("/homework", "overlay"),
        ("/home/ana/local disk/dure", "ext4"),
        ("/tmp/x", "ext4"),  # noqa: S108 - a line of a made-up table
        ("/var", "overlay"),
    ],
)
def test_the_deepest_and_latest_mount_counts(path: str, kind: str) -> None:
    assert checks.file_system(Path(path), MOUNTS) == kind


def test_a_network_file_system_is_refused_for_databases() -> None:
    with pytest.raises(errors.NetworkFileSystem, match="nfs4"):
        checks.disk_local(DataFolder(Path("/home/ben/.dure")), MOUNTS)
    checks.disk_local(DataFolder(Path("/home/ana/local disk/dure")), MOUNTS)


def test_a_full_disk_is_refused_with_figures(settings: Settings) -> None:
    checks.disk_enough(settings)
    with pytest.raises(errors.DiskTooSmall, match="wants 1000000000 MiB"):
        checks.disk_enough(settings.model_copy(update={"disk_minimum_mb": 10**9}))


def test_a_folder_of_a_newer_version_is_refused_and_untouched(tmp_path: Path) -> None:
    settings = Settings.model_validate({"data": tmp_path / "d"})
    settings.data.mkdir()
    (settings.data / "version").write_text(f"{checks.LAYOUT + 1}\n")
    with pytest.raises(errors.FolderNewer):
        prepare.make_folder(settings)
    assert [path.name for path in settings.data.iterdir()] == ["version"]


def test_a_new_folder_gets_its_version_and_private_modes(tmp_path: Path) -> None:
    settings = Settings.model_validate({"data": tmp_path / "d"})
    assert prepare.make_folder(settings) is True
    assert prepare.make_folder(settings) is False
    assert (settings.data / "version").read_text().strip() == str(checks.LAYOUT)
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in (settings.data, settings.folder.secrets))


def test_a_path_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.PathTooLong):
        prepare.make_folder(Settings.model_validate({"data": tmp_path / ("d" * 120)}))


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.FolderUnusable, match="Not a directory"):
        prepare.make_folder(Settings.model_validate({"data": tmp_path / "file" / "d"}))


def test_a_taken_port_names_the_process_and_another_port(taken: int) -> None:
    with pytest.raises(errors.PortTaken) as caught:
        checks.port_free("127.0.0.1", taken)
    assert f"process {os.getpid()}" in caught.value.text()
    assert caught.value.facts["free"] > taken
    checks.port_free("127.0.0.1", taken, ours=[os.getpid()])


def test_an_address_of_another_machine_is_said() -> None:
    with pytest.raises(errors.AddressNotOurs):
        checks.port_free("192.0.2.1", 8000)


def test_own_ports_are_kept_where_free_and_chosen_where_not(taken: int) -> None:
    chosen = checks.own_port(taken, [])
    assert chosen in checks.OWN_PORTS
    assert checks.own_port(chosen, []) == chosen
    assert checks.own_port(chosen, [chosen]) != chosen


def test_secrets_are_private_and_made_once(settings: Settings) -> None:
    prepare.make_secrets(settings)
    before = {name: settings.folder.secret(name) for name in prepare.SECRETS}
    prepare.make_secrets(settings)
    assert {name: settings.folder.secret(name) for name in prepare.SECRETS} == before
    assert len(set(before.values())) == len(before)
    assert len(before["cookie-secret"]) == 64
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in settings.folder.secrets.iterdir())


def test_the_mark_is_made_once(settings: Settings) -> None:
    mark = prepare.instance(settings)
    assert prepare.instance(settings) == mark
    assert len(mark) == 12


def test_a_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DURE_PORT", "many")
    with pytest.raises(errors.BadSetting, match="The setting port cannot be many"):
        prepare.settle(data=tmp_path)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"idle_timeout_s": 600, "activity_interval_s": 3600}, "activity_interval_s, which is 3600"),
        ({"idle_timeout_s": 100}, "activity_interval_s, which is 60"),
        ({"idle_timeout_s": 7199, "activity_interval_s": 3600}, "at least twice"),
    ],
)
def test_a_server_counts_as_idle_no_sooner_than_it_can_report(
    tmp_path: Path, given: dict[str, int], rule: str
) -> None:
    with pytest.raises(errors.BadSetting, match=rule) as refused:
        prepare.settle(data=tmp_path, **given)
    assert f"The setting idle_timeout_s cannot be {given['idle_timeout_s']}" in refused.value.text("en")
    for fits in ({"idle_timeout_s": 0, "activity_interval_s": 3600}, {"idle_timeout_s": 120}):
        prepare.settle(data=tmp_path, **fits)


def test_passwords_are_long_and_readable() -> None:
    made = {prepare.new_password() for _ in range(50)}
    assert len(made) == 50
    assert all(len(word) == 19 and not set(word) & set("01lio") for word in made)


def test_every_sentence_is_there_in_both_languages_with_the_same_facts() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DureError)]
    pairs = [text for kind in kinds for text in (kind.message, kind.next_step)] + list(words.LINES.values())
    for text in pairs:
        assert set(text) == {"en", "ko"}
        assert facts(text["en"]) == facts(text["ko"]), text


def facts(sentence: str) -> set[str]:
    """The names in braces."""
    return {part.split("}")[0] for part in sentence.split("{")[1:]}


def test_what_our_envoy_holds_counts_as_free_for_it(taken: int) -> None:
    assert checks.own_port(taken, (), {os.getpid()}) == taken
    assert checks.own_port(taken, (), {1}) != taken
    assert checks.own_port(taken, {taken}, {os.getpid()}) != taken


def test_a_shared_folder_that_the_portal_may_not_reach_is_named_with_the_reason(tmp_path: Path) -> None:
    closed = tmp_path / "closed" / "sets"
    closed.mkdir(parents=True)
    settings = Settings(data=tmp_path / "portal", shared_folders=[SharedFolder(name="sets", path=closed)])
    closed.parent.chmod(0)
    rights = os.geteuid()
    if rights == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(errors.SharedFolderUnfit, match=r"sets.*Permission denied") as told:
            checks.shared_folders_fit(settings)
    finally:
        os.seteuid(rights)
        closed.parent.chmod(0o700)
    assert "볼 수 없습니다(Permission denied)" in told.value.text("ko")
    assert "pass the folders above it" in told.value.advice("en")


def test_a_shared_folder_that_cannot_be_given_is_named(tmp_path: Path) -> None:
    (tmp_path / "sets").mkdir()
    (tmp_path / "file").write_text("")

    def settings(path: Path) -> Settings:
        return Settings(data=tmp_path / "portal", shared_folders=[SharedFolder(name="sets", path=path)])

    checks.shared_folders_fit(settings(tmp_path / "sets"))
    for path in (tmp_path / "none", tmp_path / "file", tmp_path, tmp_path / "portal"):
        with pytest.raises(errors.SharedFolderUnfit, match=f"sets.*{path}"):
            checks.shared_folders_fit(settings(path))
    (tmp_path / "sets" / "inner").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "sets" / "inner")
    for inner in (tmp_path / "sets" / "inner", tmp_path / "linked"):
        both = [SharedFolder(name="sets", path=tmp_path / "sets"), SharedFolder(name="inner", path=inner)]
        for order in (both, both[::-1]):
            with pytest.raises(errors.SharedFolderUnfit, match="is in another shared folder"):
                checks.shared_folders_fit(Settings(data=tmp_path / "portal", shared_folders=order))
    (tmp_path / "portal" / "db").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "portal" / "db")
    with pytest.raises(errors.SharedFolderUnfit, match="own data folder"):
        checks.shared_folders_fit(settings(tmp_path / "link"))

"""Accounts of the system, made by the system's own tools as root; each is removed again."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dure_hub.isolation import accounts, ground, pythons
from dure_hub.isolation.errors import AccountTaken, NoGroundForAccounts
from dure_hub.policies.naming import account_name
from dure_hub.settings import Settings
from dure_hub.spawners.folder import TUTORIALS, prepare_folder
from dure_hub.supervisor import prepare
from tests.support import accounts as support
from tests.unit.hub.test_spawner import make_spawner

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make accounts")


@pytest.fixture(scope="module")
def made() -> Iterator[support.Ground]:
    """Ground that others reach; this process runs by its Python."""
    with support.ground() as found, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(found.python))
        yield found


@pytest.fixture
def settings(made: support.Ground, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """A data folder with accounts, new for each test."""
    data = made.folder / request.node.name[:40]
    found = Settings(data=data, instance="0123456789ab", system_accounts="on", system_account_prefix=made.prefix)
    found.folder.create()
    yield found
    support.remove_accounts(made.prefix)


def test_an_account_is_made_once_with_a_home_that_only_its_owner_enters(settings: Settings) -> None:
    first = accounts.ensure(settings, "ana")
    assert accounts.ensure(settings, "ana") == first == accounts.find(settings, "ana")
    found, home = pwd.getpwnam(first.name), first.home.stat()
    assert (found.pw_dir, found.pw_shell) == (str(settings.folder.users / "ana"), "/usr/sbin/nologin")
    assert (home.st_uid, home.st_gid, home.st_mode & 0o777) == (first.uid, first.gid, 0o700)
    assert accounts.ensure(settings, "ben").uid != first.uid
    for way in (settings.folder.root, settings.folder.users):
        assert (way.stat().st_uid, way.stat().st_mode & 0o777) == (0, 0o710)
    assert settings.folder.secrets.stat().st_mode & 0o777 == 0o700


def test_a_home_that_its_owner_opened_is_closed_again(settings: Settings) -> None:
    home = accounts.ensure(settings, "ana").home
    home.chmod(0o755)
    accounts.ensure(settings, "ana")
    assert home.stat().st_mode & 0o777 == 0o700


def test_what_was_there_before_is_handed_over(settings: Settings) -> None:
    home = settings.folder.users / "ana"
    home.mkdir(mode=0o755)
    (home / "notes").write_text("from before")
    account = accounts.ensure(settings, "ana")
    assert (home / "notes").stat().st_uid == account.uid
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_name_that_is_somebody_elses_is_refused(settings: Settings) -> None:
    name = account_name(settings.system_account_prefix, "ana")
    command = ["/usr/sbin/useradd", "--no-create-home", "--home-dir", "/var/empty", name]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(AccountTaken, match=r"/var/empty"):
        accounts.ensure(settings, "ana")
    assert not (settings.folder.users / "ana").exists()


def test_shipped_notebooks_are_the_persons_and_no_link_leads_the_portal_out(
    settings: Settings, made: support.Ground
) -> None:
    account = accounts.ensure(settings, "ana")
    assert (prepare_folder(settings, "ana") / TUTORIALS).stat().st_uid == account.uid
    outside = made.folder / "outside"
    outside.mkdir(mode=0o700)
    ben = accounts.ensure(settings, "ben")
    (ben.home / TUTORIALS).symlink_to(outside / "new")
    os.chown(ben.home / TUTORIALS, ben.uid, ben.gid, follow_symlinks=False)
    prepare_folder(settings, "ben")
    assert list(outside.iterdir()) == []


@needs_root
def test_where_others_cannot_come_nobody_has_an_account_and_the_reason_is_told(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert ground.closed_folder(closed / "data") in (closed, *closed.parents)
    settings = Settings(data=closed / "data")
    assert prepare.with_accounts(settings).system_accounts == "off"
    with pytest.raises(NoGroundForAccounts, match="other users cannot enter"):
        prepare.with_accounts(settings.model_copy(update={"system_accounts": "on"}))


@needs_root
def test_where_others_can_come_everybody_has_one(settings: Settings) -> None:
    asked = settings.model_copy(update={"system_accounts": "auto"})
    assert prepare.with_accounts(asked).system_accounts == "on"
    off = settings.model_copy(update={"system_accounts": "off"})
    assert prepare.with_accounts(off).system_accounts == "off"


def test_up_leaves_the_way_open_and_closes_anything_more(settings: Settings) -> None:
    root = settings.folder.root
    for before, after in ((0o710, 0o710), (0o755, 0o700), (0o700, 0o700)):
        root.chmod(before)
        prepare.make_folder(settings)
        assert root.stat().st_mode & 0o777 == after


def test_a_server_is_not_told_that_root_is_fine_and_keeps_its_kernels_sockets_in_its_own_tmp(
    settings: Settings, tmp_path: Path
) -> None:
    spawner = make_spawner(tmp_path)
    assert "--allow-root" in spawner._work().command
    spawner.operations.settings = settings
    work = spawner._work()
    assert "--allow-root" not in work.command
    assert work.folder == settings.folder.users / "ana"
    assert prepare_folder(settings, "ana") == work.folder
    assert work.folder.stat().st_uid == accounts.ensure(settings, "ana").uid
    if ground.own_tmp():
        assert work.environment["JUPYTER_RUNTIME_DIR"] == "/tmp/.jupyter"  # noqa: S108 - its own
        first, second = work.environment["JUPYTER_CONFIG_PATH"].split(os.pathsep)
        assert (Path(first) / "jupyter_server_config.json").exists()
        assert (Path(second) / "jupyter_server_config.json").exists()


def test_a_persons_own_python_is_theirs_and_no_link_leads_the_portal_out(
    settings: Settings, made: support.Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "_base_executable", str(made.python.resolve()))  # as in a portal that runs by it
    account = accounts.ensure(settings, "ana")
    own = pythons.ensure(settings, "ana")
    assert own == account.home / ".dure" / "python"
    assert {one.lstat().st_uid for one in own.rglob("*")} == {account.uid}
    done = subprocess.run(
        [own / "bin" / "python", "-c", "import dure, os; print(os.getuid())"],
        user=account.uid,
        group=account.gid,
        extra_groups=[account.shared],
        env=made.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.strip() == str(account.uid), done.stderr
    for lost in (own / "bin" / "python", own / "pyvenv.cfg"):
        lost.unlink()
        assert pythons.ensure(settings, "ana") == own
        assert lost.exists()
        assert lost.lstat().st_uid == account.uid
    outside = made.folder / "outside-python"
    outside.mkdir(mode=0o700)
    ben = accounts.ensure(settings, "ben")
    (ben.home / ".dure").symlink_to(outside)
    os.chown(ben.home / ".dure", ben.uid, ben.gid, follow_symlinks=False)
    assert pythons.ensure(settings, "ben") is None
    assert list(outside.iterdir()) == []
    assert pythons.ensure(settings, "nobody") is None

"""A restore that is killed between any two of its last steps: folder, artifacts and database are of one portal."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from dure.cli import main
from dure_hub.archives import postgres as postgres_archives
from dure_hub.archives.backup import backup
from dure_hub.archives.restore import restore
from dure_hub.settings import Settings
from dure_hub.store import engines
from dure_hub.supervisor import prepare, restoring, swap
from dure_hub.supervisor.errors import SomebodyElseWorks
from dure_hub.supervisor.restore_errors import RestoreIncomplete, RestoreUnknown
from tests.support.postgres import Postgres, programs
from tests.unit.archives.conftest import quiet, state
from tests.unit.archives.test_restore import note, noted
from tests.unit.services.waiting import until

pytestmark = pytest.mark.timeout(600)
OWN = ("instance", "run/settings.json")
"""What two restores of one backup do not have in common."""
STEPS = ((Path, "rename"), (Path, "replace"), (Path, "unlink"), (Path, "touch"), (swap, "_exchange"))
"""What changes names, and so what a kill may come after."""


@dataclass
class Place:
    """A portal of which a backup is, changed since, with its artifacts elsewhere."""

    file: Path
    root: Path
    artifacts: Path

    def anew(self, data: Path) -> None:
        """As it was before the restore."""
        shutil.rmtree(self.root.parent, ignore_errors=True)
        shutil.copytree(data, self.root, symlinks=True)
        (self.root / "users" / "ana" / "since").write_text("after the backup")
        self.artifacts.mkdir(parents=True)
        (self.artifacts / "model").write_text("newer")

    def what(self) -> tuple[dict[str, str], str]:
        """What is there now."""
        found = {name: digest for name, digest in state(self.root).items() if name not in OWN}
        return found, (self.artifacts / "model").read_text()

    def mixed(self) -> bool:
        """Whether the artifacts are restored and the folder is not."""
        model = self.artifacts / "model"
        return model.exists() and model.read_text() != "newer" and (self.root / "users" / "ana" / "since").exists()

    def beside(self) -> list[str]:
        """What else lies there, without its time."""
        every = (*self.root.parent.iterdir(), *self.artifacts.parent.iterdir())
        names = [path.name.partition("-restore-")[0] for path in every]
        return sorted(name for name in names if not name.startswith("."))  # locks that a kill leaves


@pytest.fixture
def place(settings: Settings, data: Path, tmp_path: Path) -> Place:
    """`data` holds what the backup holds."""
    made = Place(tmp_path / "b", tmp_path / "at" / "target", tmp_path / "at" / "large" / "artifacts")
    made.artifacts.mkdir(parents=True)
    (made.artifacts / "model").write_text("of the backup")
    url = made.artifacts.as_uri()
    (data / "dure.yaml").write_text(f"artifacts_url: {url}\n")
    backup(settings.model_copy(update={"artifacts_url": url}), made.file, True, quiet)
    return made


def killed_after(steps: int, work: Callable[[], Any], *more: tuple[Any, str]) -> bool:
    """Do it in a process that is killed after so many steps of what is recorded; whether it came so far."""
    child = os.fork()
    if child == 0:  # pragma: no cover
        code = 1
        try:
            with pytest.MonkeyPatch.context() as patch:
                _count(patch, steps, more)
                work()
            code = 0
        finally:
            os._exit(code)
    _, ended = os.waitpid(child, 0)
    assert ended in (0, signal.SIGKILL), "it failed by itself"
    return ended != 0


def _count(patch: pytest.MonkeyPatch, last: int, more: tuple[tuple[Any, str], ...]) -> None:
    """Kill this process after the last step. The record of what is to come is the first; 0 is just before."""
    done: list[str] = []
    begun: list[bool] = []
    record, finish = restoring.record, restoring.finish

    def begin(function: Callable[..., Any]) -> Callable[..., Any]:
        def begins(root: Path, *words: Any) -> Any:
            if function is record or root.with_name(f".{root.name}.restoring.json").exists():
                begun.append(True)
                if last == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return function(root, *words)

        return begins

    def step(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def stepped(*words: Any, **named: Any) -> Any:
            found = real(*words, **named)
            if begun:
                done.append(name)
                if len(done) == last:
                    os.kill(os.getpid(), signal.SIGKILL)
            return found

        patch.setattr(owner, name, stepped)

    patch.setattr(restoring, "record", begin(record))
    patch.setattr(restoring, "finish", begin(finish))
    for one in (*STEPS, *more):
        step(*one)


def unable(one: Path, other: Path) -> None:
    """As a file system that cannot swap two folders."""
    raise OSError(errno.EINVAL, "Invalid argument")


@pytest.mark.parametrize("swaps", [True, False], ids=["swaps", "renames"])
def test_a_restore_that_is_killed_between_its_renames_is_carried_on_by_the_next_up(
    place: Place, data: Path, monkeypatch: pytest.MonkeyPatch, swaps: bool
) -> None:
    if not swaps:
        monkeypatch.setattr(swap, "_exchange", unable)
    place.anew(data)
    before = place.what()
    restore(place.file, place.root, True, quiet)
    wanted = place.what()
    assert wanted != before
    assert killed_after(0, lambda: _again(place, data))
    prepare.settle_whole(quiet, data=place.root)
    assert place.what() == before, "nothing was recorded yet, and nothing was renamed"
    mixed = 0
    for steps in count(1):
        if not killed_after(steps, lambda: _again(place, data)):
            break
        mixed += place.mixed()
        killed_after(2, lambda: restoring.finish(place.root))  # whoever carries it on may be killed, too
        prepare.settle_whole(quiet, data=place.root)
        assert place.what() == wanted, f"killed after {steps} steps"
        assert not _recorded(place)
        assert place.beside() == ["artifacts", "artifacts.before", "large", "target", "target.before"]
    assert steps > 5
    assert mixed, "else this shows nothing"


def _again(place: Place, data: Path) -> None:
    place.anew(data)
    restore(place.file, place.root, True, quiet)


def _recorded(place: Place) -> bool:
    return place.root.with_name(f".{place.root.name}.restoring.json").exists()


def test_what_somebody_restores_just_now_is_left_to_them(place: Place, data: Path) -> None:
    killed_after(1, lambda: _again(place, data))
    with swap.alone(restoring.unpacking(place.root)), pytest.raises(SomebodyElseWorks):
        prepare.settle_whole(quiet, data=place.root)
    assert _recorded(place)
    assert restoring.finish(place.root)


def test_the_record_is_for_its_owner_alone_and_the_next_restore_carries_on_first(place: Place, data: Path) -> None:
    killed_after(1, lambda: _again(place, data))
    record = place.root.with_name(f".{place.root.name}.restoring.json")
    assert record.stat().st_mode & 0o077 == 0
    restore(place.file, place.root, True, quiet)
    assert place.beside().count("target.before") == 2, "what the first had restored was moved aside by the second"
    assert not record.exists()


def test_with_postgresql_its_transaction_decides_for_all(
    place: Place, settings: Settings, data: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = programs()
    assert folder is not None
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    file = place.file.with_name("p")
    there = {"database_url": postgres.migrated(), "artifacts_url": place.artifacts.as_uri()}
    with_database = settings.model_copy(update=there)
    note(with_database, "before")
    backup(with_database, file, True, quiet)
    place = Place(file, place.root, place.artifacts)
    left, taken = (["newer"], "newer", True), (["before"], "of the backup", False)
    outcomes = []
    for steps in range(6):
        ours = settings.model_copy(update={"database_url": postgres.migrated()})
        note(ours, "newer")
        monkeypatch.setenv("DURE_DATABASE_URL", ours.database_url)
        assert killed_after(steps, lambda: _again(place, data), (postgres_archives, "restore"))
        with monkeypatch.context() as patch:
            if steps:
                patch.setattr(engines, "address", lambda _: _away(postgres))
                with pytest.raises(RestoreUnknown, match=r"restoring\.json"):
                    restoring.finish(place.root)
        prepare.settle_whole(quiet, data=place.root)
        found = (noted(ours), place.what()[1], (place.root / "users" / "ana" / "since").exists())
        assert found in (left, taken), f"killed after {steps} steps, a part of it is restored: {found}"
        outcomes.append(found == taken)
        assert not _recorded(place)
    assert outcomes == [False] * 3 + [True] * 3, "the third step is that the database has taken it"


def _away(postgres: Postgres) -> Any:
    return make_url(postgres.url("no_such_database"))


def test_where_a_disk_is_away_the_record_waits_for_it(place: Place, data: Path) -> None:
    assert killed_after(1, lambda: _again(place, data))
    disk = place.artifacts.parent
    away = disk.with_name("away")
    disk.rename(away)
    for mount_point in (False, True):
        if mount_point:
            disk.mkdir()
        with pytest.raises(RestoreIncomplete, match="large/artifacts"):
            prepare.settle_whole(quiet, data=place.root)
        assert _recorded(place)
    disk.rmdir()
    away.rename(disk)
    prepare.settle_whole(quiet, data=place.root)
    assert place.what()[1] == "of the backup"
    assert not (place.root / "users" / "ana" / "since").exists()


def test_until_it_is_carried_on_nobody_reads_or_writes_the_mixture(
    place: Place, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert killed_after(1, lambda: _again(place, data))
    monkeypatch.setenv("DURE_DATA", str(place.root))
    late = tmp_path / "late"
    for words in (["backup", str(late)], ["user", "add", "cara"], ["user", "disable", "ana"], ["upgrade"]):
        assert main(words) != 0
        assert "was interrupted" in capsys.readouterr().err, words
    assert not late.exists()


def test_a_transaction_that_outlived_its_restore_is_waited_for(
    settings: Settings, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = settings.model_copy(update={"database_url": postgres.migrated()})
    made = tmp_path / "made"
    made.mkdir()
    root = tmp_path / "root"
    move = restoring.Move(made=made, place=root, old=tmp_path / "old", inode=made.stat().st_ino)
    restoring.record(root, restoring.Plan(moves=(move,), mark="new", database_url=ours.database_url))
    url = engines.address(ours).set(drivername="postgresql").render_as_string(hide_password=False)
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(url) as late,
        psycopg.connect(url, autocommit=True) as look,
    ):
        late.execute(f"SELECT pg_advisory_xact_lock({restoring.LOCK})")
        late.execute("COMMENT ON TABLE public.alembic_version IS 'new'")
        finished = pool.submit(restoring.finish, root)
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        until(lambda: look.execute(waits).fetchone() == (1,), "it to wait")
        late.commit()
        assert finished.result(60), "what was committed after the kill counts"
    assert root.is_dir()


def test_where_the_database_is_gone_for_good_the_way_out_is_named(tmp_path: Path) -> None:
    secret = tmp_path / "gone"
    plan = restoring.Plan(moves=(), mark="new", database_url="postgresql://x@127.0.0.1:1/x")
    for more in ({}, {"database_password_file": secret}):
        restoring.record(tmp_path / "root", plan.model_copy(update=more))
        with pytest.raises(RestoreUnknown) as caught:
            restoring.finish(tmp_path / "root")
        assert ".root.restoring.json" in caught.value.advice("en")
        assert ".root.restoring.json" in caught.value.advice("ko")

"""An old hub's people, read and brought over: whole, once, and never into an empty home."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm
from sqlalchemy import make_url, select, text
from sqlalchemy.exc import DBAPIError

from dure.cli import main
from dure_hub import accounts
from dure_hub.importing import bring, homes, rows, source, volumes
from dure_hub.importing.errors import BadPattern, NoHubYet, NoRoom, NoSecret, NoSuchHub, PortalIsUp, StrangeHub
from dure_hub.policies.importing import OldUser
from dure_hub.settings import Settings
from dure_hub.store import Store, database_url
from dure_hub.store.migrate import migrate
from dure_hub.store.models import Event
from dure_hub.supervisor import lock
from tests.support.oldhub import fill, old_database
from tests.support.postgres import Postgres
from tests.support.postgres import postgres as postgres

PEOPLE = {"ana": ("vision",), "ben": ("vision", "speech"), "Cho": (), "dan": (), "eve": (), "root": ()}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A portal that was up once and is down."""
    made = Settings(data=tmp_path / "data", instance="0123456789ab", disk_minimum_mb=0)
    made.folder.create()
    made.save()
    migrate(made)
    factory = orm.new_session_factory(f"sqlite:///{made.folder.db / 'hub.sqlite'}")
    with factory() as db:
        db.add(orm.User(name="root"))
        db.commit()
        db.get_bind().dispose()
    accounts.add_user(made, "root", "a long password", admin=True)
    return made


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return old_database(tmp_path / "jupyterhub.sqlite", PEOPLE, admins=("ben",), state={"ana": "claim-of-ana"})


@pytest.fixture
def pattern(tmp_path: Path) -> str:
    """Homes of ana, ben and Cho with something in them, an empty one of dan, none of eve."""
    for name in ("ana", "ben", "Cho", "dan"):
        (tmp_path / "home" / name).mkdir(parents=True)
    for name in ("ana", "ben", "Cho"):
        (tmp_path / "home" / name / "a.ipynb").write_text(f"of {name}")
    return f"{tmp_path}/home/{{username}}"


def outcomes(steps: list[bring.Step]) -> dict[str, str]:
    return {step.mapped.old.name: step.outcome for step in steps}


def quiet(_step: bring.Step, _so_far: homes.Copied) -> None:
    """Say nothing."""


def events(settings: Settings) -> list[tuple[str, str, Any]]:
    store = Store(database_url(settings))
    with store.reading() as session:
        found = [
            (row.actor, row.object, row.verdict)
            for row in session.scalars(select(Event).where(Event.verb == "import.person").order_by(Event.seq))
        ]
    store.close()
    return found


def test_the_old_database_is_read_and_not_touched(old: Path) -> None:
    before = old.read_bytes()
    old.chmod(0o400)
    found = {user.name: user for user in source.read_hub(str(old))}
    assert sorted(found) == sorted(PEOPLE)
    assert found["ben"] == OldUser("ben", True, ("speech", "vision"), ("gpu",), {})
    assert found["ana"].pvcs == {"": "claim-of-ana"}
    assert source.read_hub(f"sqlite:///{old}") == source.read_hub(str(old))
    assert old.read_bytes() == before


def test_an_old_hub_on_postgresql_is_read_in_a_transaction_that_may_not_write(postgres: Postgres) -> None:
    address = postgres.empty()
    fill(address, {"ana": ("vision",)}, admins=("ana",))
    assert source.read_hub(address) == [OldUser("ana", True, ("vision",), ("gpu",), {})]
    engine = source._server(make_url(address), None)
    with engine.connect() as db, pytest.raises(DBAPIError, match="read-only"):
        db.execute(text("DELETE FROM user_group_map"))
    engine.dispose()


def test_what_is_no_old_hub_is_refused_with_a_sentence(tmp_path: Path, old: Path, settings: Settings) -> None:
    with pytest.raises(NoSuchHub, match="no such file"):
        source.read_hub(str(tmp_path / "nothing.sqlite"))
    (tmp_path / "junk").write_text("no database at all, but long enough to be looked at" * 99)
    with pytest.raises(NoSuchHub, match="not a database"):
        source.read_hub(str(tmp_path / "junk"))
    with pytest.raises(StrangeHub, match="of Dure itself"):
        source.read_hub(str(settings.folder.db / "hub.sqlite"))
    with sqlite3.connect(old) as db:
        db.execute("DROP TABLE user_role_map")
    db.close()
    with pytest.raises(StrangeHub, match="user_role_map"):
        source.read_hub(str(old))
    with pytest.raises(NoSuchHub):
        source.read_hub("nonsense://x/y")


def test_secrets_come_from_a_closed_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoSecret, match="everybody") as told:
        source.read_hub("postgresql://hub:marker@127.0.0.1:1/hub")
    assert "marker" not in str(told.value)
    file = tmp_path / "token"
    file.write_text("marker\n")
    file.chmod(0o640)
    with pytest.raises(NoSecret, match="others can read it"):
        source.secret(file)
    file.chmod(0o600)
    assert source.secret(file) == "marker"
    monkeypatch.setenv(source.VARIABLE, "from-there")
    assert source.secret(None) == "from-there"
    monkeypatch.delenv(source.VARIABLE)
    with pytest.raises(NoSecret, match="there is none"):
        source.read_hub("http://127.0.0.1:1")


def test_the_plan_changes_nothing_and_says_everything(
    settings: Settings,
    old: Path,
    pattern: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DURE_LANGUAGE", "en")
    words = ["import", "--data", str(settings.folder.root), "jupyterhub", str(old), "--homes", pattern]
    assert main([*words, "--dry-run"]) == 1
    said = capsys.readouterr().out
    assert "refused: somebody here has the name" in said
    assert "Teams: speech, vision" in said
    assert "dure user reset NAME" in said
    assert main([*words, "--dry-run", "--json"]) == 1
    found = {one["old"]: (one["name"], one["outcome"]) for one in json.loads(capsys.readouterr().out)}
    assert found == {
        "ana": ("ana", "bring"),
        "ben": ("ben", "bring"),
        "Cho": ("cho", "bring"),
        "dan": ("dan", "empty"),
        "eve": ("eve", "no_home"),
        "root": (None, "taken"),
    }
    assert main(words) == 1
    assert "say --dry-run to look, or --copy" in capsys.readouterr().err
    assert [one.name for one in accounts.list_users(settings)] == ["root"]
    assert list(settings.folder.users.iterdir()) == []
    assert rows.look(settings).imported == {}


def test_people_come_over_whole_and_once(settings: Settings, old: Path, pattern: str) -> None:
    users = source.read_hub(str(old))
    done = bring.bring(settings, bring.plan(settings, users, pattern, ["eve"]), "machine:root", quiet)
    expected = {
        "ana": "brought",
        "ben": "brought",
        "Cho": "brought",
        "dan": "empty",
        "eve": "brought",
        "root": "taken",
    }
    assert outcomes(done) == expected
    assert [(one.name, one.admin) for one in accounts.list_users(settings)] == [
        ("ana", False),
        ("ben", True),
        ("cho", False),
        ("eve", False),
        ("root", True),
    ]
    assert (settings.folder.users / "cho" / "a.ipynb").read_text() == "of Cho"
    assert stat.S_IMODE((settings.folder.users / "cho").stat().st_mode) == 0o700
    assert not (settings.folder.users / "dan").exists()
    with accounts.opened(settings) as db:
        joined = "SELECT u.name, g.name FROM users u JOIN user_group_map m ON m.user_id = u.id JOIN groups g "
        members = db.execute(text(joined + "ON g.id = m.group_id ORDER BY 1, 2")).all()
    assert [tuple(one) for one in members] == [("ana", "vision"), ("ben", "speech"), ("ben", "vision")]
    told = events(settings)
    assert [(actor, thing) for actor, thing, _ in told] == [
        ("machine:root", f"user:{name}") for name in ("cho", "ana", "ben", "eve")
    ]
    assert told[1][2]["facts"]["teams"] == ["vision"]

    (settings.folder.users / "ana" / "a.ipynb").write_text("changed here")
    again = bring.bring(settings, bring.plan(settings, users, pattern, ["eve"]), "machine:root", quiet)
    assert outcomes(again) == {**expected, **dict.fromkeys(("ana", "ben", "Cho", "eve"), "already")}
    assert (settings.folder.users / "ana" / "a.ipynb").read_text() == "changed here"
    assert len(events(settings)) == 4


KILLED = """
import os, signal, sys
from dure_hub.importing import bring, homes, rows, source
from dure_hub.settings import load_settings
data, old, pattern, at = sys.argv[1:]
settings = load_settings(data)
def die(*_a, **_k):
    os.kill(os.getpid(), signal.SIGKILL)
if at == "file":
    real, seen = homes._file, []
    def second(*a):
        seen.append(1)
        real(*a) if len(seen) < 2 else die()
    homes._file = second
elif at == "moved":
    rows.finish = die
elif at == "commit":
    from dure_hub import account_end
    account_end.tell = die
bring.bring(settings, bring.plan(settings, source.read_hub(old), pattern), "machine:root", lambda *_: None)
"""


@pytest.mark.parametrize("at", ["file", "moved", "commit"])
def test_a_killed_run_is_gone_on_with(settings: Settings, tmp_path: Path, pattern: str, at: str) -> None:
    old = old_database(tmp_path / "one.sqlite", {"ana": ("vision",)})
    (tmp_path / "home" / "ana" / "b.txt").write_text("second")
    words = [str(settings.folder.root), str(old), pattern, at]
    assert subprocess.run([sys.executable, "-c", KILLED, *words], check=False, timeout=120).returncode == -9
    assert [one.name for one in accounts.list_users(settings)] == ["root"]
    assert (settings.folder.users / "ana").exists() == (at != "file")

    done = bring.bring(settings, bring.plan(settings, source.read_hub(str(old)), pattern), "machine:root", quiet)

    assert outcomes(done) == {"ana": "brought"}
    assert done[0].copied is not None
    assert done[0].copied.again == (1 if at == "file" else 0)
    assert sorted(one.name for one in (settings.folder.users / "ana").iterdir()) == ["a.ipynb", "b.txt"]
    assert [one.name for one in settings.folder.users.iterdir()] == ["ana"]
    assert [one.name for one in accounts.list_users(settings)] == ["ana", "root"]


def test_who_made_a_home_or_an_account_here_meanwhile_is_refused_by_name(
    settings: Settings, tmp_path: Path, pattern: str
) -> None:
    old = old_database(tmp_path / "two.sqlite", {"ana": (), "ben": ()})
    (tmp_path / "home" / "ana" / "b.txt").write_text("second")
    words = [str(settings.folder.root), str(old), pattern, "file"]
    assert subprocess.run([sys.executable, "-c", KILLED, *words], check=False, timeout=120).returncode == -9
    assert rows.look(settings).imported["ana"] == ("ana", rows.COPYING)
    early = bring.plan(settings, source.read_hub(str(old)), pattern)
    (settings.folder.users / "ana").mkdir()  # her first login
    accounts.add_user(settings, "ben", "a long password", admin=False)
    late = bring.plan(settings, source.read_hub(str(old)), pattern)
    assert outcomes(late) == {"ana": "taken", "ben": "taken"}
    done = bring.bring(settings, early, "machine:root", quiet)
    assert outcomes(done) == {"ana": "taken", "ben": "taken"}
    assert list((settings.folder.users / "ana").iterdir()) == []
    assert events(settings) == []


def test_what_stands_in_the_way_is_said_before_anything_is_done(
    settings: Settings, old: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = bring.plan(settings, source.read_hub(str(old)), pattern)
    with lock.held(settings), pytest.raises(PortalIsUp):
        bring.bring(settings, steps, "machine:root", quiet)
    monkeypatch.setattr(bring, "size_of", lambda _home: 1 << 60)
    with pytest.raises(NoRoom):
        bring.bring(settings, steps, "machine:root", quiet)
    monkeypatch.undo()
    with accounts.opened(settings) as db:
        db.execute(text("DROP TABLE user_group_map"))
    with pytest.raises(NoHubYet):
        bring.bring(settings, steps, "machine:root", quiet)
    assert list(settings.folder.users.iterdir()) == []


def test_a_home_that_fails_leaves_out_its_person_alone(
    settings: Settings, old: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = homes.copy_home

    def fail(source: Path, *more: Any) -> homes.Copied:
        if source.name == "ana":
            raise OSError(5, "Input/output error")
        return real(source, *more)

    monkeypatch.setattr(bring, "copy_home", fail)
    done = bring.bring(settings, bring.plan(settings, source.read_hub(str(old)), pattern), "machine:root", quiet)
    assert outcomes(done)["ana"] == "failed"
    assert outcomes(done)["ben"] == "brought"
    assert accounts.find_user(settings, "ana") is None
    monkeypatch.undo()
    again = bring.bring(settings, bring.plan(settings, source.read_hub(str(old)), pattern), "machine:root", quiet)
    assert outcomes(again)["ana"] == "brought"


def test_a_folder_that_is_there_is_nobodys_to_take(settings: Settings, old: Path, pattern: str) -> None:
    (settings.folder.users / "ana").mkdir()
    assert outcomes(bring.plan(settings, source.read_hub(str(old)), pattern))["ana"] == "taken"


def test_a_copy_keeps_modes_and_times_and_follows_no_link(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("not theirs")
    home = tmp_path / "home"
    (home / "in").mkdir(parents=True)
    (home / "in" / "run.sh").write_text("x" * 3_000_000)
    (home / "in" / "run.sh").chmod(0o4750)
    os.utime(home / "in" / "run.sh", ns=(1, 1_000_000_000_123_456_789))
    (home / "out").symlink_to(secret)
    (home / "file").symlink_to(secret / "key")
    os.mkfifo(home / "pipe")
    (home / "in").chmod(0o550)
    os.utime(home / "in", ns=(1, 2_000_000_000))

    done = homes.copy_home(home, tmp_path / "copy")

    copy = tmp_path / "copy"
    assert (done.files, done.links, done.left_out, done.again) == (1, 2, 1, 0)
    about = (copy / "in" / "run.sh").stat()
    assert (stat.S_IMODE(about.st_mode), about.st_mtime_ns, about.st_size) == (
        0o750,
        1_000_000_000_123_456_789,
        3_000_000,
    )
    assert (stat.S_IMODE((copy / "in").stat().st_mode), (copy / "in").stat().st_mtime_ns) == (0o550, 2_000_000_000)
    assert (copy / "out").is_symlink()
    assert (copy / "out").readlink() == secret
    assert not any(path.name == "key" for path in copy.rglob("*"))
    assert homes.copy_home(home, copy).again == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of somebody else's")
def test_another_name_of_somebody_elses_file_is_not_copied(tmp_path: Path) -> None:
    home, shadow = tmp_path / "home", tmp_path / "shadow"
    home.mkdir()
    shadow.write_text("of root")
    (home / "stolen").hardlink_to(shadow)
    (home / "mine").write_text("hers")
    (home / "mine too").hardlink_to(home / "mine")
    for path in (home, home / "mine"):
        os.chown(path, 12345, 12345)
    assert homes.copy_home(home, tmp_path / "copy").left_out == 1
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["mine", "mine too"]


def test_homes_are_looked_for_where_the_pattern_says_and_nowhere_else(tmp_path: Path) -> None:
    for wrong in ("home/{username}", "/home/ana", "/home/{username}/{x}"):
        with pytest.raises(BadPattern):
            homes.home_of(wrong, "ana")
    for name in ("..", ".", "", "a/b", "../../etc"):
        assert homes.home_of(f"{tmp_path}/{{username}}", name).state == "missing"
    (tmp_path / "link").symlink_to("/etc")
    assert homes.home_of(f"{tmp_path}/{{username}}", "link").state == "missing"
    assert homes.home_of(None, "ana").state == "unknown"


def test_volumes_are_matched_and_written_for_later(tmp_path: Path) -> None:
    listed = tmp_path / "pvcs.json"
    names = ["claim-of-ana", "claim-ana", "claim-ben--gpu", "claim-somebody"]
    items = [{"metadata": {"name": name, "namespace": "hub"}} for name in names]
    listed.write_text(json.dumps({"items": items}))
    found = volumes.read_volumes(listed)
    ana, ben = OldUser("ana", pvcs={"": "claim-of-ana"}), OldUser("ben", servers=("gpu",))
    file = tmp_path / "mapping.json"
    assert volumes.write_mapping(file, [("ana", ana), ("ben", ben), ("cho", OldUser("Cho"))], found) == 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    people = json.loads(file.read_text())["people"]
    assert people["ana"]["volumes"] == [
        {"server": "", "pvc": "claim-of-ana", "scheme": "remembered", "namespace": "hub"}
    ]
    assert [one["pvc"] for one in people["ben"]["volumes"]] == ["claim-ben--gpu"]
    assert people["cho"] == {"old": "Cho", "volumes": []}
    listed.write_text(json.dumps({"items": [*items, {"metadata": {"name": "claim-ana", "namespace": "b"}}]}))
    with pytest.raises(BadPattern, match="two namespaces"):
        volumes.read_volumes(listed)
    listed.write_text("{}")
    with pytest.raises(BadPattern):
        volumes.read_volumes(listed)

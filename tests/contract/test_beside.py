"""Our hub beside a stock one on the same host: one browser's cookies, which know no ports, serve both.

Both hubs are real. The browser is a client with one jar of cookies, kept by name, host and path as browsers do.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from dure_hub import accounts
from dure_hub.importing import bring, source
from dure_hub.importing.errors import NoSuchHub
from dure_hub.store import Store, database_url
from dure_hub.store.models import Event
from tests.support.hub import RealHub, hub_settings, real_hub, xsrf
from tests.support.oldhub import running_old_hub

OLD_PASSWORD, OURS, WRONG = "the-old-password", "a password of ours", "marker-of-a-wrong-password"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    settings = hub_settings(tmp_path_factory.mktemp("ours"))
    accounts.add_user(settings, "ana", OURS, actor="machine:root")
    with real_hub(settings) as made:
        yield made


TOKEN = secrets.token_hex(16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the old hub."""
    return tmp_path_factory.mktemp("theirs") / "old"


@pytest.fixture(scope="module")
def old(folder: Path) -> Iterator[str]:
    with running_old_hub(folder, TOKEN) as address:
        yield address


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60, trust_env=False) as client:
        yield client


def form(browser: httpx.Client, address: str) -> dict[str, str]:
    """A login page that is opened: its proof."""
    return {"_xsrf": xsrf(browser.get(f"{address}/hub/login").text), "username": "ana"}


def send(browser: httpx.Client, address: str, opened: dict[str, str], password: str) -> int:
    return browser.post(f"{address}/hub/login", data={**opened, "password": password}).status_code


def is_in(browser: httpx.Client, *addresses: str) -> list[bool]:
    """Whether each shows its own page, and sends nobody to a login."""
    return [browser.get(f"{address}/hub/home").status_code == 200 for address in addresses]


def test_two_hubs_in_one_browser_leave_each_other_alone(hub: RealHub, old: str, browser: httpx.Client) -> None:
    # Both forms are open before either is sent: each keeps its own proof of where it came from.
    theirs, ours = form(browser, old), form(browser, hub.url)
    assert {one.path for one in browser.cookies.jar if one.name == "_xsrf"} == {"/hub", "/hub/"}
    assert send(browser, old, theirs, OLD_PASSWORD) == 302
    assert send(browser, hub.url, ours, OURS) == 302
    for _ in range(2):
        assert is_in(browser, old, hub.url) == [True, True]
    browser.get(f"{old}/hub/logout")
    assert is_in(browser, old, hub.url) == [False, True]
    assert send(browser, old, form(browser, old), OLD_PASSWORD) == 302
    assert is_in(browser, old, hub.url) == [True, True]
    browser.get(f"{hub.url}/hub/logout")
    assert is_in(browser, old, hub.url) == [True, False]


def test_logins_at_the_real_hub_are_in_the_audit_without_passwords(hub: RealHub, browser: httpx.Client) -> None:
    assert send(browser, hub.url, form(browser, hub.url), WRONG) == 403
    assert send(browser, hub.url, form(browser, hub.url) | {"username": WRONG}, OURS) == 403
    assert send(browser, hub.url, form(browser, hub.url), OURS) == 302
    store = Store(database_url(hub.settings))
    with store.reading() as session:
        rows = session.scalars(select(Event).order_by(Event.seq)).all()
        told = [(row.actor, row.verb, row.object, row.verdict["code"]) for row in rows]
    store.close()
    assert told[0] == ("machine:root", "account.add", "user:ana", "add")
    assert told[-3:] == [
        ("(unknown)", "login.fail", "user:ana", "wrong_password"),
        ("(unknown)", "login.fail", "user:(unknown)", "no_account"),
        ("ana", "login.ok", "user:ana", "logged_in"),
    ]
    assert rows[-1].verdict["facts"]["address"]
    kept = [*(hub.settings.folder.db.glob("dure.sqlite*")), *(hub.settings.folder.log.iterdir())]
    for path in kept:
        content = path.read_bytes()
        assert OURS.encode() not in content
        assert WRONG.encode() not in content, f"a wrong password, or what was typed as a name, is in {path.name}"


def test_the_old_hub_tells_its_people_by_its_api(old: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(source.VARIABLE, TOKEN)
    found = {user.name: user for user in source.read_hub(f"{old}/hub/")}
    assert found["ana"].groups == ("speech", "vision")
    assert found["ben"].groups == ("vision",)
    assert found["root"].admin
    database = {user.name: user for user in source.read_hub(str(folder / "jupyterhub.sqlite"))}
    assert database.keys() == found.keys()
    assert database["ana"].groups == found["ana"].groups
    monkeypatch.setenv(source.VARIABLE, "wrong")
    with pytest.raises(NoSuchHub, match="list:users"):
        source.read_hub(old)


def test_who_came_over_is_a_person_like_any_other_to_the_real_hub(
    tmp_path_factory: pytest.TempPathFactory, old: str, folder: Path, browser: httpx.Client
) -> None:
    place = tmp_path_factory.mktemp("moved")
    settings = hub_settings(place, disk_minimum_mb=0)
    accounts.add_user(settings, "cho", OURS)
    with real_hub(settings):
        pass  # its tables are there now
    (place / "home" / "ana").mkdir(parents=True)
    (place / "home" / "ana" / "thesis.ipynb").write_text("{}")
    users = source.read_hub(str(folder / "jupyterhub.sqlite"))
    steps = bring.plan(settings, users, f"{place}/home/{{username}}", ["root"])
    done = bring.bring(settings, steps, "machine:root", lambda _step, _so_far: None)
    assert {one.mapped.old.name: one.outcome for one in done} == {
        "ana": "brought",
        "ben": "no_home",
        "root": "brought",
    }
    for name in ("ana", "root"):
        accounts.reset_password(settings, name, OURS, "machine:root")
    with real_hub(settings) as hub:
        assert send(browser, hub.url, form(browser, hub.url), OURS) == 302
        assert browser.get(f"{hub.url}/hub/home").status_code == 200
        _, answer = hub.log_in("root", OURS)
        assert answer.status_code == 302
        with hub.api() as api:
            found = {one["name"]: one for one in api.get("/users").json()}
        assert sorted(found["ana"]["groups"]) == ["speech", "vision"]
        assert (found["ana"]["roles"], found["ana"]["admin"]) == (["user"], False)
        assert "dure-admin" in found["root"]["roles"]
        assert "ben" not in found
    assert (settings.folder.users / "ana" / "thesis.ipynb").read_text() == "{}"

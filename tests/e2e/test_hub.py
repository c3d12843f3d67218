"""JupyterHub as people and the portal meet it: real hub, Envoy and processes; people's servers are a stub."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import psutil
import pytest

from dure.wire.environments import EnvironmentRequest
from dure.wire.ids import new_id
from dure_hub.accounts import add_user, disable_user, reset_password
from dure_hub.app import operations
from dure_hub.backends.embedded import EmbeddedInventory, EmbeddedServers
from dure_hub.hubapi import HubApi
from dure_hub.operations import Person
from tests.e2e.portal import until
from tests.support.hub import RealHub, hub_settings, real_hub, stub_command, xsrf

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    """A hub with accounts of ana (administrator), ben, cho and dan."""
    settings = hub_settings(tmp_path_factory.mktemp("hub"))
    for name in ("ana", "ben", "cho", "dan"):
        add_user(settings, name, f"{name}-secret", admin=name == "ana")
    with real_hub(settings) as hub:
        yield hub


@pytest.fixture
def people(hub: RealHub) -> None:
    """The hub knows everybody who has logged in once."""
    for name in ("ana", "cho"):
        hub.log_in(name, f"{name}-secret")


def test_a_person_logs_in_with_their_own_password_only(hub: RealHub) -> None:
    for name, password, status in (
        ("ana", "ana-secret", 302),
        ("ANA", "ana-secret", 302),
        ("ana", "ben-secret", 403),
        ("ben", "ana-secret", 403),
        ("zoe", "ana-secret", 403),
        ("ana", "ana-secret" * 200, 403),
    ):
        client, answer = hub.log_in(name, password)
        assert answer.status_code == status, (name, password[:20], answer.text[-500:])
        if status == 302:
            assert answer.headers["location"] == "/services/dure/"
            assert client.get("/hub/home").status_code == 200
        else:
            assert "dure-hub-login" not in client.cookies


def test_an_administrator_has_the_scope_and_others_do_not(hub: RealHub, people: None) -> None:
    with hub.api() as api:
        roles = {name: api.get(f"/users/{name}").json()["roles"] for name in ("ana", "cho")}
    assert "dure-admin" in roles["ana"]
    assert roles["cho"] == ["user"]


def test_pages_speak_korean_to_who_asks_for_it(hub: RealHub) -> None:
    korean = hub.browser(**{"Accept-Language": "ko-KR,ko;q=0.9,en;q=0.8"})
    assert "두레에 로그인" in korean.get("/hub/login").text
    assert "Sign in to Dure" in korean.get("/hub/login?lang=en").text
    assert "Sign in to Dure" in korean.get("/hub/login").text, "the choice is kept in a cookie"


def test_no_page_of_the_hub_names_another_origin(hub: RealHub) -> None:
    client, _ = hub.log_in("ana", "ana-secret")
    pages = [hub.page("/hub/login")]
    pages += [client.get(path).text for path in ("/hub/home", "/hub/spawn", "/hub/change-password", "/hub/x")]
    for page in pages:
        loaded = re.findall(r"""(?:src|href|action|url)=["']?(https?:)?//""", page)
        assert not loaded, page


def test_guessing_is_slowed_down_wherever_the_guesser_says_to_be(hub: RealHub) -> None:
    for number in range(5):
        said = {"X-Real-Ip": f"10.0.0.{number}", "X-Forwarded-For": f"10.0.1.{number}"}
        assert hub.log_in("dan", "not-it-at-all", **said)[1].status_code == 403
    _, answer = hub.log_in("dan", "dan-secret", **{"X-Real-Ip": "10.0.0.99"})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert "Too many failed attempts" in answer.text


def test_changing_the_password_ends_other_sessions(hub: RealHub) -> None:
    add_user(hub.settings, "eun", "eun-secret")
    elsewhere, _ = hub.log_in("eun", "eun-secret")
    here, _ = hub.log_in("eun", "eun-secret")
    theirs, mine = portal_token(hub, elsewhere), portal_token(hub, here)
    with hub.api() as api:
        assert api.post("/users/eun/server").status_code in (201, 202)
    hub.ready("eun")
    of_server = secret_of(hub)
    assert [known(hub, token) for token in (theirs, mine, of_server)] == ["eun", "eun", "eun"]
    form = {"_xsrf": xsrf(here.get("/hub/change-password").text), "new": "a-newer-one", "again": "a-newer-one"}
    assert here.post("/hub/change-password", data={**form, "present": "wrong-one"}).status_code == 403
    assert here.post("/hub/change-password", data={**form, "present": "eun-secret"}).status_code == 200
    assert here.get("/hub/home").status_code == 200
    assert elsewhere.get("/hub/home").status_code == 302
    assert [known(hub, token) for token in (theirs, mine, of_server)] == [None, "eun", "eun"]
    assert hub.log_in("eun", "eun-secret")[1].status_code == 403
    assert hub.log_in("eun", "a-newer-one")[1].status_code == 302
    stop_all(hub, "eun")


def test_a_reset_ends_every_session_and_lets_the_new_password_in(hub: RealHub) -> None:
    add_user(hub.settings, "han", "han-secret")
    client, _ = hub.log_in("han", "han-secret")
    token = portal_token(hub, client)
    assert client.get("/hub/home").status_code == 200
    reset_password(hub.settings, "han", "a-newer-one")
    assert client.get("/hub/home").status_code == 302
    assert known(hub, token) is None
    assert hub.log_in("han", "han-secret")[1].status_code == 403
    again, _ = hub.log_in("han", "a-newer-one")
    assert again.get("/hub/home").status_code == 200, "the running hub gives out the new cookie"


def test_a_disabled_account_is_turned_away(hub: RealHub) -> None:
    add_user(hub.settings, "gil", "gil-secret")
    client, _ = hub.log_in("gil", "gil-secret")
    with hub.api() as api:
        assert api.post("/users/gil/server").status_code in (201, 202)
    hub.ready("gil")
    assert disable_user(hub.settings, "gil") == []
    until(lambda: hub.server("gil") is None, "gil's server to be stopped")
    assert hub.log_in("gil", "gil-secret")[1].status_code == 403
    assert client.get("/hub/home").status_code == 302
    with hub.api() as api:
        assert api.post("/users/gil/server").status_code == 403, "nobody starts a server for gil"
    assert asyncio.run(phase(hub, "gil")) == "stopped"


def test_a_granted_lease_becomes_a_server_behind_the_front_port(hub: RealHub, people: None) -> None:
    lease = asyncio.run(request(hub, "cho"))
    hub.ready("cho")
    assert hub.page("/user/cho/") == "stub\n"
    recalled = EmbeddedServers(hub.settings).recall(lease)
    assert recalled is not None
    _, token = recalled
    with hub.api(token) as mine:
        assert "custom:dure:use" in mine.get("/user").json()["scopes"]
    with hub.api() as api:
        api.delete("/users/cho/server")
    until(lambda: hub.server("cho") is None and not hub.stubs(), "cho's server to be gone")
    with hub.api(token) as mine:
        assert mine.get("/user").status_code == 403, "the server's token ends with it"
    assert asyncio.run(phase(hub, "cho")) == "stopped"


def test_somebody_elses_lease_is_of_no_use(hub: RealHub, people: None) -> None:
    theirs = asyncio.run(request(hub, "ana"))
    hub.ready("ana")
    with hub.api() as api:
        assert api.post("/users/cho/server", json={"user_options": {"lease": theirs}}).status_code in (201, 202)
    hub.ready("cho")
    assert {lease_of(process) for process in hub.stubs()} > {theirs}
    assert len(hub.stubs()) == 2
    stop_all(hub, "ana", "cho")


def test_the_restarted_hub_knows_its_servers_again(hub: RealHub, people: None) -> None:
    with hub.api() as api:
        api.post("/users/ana/server")
        api.post("/users/ana/servers/second")
    hub.ready("ana")
    hub.ready("ana", "second")
    before = {process.pid for process in hub.stubs()}
    hub.kill("hub")
    assert hub.page("/user/ana/") == "stub\n", "Envoy goes on"
    hub.start("hub")
    hub.ready("ana")
    hub.ready("ana", "second")
    assert {process.pid for process in hub.stubs()} == before
    assert hub.page("/user/ana/second/") == "stub\n"
    stop_all(hub, "ana")


def test_a_hub_killed_inside_a_start_finds_the_server_again(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    settings = hub_settings(tmp_path, stub_command(gate))
    add_user(settings, "ana", "ana-secret")
    with real_hub(settings) as hub:
        hub.log_in("ana", "ana-secret")
        gate.touch()
        starter = threading.Thread(target=start_quietly, args=(hub, "ana"))
        starter.start()
        until(hub.stubs, "the server's process", timeout=30, every=0.01)
        hub.kill("hub")
        starter.join(30)
        gate.unlink()
        hub.start("hub")
        hub.ready("ana")
        assert len(hub.stubs()) == 1
        until(lambda: hub.page("/user/ana/") == "stub\n", "the route that the killed hub had not made")
        token = secret_of(hub)
        with hub.api(token) as mine:
            assert mine.get("/user").json()["name"] == "ana"
        stop_all(hub, "ana")
        with hub.api(token) as mine:
            assert mine.get("/user").status_code == 403


def test_a_start_without_room_is_refused_with_a_sentence(tmp_path: Path) -> None:
    settings = hub_settings(tmp_path)
    cores = asyncio.run(EmbeddedInventory(settings).look()).cpu_cores
    settings = settings.model_copy(update={"cpu_profile_cores": cores, "cpu_overcommit": 1.0})
    settings.save()
    for name in ("ana", "ben"):
        add_user(settings, name, f"{name}-secret")
    with real_hub(settings) as hub:
        clients = {name: hub.log_in(name, f"{name}-secret")[0] for name in ("ana", "ben")}
        with hub.api() as api:
            api.post("/users/ana/server")
            hub.ready("ana")
            refused = api.post("/users/ben/server")
        assert refused.status_code == 409, hub.logs()
        assert "number 1 in the queue" in refused.json()["message"]
        ben = clients["ben"]
        ben.get("/hub/spawn")
        token = ben.cookies.get("_xsrf", path="/hub")
        form = ben.post(f"/hub/spawn?_xsrf={token}", data={"profile": "cpu"})
        assert "number 1 in the queue" in form.text, form.text
        assert 'href="/services/dure/' in form.text
        assert "Traceback" not in hub.logs(), hub.logs()
        assert len(hub.stubs()) == 1
        stop_all(hub, "ana")


# -- steps


async def request(hub: RealHub, name: str) -> str:
    """What the portal does when a person asks for a server; the lease it granted."""
    ops = operations(hub.settings.folder.root)
    try:
        ask = EnvironmentRequest(id=new_id(), profile="cpu")
        environment = await ops.environments.request(Person(name), ask)
        assert environment.lease is not None, environment
        await asyncio.to_thread(hub.ready, name)
        return environment.lease.id
    finally:
        await ops.close()


def portal_token(hub: RealHub, browser: httpx.Client) -> str:
    """The hub's token that the portal's cookie holds after a login in this browser."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "client_id": "service-dure",
        "redirect_uri": "/services/dure/oauth_callback",
        "response_type": "code",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    answer = browser.get("/hub/api/oauth2/authorize", params=query)
    (code,) = parse_qs(urlsplit(answer.headers["location"]).query)["code"]

    async def exchange() -> str | None:
        api = HubApi(hub.settings)
        try:
            return await api.exchange(code, verifier=verifier, redirect="/services/dure/oauth_callback")
        finally:
            await api.close()

    token = asyncio.run(exchange())
    assert token is not None
    return token


def known(hub: RealHub, token: str) -> str | None:
    """Whose token the hub takes this for."""
    with hub.api(token) as api:
        answer = api.get("/user")
    return answer.json()["name"] if answer.status_code == 200 else None


async def phase(hub: RealHub, name: str) -> str:
    """What the portal says of a person's server."""
    ops = operations(hub.settings.folder.root)
    try:
        return (await ops.environments.get(Person(name), "default")).phase
    finally:
        await ops.close()


def start_quietly(hub: RealHub, name: str) -> None:
    """Ask for a start; the hub will be killed meanwhile."""
    try:
        with hub.api() as api:
            api.post(f"/users/{name}/server")
    except httpx.TransportError:
        return


def stop_all(hub: RealHub, *names: str) -> None:
    """Stop these people's servers and see that nothing is left of them."""
    with hub.api() as api:
        for name in names:
            for server in api.get(f"/users/{name}").json()["servers"]:
                api.delete(f"/users/{name}/servers/{server}" if server else f"/users/{name}/server")
    until(lambda: not hub.marked("server"), "every server to be gone")


def lease_of(process: psutil.Process) -> str:
    """The mark it carries."""
    return process.environ()["DURE_LEASE"]


def secret_of(hub: RealHub) -> str:
    """The token of the only server."""
    recalled = EmbeddedServers(hub.settings).recall(lease_of(hub.stubs()[0]))
    assert recalled is not None
    return recalled[1]

"""The names of the hub's cookies, where they are given and where they are read."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from jupyterhub.handlers import base
from jupyterhub.objects import Hub
from jupyterhub.services.auth import HubAuth, HubOAuth

from dure_hub import cookies
from dure_hub.services.sessions import HUB_SESSION_COOKIE
from dure_hub.spawners import https_cookies


def test_a_server_and_the_portal_read_the_session_that_the_hub_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HubAuth, "get_session_id", HubAuth.get_session_id)  # put back at the end
    cookies.keep_apart_in_server()
    sent = {cookies.SESSION: "ours", "jupyterhub-session-id": "of another hub"}
    assert HubOAuth.get_session_id(None, SimpleNamespace(get_cookie=sent.get)) == "ours"
    assert HUB_SESSION_COOKIE == cookies.SESSION


def test_no_name_is_one_of_a_stock_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = {Hub.cookie_name, base.SESSION_COOKIE_NAME}
    monkeypatch.setattr(Hub, "cookie_name", Hub.cookie_name)
    monkeypatch.setattr(base, "SESSION_COOKIE_NAME", base.SESSION_COOKIE_NAME)
    assert cookies.keep_apart_in_hub() == {"xsrf_cookie_kwargs": {"path": "/hub"}}
    assert cookies.keep_apart_in_hub(https=True) == {"xsrf_cookie_kwargs": {"path": "/hub", "secure": True}}
    assert {Hub.cookie_name, base.SESSION_COOKIE_NAME} == {cookies.LOGIN, cookies.SESSION}
    assert not stock & {cookies.LOGIN, cookies.SESSION}


@pytest.mark.parametrize(
    ("said", "kept"), [("1", {"path": "/user/ana/", "secure": True}), (None, {"path": "/user/ana/"})]
)
def test_the_form_cookie_of_a_server_keeps_to_https_where_people_do(
    monkeypatch: pytest.MonkeyPatch, said: str | None, kept: dict[str, object]
) -> None:
    monkeypatch.delenv(https_cookies.SAID, raising=False)
    if said is not None:
        monkeypatch.setenv(https_cookies.SAID, said)
    settings = {"xsrf_cookie_kwargs": {"path": "/user/ana/"}}
    https_cookies._load_jupyter_server_extension(SimpleNamespace(web_app=SimpleNamespace(settings=settings)))
    assert settings["xsrf_cookie_kwargs"] == kept

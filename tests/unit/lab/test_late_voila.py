"""Voila in a person's own server, a real one: it answers those alone who are logged in to that server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from jupyter_server.serverapp import ServerApp
from voila.server_extension import _load_jupyter_server_extension as load

from dure_hub import dashboards
from tests.unit.lab.kit import server

PICTURE = b"\x89PNG a picture of mine"
KERNEL = "0b1c2d3e-1111-2222-3333-444455556666"
OF_PACKAGES = ("/voila/static/", "/voila/templates/", "/voila/labextensions/", "/voila/api/themes/")
"""Files that come with packages: these may be seen by anybody."""
NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server with our configuration for people's servers, and its owner."""
    folder = tmp_path_factory.mktemp("lab")
    # which adds one more address
    (folder / "CONFIG").mkdir()
    config = {"VoilaConfiguration": {"progressive_rendering": True}}
    (folder / "CONFIG" / "jupyter_server_config.json").write_text(json.dumps(config))
    (folder / "picture.png").write_bytes(PICTURE)
    (folder / "mine.ipynb").write_text(NOTEBOOK)
    ours = str(files("dure_hub.spawners") / "lab")
    places = {"JUPYTER_CONFIG_PATH": ours, "JUPYTER_PATH": str(dashboards.data_path())}
    with server(folder, JUPYTER_NO_CONFIG="", **places) as client:
        yield client


@pytest.fixture(scope="module")
def stranger(mine: httpx.Client) -> Iterator[httpx.Client]:
    """Somebody else who can reach it."""
    with httpx.Client(base_url=mine.base_url, timeout=30) as client:
        yield client


def refused(answer: httpx.Response) -> bool:
    """Whether it is led to the login, or told that it may not."""
    return answer.status_code == 403 or (
        answer.status_code == 302 and answer.headers["location"].startswith("/login")
    )


def patterns() -> list[str]:
    """Every address that Voila adds to a server, as it adds them."""
    found: list[str] = []
    app: Any = ServerApp()
    app.config.VoilaConfiguration.progressive_rendering = True
    app.web_app = SimpleNamespace(
        settings={"base_url": "/", "server_root_dir": "/"},
        add_handlers=lambda _host, handlers: found.extend(handler[0] for handler in handlers),
    )
    load(app)
    return found


def paths() -> list[str]:
    """An address for each: its first group filled with something that is there, if there can be."""
    there = {
        "render": "mine.ipynb",
        "files": "picture.png",
        "templates": "dure/static/voila.js",
        "static": "voila.js",
        "shutdown": KERNEL,
        "execution": KERNEL,
    }
    made = []
    for pattern in patterns():
        words = pattern.split("(")[0].rstrip("/").rsplit("/", 1)[-1]
        made.append(re.sub(r"\(.*\)", there.get(words, ""), pattern))
    return made


def test_nobody_else_makes_a_server_load_it(mine: httpx.Client, stranger: httpx.Client) -> None:
    first: Any = [stranger.get("/voila"), stranger.get("/voila/files/picture.png")]
    assert all(refused(answer) for answer in first)
    answer = mine.get("/voila/render/mine.ipynb?a=b")
    assert (answer.status_code, answer.headers["location"]) == (307, "/voila/render/mine.ipynb?a=b")
    assert mine.get("/voila/render/mine.ipynb").status_code == 200


def test_every_address_of_voila_is_its_owners(mine: httpx.Client, stranger: httpx.Client) -> None:
    mine.get("/voila", follow_redirects=True)
    found = paths()
    assert len(found) >= 10
    assert "/voila/files/picture.png" in found
    closed = [path for path in found if not path.startswith(OF_PACKAGES)]
    assert len(closed) >= len(found) - len(OF_PACKAGES)
    for path in closed:
        for verb in ("GET", "HEAD", "POST"):
            answer = stranger.request(verb, path)
            assert refused(answer), (verb, path, answer.status_code)
            assert PICTURE not in answer.content
    for path in OF_PACKAGES:
        for way in (
            "picture.png",
            "../picture.png",
            "%2e%2e/%2e%2e/picture.png",
            "dure/static/%2e%2e/picture.png",
        ):
            assert not stranger.get(f"{path}{way}").is_success, f"{path}{way}"


def test_its_owner_sees_pages_pictures_and_what_they_need(mine: httpx.Client) -> None:
    for path in ("/voila/render/mine.ipynb", "/voila/static/voila.js", "/voila/files/picture.png"):
        assert mine.get(path, follow_redirects=True).status_code == 200, path
    assert mine.get("/voila/files/picture.png").content == PICTURE
    assert mine.get("/voila/files/mine.ipynb").status_code == 403


STATIC = """
from tornado.web import StaticFileHandler

class MultiStaticFileHandler(StaticFileHandler): ...
class TemplateStaticFileHandler(StaticFileHandler): ...
"""
BREAKS = """
from pathlib import Path
from tornado.web import RequestHandler

class Page(RequestHandler):
    def get(self):
        self.finish("a page")

def _load_jupyter_server_extension(app):
    app.web_app.add_handlers(".*$", [("/voila/half", Page)])
    if Path("broken").exists():
        raise OSError("the disk is full")
    app.web_app.add_handlers(".*$", [("/voila/page", Page)])
"""


def test_a_voila_that_did_not_load_says_so_and_is_tried_again(tmp_path: Path) -> None:
    package = tmp_path / "voila"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "server_extension.py").write_text(BREAKS)
    (package / "static_file_handler.py").write_text(STATIC)
    (tmp_path / "broken").touch()
    with server(tmp_path, "dure_lab.late_voila") as client:
        for path in ("/voila/page", "/voila/half"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert "did not load" in answer.text
            assert "불러오지 못했습니다" in answer.text
        assert "the disk is full" in (tmp_path / "log").read_text()
        (tmp_path / "broken").unlink()
        assert client.get("/voila/page", follow_redirects=True).text == "a page"
        with httpx.Client(base_url=client.base_url) as stranger:
            assert refused(stranger.get("/voila/page")), "a handler that checks nothing is closed, too"

"""Voila's configuration, whose kernel is whose, and what a kernel's environment holds."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.web import HTTPError

from dure_hub import dashboards
from dure_hub.dataplane.listener import IDENTITY
from dure_hub.settings import Settings
from dure_hub.supervisor import services, voila_server
from dure_hub.supervisor.sockets import listen


def test_both_dashboards_and_the_template_are_in_the_installation() -> None:
    names = {path.name for path in dashboards.notebooks().glob("*.ipynb")}
    assert set(dashboards.SHOWN.values()) <= names
    template = dashboards.data_path() / "voila" / "templates" / dashboards.TEMPLATE
    texts = {path.name: path.read_text() for path in template.iterdir()}
    assert {"index.html.j2", "failed.html.j2", "conf.json"} <= set(texts)
    assert not [name for name, text in texts.items() if "https:" in text or "http:" in text]


def test_a_dashboards_code_builds_one_widget_and_says_its_title_in_both_languages() -> None:
    for name in dashboards.SHOWN.values():
        found = json.loads((dashboards.notebooks() / name).read_text())
        title, code = found["cells"]
        assert (title["cell_type"], code["cell_type"], code["outputs"]) == ("markdown", "code", [])
        assert set(found["metadata"]["dure"]["title"]) == {"en", "ko"}


def test_nothing_of_a_users_own_jupyter_is_read(settings: Settings) -> None:
    made = voila_server.environment(settings.folder)
    own = str(settings.folder.run)
    assert made["JUPYTER_NO_CONFIG"] == "1"
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        assert made[name].startswith(own)
    whole = services.environment(settings, "voila") | made
    assert not [name for name in whole if "TOKEN" in name or "SECRET" in name or "KEY" in name]


def test_kernels_are_not_preheated_and_end_when_nobody_looks(settings: Settings) -> None:
    made = voila_server.configuration(settings.model_copy(update={"dashboard_idle_s": 300}))
    assert made["VoilaConfiguration"]["preheat_kernel"] is False
    assert made["VoilaConfiguration"]["show_tracebacks"] is False
    assert made["MappingKernelManager"] == {"cull_idle_timeout": 300, "cull_interval": 60, "cull_connected": True}
    soon = voila_server.configuration(settings.model_copy(update={"dashboard_idle_s": 10}))
    assert soon["MappingKernelManager"]["cull_interval"] == 2
    assert set(made["VoilaConfiguration"]["http_header_envs"]) - {"x-dure-user"} <= set(IDENTITY)


def test_voila_is_reached_by_its_socket_after_the_check_alone(settings: Settings) -> None:
    fragment = services.routes(settings.model_copy(update={"hub_port": 1111, "portal_port": 2222}))
    fragment.check()
    (route,) = [one for one in fragment.routes if one.prefix == "/services/dashboards/"]
    assert route.auth
    assert set(route.strip) == {"cookie", "authorization", "origin"}
    (cluster,) = [one for one in fragment.clusters if one.name == "voila"]
    assert cluster.address == f"unix:{settings.folder.run}/voila.sock"


def test_a_socket_is_its_owners_and_replaces_one_that_was_left(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listen(path).close()
    with listen(path) as bound:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert bound.getsockname() == str(path)


@pytest.fixture
def manager(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The kernel manager, which writes down what it would start."""
    from dure_hub.supervisor.voila_handlers import ViewerKernels

    started: list[dict[str, Any]] = []

    async def start(self: Any, **how: Any) -> str:
        started.append(how)
        name = f"kernel-{len(started)}"
        await asyncio.sleep(0)  # a process is started here, and is in no list before that
        self._kernels[name] = SimpleNamespace(last_activity=len(started))
        return name

    async def stop(self: Any, kernel_id: str) -> None:
        del self._kernels[kernel_id]

    monkeypatch.setattr(ViewerKernels.__mro__[1], "_async_start_kernel", start)
    monkeypatch.setattr(ViewerKernels, "shutdown_kernel", stop)
    made: Any = ViewerKernels()
    voila = SimpleNamespace(tornado_settings={"settings_of_portal": settings})
    monkeypatch.setattr(ViewerKernels, "parent", voila)
    made.started = started
    return made


def visit(who: str = "root") -> dict[str, str]:
    """What Voila hands on of a visit: its own environment, and the headers it was told of."""
    own = {"PATH": os.defpath, "DURE_DATA": "/data", "DURE_PORTAL": "mark", "DURE_SERVICE": "voila"}
    return {
        **own,
        "HTTP_X_DURE_USER": who,
        "HTTP_X_DURE_VIEWER_TOKEN": "token-of-root",
        "HTTP_X_DURE_VIEWER_LANGUAGE": "ko",
    }


async def test_a_kernel_gets_its_viewers_token_and_not_the_portals_folder(manager: Any) -> None:
    kernel = await manager.start_kernel(kernel_name="python3", path="", env=visit())
    env = manager.started[0]["env"]
    assert (env["DURE_TOKEN"], env["DURE_LANGUAGE"]) == ("token-of-root", "ko")
    assert env["DURE_URL"].startswith("http://127.0.0.1:")
    assert (env["DURE_PORTAL"], env["DURE_SERVICE"]) == ("mark", "voila")
    assert not [name for name in env if name.startswith("HTTP_X_DURE") or name == "DURE_DATA"]
    assert manager.viewer_of(kernel) == "root"
    assert manager.viewer_of("another") is None


@pytest.mark.parametrize("missing", ["HTTP_X_DURE_USER", "HTTP_X_DURE_VIEWER_TOKEN"])
async def test_without_a_viewer_no_kernel_starts(manager: Any, missing: str) -> None:
    with pytest.raises(HTTPError):
        await manager.start_kernel(kernel_name="python3", path="", env={**visit(), missing: ""})
    assert manager.started == []


async def test_the_oldest_kernel_makes_room(manager: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dure_hub.supervisor import voila_handlers

    monkeypatch.setattr(voila_handlers, "KERNELS", 2)
    names = [await manager.start_kernel(path="", env=visit()) for _ in range(3)]
    assert [manager.viewer_of(name) for name in names] == [None, "root", "root"]


async def test_a_viewers_own_oldest_goes_before_anybody_elses(
    manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dure_hub.supervisor import voila_handlers

    monkeypatch.setattr(voila_handlers, "KERNELS", 3)
    names = [await manager.start_kernel(path="", env=visit(who)) for who in ("ana", "ben", "ben", "ben")]
    assert [manager.viewer_of(name) for name in names] == ["ana", None, "ben", "ben"]
    names.append(await manager.start_kernel(path="", env=visit("cho")))
    assert [manager.viewer_of(name) for name in names] == [None, None, "ben", "ben", "cho"]


async def test_visits_at_once_do_not_pass_the_limit(manager: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dure_hub.supervisor import voila_handlers

    monkeypatch.setattr(voila_handlers, "KERNELS", 2)
    names = await asyncio.gather(*(manager.start_kernel(path="", env=visit(f"v{n}")) for n in range(6)))
    assert len(manager) == 2
    assert sorted(name for name in names if manager.viewer_of(name)) == sorted(names)[-2:]


def test_a_kernel_is_its_viewers_alone(manager: Any) -> None:
    from jupyter_server.auth.identity import User

    from dure_hub.supervisor.voila_handlers import OwnKernels

    kernel = asyncio.run(manager.start_kernel(path="", env=visit()))
    judge = OwnKernels.__new__(OwnKernels)

    def may(name: str, **kwargs: str) -> bool:
        handler = SimpleNamespace(path_kwargs=kwargs, kernel_manager=manager)
        return judge.is_authorized(handler, User(username=name), "execute", "kernels")

    assert may("root", kernel_id=kernel)
    assert not may("admin", kernel_id=kernel)
    assert not may("root", kernel_id="another")
    assert may("admin")


def test_a_server_loads_voila_only_when_it_is_visited() -> None:
    code = (
        "import sys; import dure_lab.late_voila as late\n"
        "from types import SimpleNamespace as N\n"
        "rules = ['last']\n"
        "app = N(web_app=N(settings={'base_url': '/user/ana/'}, default_router=N(rules=rules)))\n"
        "late._load_jupyter_server_extension(app)\n"
        "assert rules[-1] == 'last' and len(rules) == 2\n"
        "match = lambda path: rules[0].matcher.match(N(path=path)) is not None\n"
        "assert [match('/user/ana/' + p) for p in ('voila', 'voila/render/x.ipynb', 'voilas', 'lab')]"
        " == [True, True, False, False]\n"
        "assert not [name for name in sys.modules if name.startswith('voila')]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr

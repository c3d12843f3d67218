"""A portal whose Envoy is elsewhere: what is started, where it is reached, and who is shown the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from dure_hub.settings import Settings
from dure_hub.supervisor import services
from dure_hub.supervisor.prepare import make_secrets, with_ports


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(data=tmp_path, xds_port=8100, portal_host="dure-portal", hub_port=1, portal_port=2)
    made = made.model_copy(update={"mlflow_port": 3, "voila_port": 4})
    made.folder.create()
    make_secrets(made)
    return made


def test_everything_is_reached_by_name(settings: Settings) -> None:
    found = {cluster.name: cluster.address for cluster in services.routes(settings).clusters}
    assert found == {
        "hub": "dure-portal:1",
        "portal": "dure-portal:2",
        "mlflow": "dure-portal:3",
        "voila": "dure-portal:4",
    }
    services.routes(settings).check()


def test_on_one_machine_it_is_loopback_and_sockets(tmp_path: Path) -> None:
    here = services.routes(Settings(data=tmp_path, hub_port=1, portal_port=2))
    assert {cluster.name: cluster.address for cluster in here.clusters} == {
        "hub": "127.0.0.1:1",
        "portal": "127.0.0.1:2",
        "mlflow": f"unix:{tmp_path}/run/mlflow.sock",
        "voila": f"unix:{tmp_path}/run/voila.sock",
    }
    assert [route.add for route in here.routes] == [()] * 5


def test_the_key_is_shown_to_those_who_ask_for_it_alone(settings: Settings) -> None:
    key = settings.folder.secret("front-key")
    shown = {route.prefix: dict(route.add) for route in services.routes(settings).routes if route.add}
    assert shown == {
        "/services/mlflow/": {"x-dure-front": key},
        "/services/dashboards/": {"x-dure-front": key},
    }


def test_no_envoy_is_started(settings: Settings) -> None:
    made = services.portal_services(settings)
    assert [service.name for service in made] == ["hub", "portal", "mlflow", "voila", "warm"]
    assert not any("envoy" in service.after for service in made)
    assert not (settings.folder.envoy / "bootstrap.json").exists()


def test_each_gets_a_port_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, xds_port=8100, portal_host="dure-portal")
    settings.folder.create()
    first = with_ports(settings)
    ports = [first.hub_port, first.portal_port, first.mlflow_port, first.voila_port]
    assert len({*ports, 0, 8100}) == 6
    first.save()
    assert with_ports(settings) == first
    assert with_ports(Settings(data=tmp_path / "other")).mlflow_port == 0

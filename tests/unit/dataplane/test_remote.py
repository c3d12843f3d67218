"""The start of an Envoy elsewhere: what it asks, and what it shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from dure_hub.dataplane.remote import Elsewhere, make_remote_bootstrap, own_name, write_remote_bootstrap
from dure_hub.settings import Settings


def made(folder: Path, **more: object) -> Elsewhere:
    values = {"name": "pod-1", "xds": ("dure-portal.mlops", 8100), "token": "a-secret", **more}
    return Elsewhere(folder=folder, **values)  # type: ignore[arg-type]


SOURCE = {
    "resource_api_version": "V3",
    "initial_fetch_timeout": "0s",
    "api_config_source": {
        "api_type": "REST",
        "transport_api_version": "V3",
        "cluster_names": ["xds"],
        "refresh_delay": "0.1s",
        "request_timeout": "10s",
    },
}


def test_clusters_and_routes_are_asked_for(tmp_path: Path) -> None:
    bootstrap = make_remote_bootstrap(made(tmp_path))
    assert bootstrap["dynamic_resources"] == {"cds_config": SOURCE}
    front, shown = bootstrap["static_resources"]["listeners"]
    manager = front["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["rds"] == {"route_config_name": "routes", "config_source": SOURCE}
    assert front["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 8000}  # noqa: S104
    xds, admin = bootstrap["static_resources"]["clusters"]
    assert (xds["name"], xds["type"], xds["connect_timeout"]) == ("xds", "STRICT_DNS", "1s")
    assert xds["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"] == {
        "address": "dure-portal.mlops",
        "port_value": 8100,
    }
    assert admin["type"] == "STATIC"
    assert shown["name"] == "statistics"
    assert bootstrap["node"] == {
        "id": "pod-1",
        "cluster": "dure",
        "metadata": {"token": "a-secret", "statistics": 9901},
    }


def test_of_the_admin_interface_two_questions_are_shown(tmp_path: Path) -> None:
    shown = make_remote_bootstrap(made(tmp_path))["static_resources"]["listeners"][1]
    (host,) = shown["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
    assert [route["match"]["path"] for route in host["routes"]] == ["/ready", "/stats"]
    assert host["routes"][1]["match"]["headers"][1] == {
        "name": "x-dure-token",
        "string_match": {"exact": "a-secret"},
    }


def test_nothing_is_shown_at_port_0(tmp_path: Path) -> None:
    bootstrap = make_remote_bootstrap(made(tmp_path, statistics=("", 0)))
    assert len(bootstrap["static_resources"]["listeners"]) == 1


def test_a_certificate_is_named_and_its_folder_watched(tmp_path: Path) -> None:
    chain, key = tmp_path / "tls" / "tls.crt", tmp_path / "tls" / "tls.key"
    envoy = made(tmp_path / "own", certificate=chain, key=key, inside=("0.0.0.0", 8001))  # noqa: S104
    path = write_remote_bootstrap(envoy)
    assert {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {
        "bootstrap.json": 0o600,
        "certificate.json": 0o600,
    }
    (secret,) = json.loads(envoy.secret.read_text())["resources"]
    assert secret["tls_certificate"] == {
        "certificate_chain": {"filename": str(chain)},
        "private_key": {"filename": str(key)},
        "watched_directory": {"path": str(tmp_path / "tls")},
    }
    listeners = json.loads(path.read_text())["static_resources"]["listeners"]
    assert [one["name"] for one in listeners] == ["front", "inside", "statistics"]


def test_no_two_have_one_name() -> None:
    assert own_name("pod") != own_name("pod")
    assert own_name("pod").startswith("pod-")


@pytest.mark.parametrize(
    "wrong",
    [
        {"portal_host": "dure-portal"},
        {"xds_port": 1, "portal_host": "dure-portal:80"},
        {"xds_port": 1, "portal_host": "a/b"},
        {"xds_port": 1, "tls_cert": "c", "tls_key": "k"},
        {"inside_url": "dure-envoy:8000"},
        {"inside_url": "http://dure-envoy/path"},
    ],
)
def test_what_does_not_fit_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


def test_where_envoy_finds_the_portal() -> None:
    here, there = Settings(), Settings(xds_port=1, portal_host="dure-portal.mlops")
    assert (here.own_host, here.reached_at(80)) == ("127.0.0.1", "127.0.0.1:80")
    assert (there.own_host, there.reached_at(80)) == ("0.0.0.0", "dure-portal.mlops:80")  # noqa: S104
    assert Settings(xds_port=1, portal_host="fd00::1").reached_at(80) == "[fd00::1]:80"
    assert (
        Settings(inside_url="http://dure-envoy:8000", base_url="/dure/").front_url == "http://dure-envoy:8000/dure"
    )

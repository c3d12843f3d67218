"""Envoy's own start: one listener with every filter, and nothing in it that changes later."""

from __future__ import annotations

from pathlib import Path

import pytest

from dure.errors import BadRequest
from dure_hub.dataplane.bootstrap import command, make_bootstrap, write_bootstrap
from dure_hub.settings import Settings
from tests.support.certificates import Authority


def manager(settings: Settings) -> dict[str, object]:
    (listener,) = make_bootstrap(settings)["static_resources"]["listeners"]
    made: dict[str, object] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return made


def test_the_listener_has_every_filter_it_will_need(tmp_path: Path) -> None:
    made = manager(Settings(data=tmp_path))
    filters = made["http_filters"]
    assert isinstance(filters, list)
    assert [(one["name"], one.get("disabled", False)) for one in filters] == [
        ("identity", False),
        ("envoy.filters.http.ext_authz", True),
        ("envoy.filters.http.router", False),
    ]
    assert made["upgrade_configs"] == [{"upgrade_type": "websocket"}]
    assert made["stream_idle_timeout"] == "0s"
    assert "access_log" not in made


def test_nothing_that_changes_while_it_runs_is_in_it(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, hub_port=1111, portal_port=2222)
    other = settings.model_copy(update={"hub_port": 3333, "portal_port": 4444})
    assert make_bootstrap(settings) == make_bootstrap(other)


def test_the_front_port_and_the_admin_socket_are_where_settings_say(tmp_path: Path) -> None:
    made = make_bootstrap(Settings(data=tmp_path, host="0.0.0.0", port=8123))  # noqa: S104
    address = made["static_resources"]["listeners"][0]["address"]
    assert address == {"socket_address": {"address": "0.0.0.0", "port_value": 8123}}  # noqa: S104
    assert made["admin"]["address"]["pipe"] == {"path": str(tmp_path / "run/envoy-admin.sock"), "mode": 0o600}


def test_a_proxy_in_front_is_believed_only_where_one_is_set(tmp_path: Path) -> None:
    assert manager(Settings(data=tmp_path))["xff_num_trusted_hops"] == 0
    assert manager(Settings(data=tmp_path, public_url="https://gpu.example"))["xff_num_trusted_hops"] == 1


def test_the_files_are_there_before_envoy_is(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    settings.folder.create()
    path = write_bootstrap(settings)
    assert {file.name for file in path.parent.glob("*.json")} == {"bootstrap.json", "clusters.json", "routes.json"}
    assert {file.stat().st_mode & 0o777 for file in path.parent.glob("*.json")} == {0o600}
    assert command(settings)[1:] == ["-c", str(path), "--disable-hot-restart", "--log-level", "warning"]


def test_a_data_folder_too_deep_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="107 bytes"):
        write_bootstrap(Settings(data=tmp_path / ("d" * 100)))


def test_with_a_certificate_there_is_a_port_for_this_machine_beside_the_front(tmp_path: Path) -> None:
    pair = {"tls_cert": tmp_path / "c", "tls_key": tmp_path / "k"}
    settings = Settings.model_validate({"data": tmp_path, "host": "10.1.2.3", "inside_port": 20001, **pair})
    front, inside = make_bootstrap(settings)["static_resources"]["listeners"]
    assert front["address"]["socket_address"]["address"] == "10.1.2.3"
    assert inside["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 20001}
    (encrypted,), (plain,) = front["filter_chains"], inside["filter_chains"]
    assert encrypted["filter_chain_match"] == {"transport_protocol": "tls"}
    assert "transport_socket" not in front["default_filter_chain"]
    same = {**encrypted["filters"][0]["typed_config"], "stat_prefix": "inside"}
    assert plain == {"filters": [{**encrypted["filters"][0], "typed_config": same}]}, (
        "the same filters, all of them"
    )
    answers = front["default_filter_chain"]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"][0][
        "routes"
    ]
    assert all("redirect" in one or one["direct_response"]["status"] == 400 for one in answers)
    # Who says nothing, or begins TLS and stops, is let go.
    assert (front["listener_filters_timeout"], encrypted["transport_socket_connect_timeout"]) == ("15s", "15s")


def test_a_certificate_that_is_renewed_changes_no_listener(tmp_path: Path) -> None:
    authority, cert, key = Authority(tmp_path), tmp_path / "cert.pem", tmp_path / "key.pem"
    settings = Settings(data=tmp_path / "d", tls_cert=cert, tls_key=key)
    settings.folder.create()
    authority.write(cert, key)
    before = write_bootstrap(settings).read_text()
    served = (settings.folder.envoy / "certificate.json").read_text()
    authority.write(cert, key)
    assert write_bootstrap(settings).read_text() == before
    assert (settings.folder.envoy / "certificate.json").read_text() != served
    assert "PRIVATE" not in before
    write_bootstrap(Settings(data=settings.data))
    assert not (settings.folder.envoy / "certificate.json").exists(), "no key lies about that nobody serves"

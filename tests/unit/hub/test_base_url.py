"""The path that all of the portal is below, as it was typed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dure_hub.settings import Settings
from dure_hub.supervisor import reaching


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("/", "/"), ("", "/"), ("dure", "/dure/"), ("/dure", "/dure/"), ("/gpu/d.u-r_e~2/", "/gpu/d.u-r_e~2/")],
)
def test_a_path_of_the_portal_is_closed_however_it_was_typed(typed: str, kept: str) -> None:
    settings = Settings(base_url=typed)
    assert settings.base_url == kept
    assert settings.at("/hub/") == f"{kept}hub/"
    assert settings.address == settings.front_url == f"http://127.0.0.1:8000{kept}".rstrip("/")


@pytest.mark.parametrize("typed", ["//", "//dure/", "/a//b/", "/./", "/a/../b/", "/a b/", "/é/", "/a?b/", "/%61/"])
def test_a_path_that_could_be_read_in_two_ways_is_refused(typed: str) -> None:
    with pytest.raises(ValidationError, match="no part is"):
        Settings(base_url=typed)


def test_the_public_address_takes_the_path_in_and_may_name_it() -> None:
    for typed in ("https://gpu.example", "https://gpu.example/", "https://gpu.example/dure/"):
        settings = Settings(base_url="/dure/", public_url=typed)
        assert settings.address == "https://gpu.example/dure"
        assert settings.front_url == "http://127.0.0.1:8000/dure"
    for other in ("https://gpu.example/other", "https://gpu.example/other/dure", "https://gpu.example/xdure"):
        with pytest.raises(ValidationError, match="the path in public_url"):
            Settings(base_url="/dure/", public_url=other)


def test_hosts_of_peoples_own_are_whole_hosts() -> None:
    with pytest.raises(ValidationError, match="with subdomain_host it is /"):
        Settings(base_url="/dure/", subdomain_host="http://dure.test")


def test_a_host_that_is_called_like_the_path_keeps_both() -> None:
    assert Settings(base_url="/dure/", public_url="https://dure").address == "https://dure/dure"
    assert Settings(base_url="/dure/", public_url="HTTPS://dure/dure").address == "https://dure/dure"


def test_with_a_certificate_the_path_is_behind_each_address() -> None:
    own = Settings(tls_cert="c", tls_key="k", base_url="/dure/", host="::", port=8443, inside_port=20001)
    assert own.address == own.listens_at == "https://127.0.0.1:8443/dure"
    assert own.front_url == "http://127.0.0.1:20001/dure"
    assert reaching.here(own) == "https://127.0.0.1:8443/dure"
    assert reaching.elsewhere(own, None, "box") == "https://box:8443/dure"


@pytest.mark.parametrize("typed", ["/health/", "/healthcare/", "/static-lab/", "/favicon.ico/"])
def test_no_path_begins_like_one_that_mlflow_leaves_open(typed: str) -> None:
    with pytest.raises(ValidationError, match="MLflow leaves open"):
        Settings(base_url=typed)

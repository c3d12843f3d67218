"""What is made of a setting as it was typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from dure_hub.settings import Settings


def test_an_address_ends_without_a_slash_however_it_was_typed() -> None:
    for typed in ("https://gpu.example", "https://gpu.example/", "https://gpu.example//"):
        assert Settings(public_url=typed).public_url == "https://gpu.example"
    assert Settings().public_url == ""


@pytest.mark.parametrize(
    ("typed", "public"),
    [
        ("http://dure.test:8000", ""),
        ("http://dure.localhost", ""),
        ("http://Dure.Test:8000/", ""),
        ("https://dure.example", "https://dure.example"),
        ("https://dure.example", "https://Dure.example/"),
        ("", "https://dure.example"),
    ],
)
def test_people_may_have_hosts_below_an_address(typed: str, public: str) -> None:
    settings = Settings(subdomain_host=typed, public_url=public)
    assert settings.subdomain_host == typed.rstrip("/").lower()
    assert settings.address == (settings.public_url or settings.subdomain_host)


@pytest.mark.parametrize(
    ("typed", "public"),
    [
        ("dure.example", ""),
        ("http://127.0.0.1:8000", ""),  # an address has no names below it
        ("http://[::1]:8000", ""),
        ("http://localhost:8000", ""),  # no browser keeps a cookie for all of localhost
        ("http://dure.test/path", ""),
        ("http://a@dure.test", ""),
        ("http://dure..test", ""),
        ("ftp://dure.test", ""),
        ("https://dure.example", ""),  # somebody must speak https
        ("http://dure.test", "https://dure.example"),
    ],
)
def test_what_cannot_have_hosts_below_it_is_refused(typed: str, public: str) -> None:
    with pytest.raises(ValidationError):
        Settings(subdomain_host=typed, public_url=public)


def test_the_front_port_listens_at_an_address_and_not_at_a_name() -> None:
    assert Settings(host="localhost").host == "127.0.0.1"
    assert Settings(host="").everywhere
    for name in ("box", "[::1]", "127.0.0.1:8000"):
        with pytest.raises(ValidationError, match="no name"):
            Settings(host=name)


def test_a_certificate_makes_the_front_port_speak_https() -> None:
    own = Settings(tls_cert="c.pem", tls_key="k.pem", host="0.0.0.0", port=8443, inside_port=20001)  # noqa: S104
    assert (own.address, own.listens_at) == ("https://127.0.0.1:8443",) * 2
    assert own.front_url == "http://127.0.0.1:20001", "programs of this machine need to trust nothing"
    assert own.tls_cert == Path.cwd() / "c.pem"
    plain = Settings(host="::1", port=8443)
    assert plain.address == plain.listens_at == plain.front_url == "http://[::1]:8443"


def test_with_a_certificate_nobody_in_front_is_believed() -> None:
    pair = {"tls_cert": "c.pem", "tls_key": "k.pem", "public_url": "https://dure.example"}
    assert Settings.model_validate(pair).address == "https://dure.example"
    assert not Settings.model_validate(pair).behind_proxy
    assert Settings(public_url="https://dure.example").behind_proxy


@pytest.mark.parametrize(
    ("given", "name", "rule"),
    [
        ({"tls_cert": "c.pem"}, "tls_key", "both"),
        ({"tls_key": "k.pem"}, "tls_key", "both"),
        ({"tls_cert": "c", "tls_key": "k", "public_url": "http://dure.example"}, "public_url", "https://"),
        ({"tls_cert": "c", "tls_key": "k", "subdomain_host": "http://dure.example"}, "subdomain_host", "https://"),
    ],
)
def test_what_does_not_go_with_a_certificate_is_refused(given: dict[str, str], name: str, rule: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(given)
    (error,) = caught.value.errors()
    assert error["loc"] == (name,)
    assert rule in error["msg"]


def test_with_a_certificate_of_ones_own_hosts_of_people_need_no_proxy() -> None:
    given = {"tls_cert": "c", "tls_key": "k", "subdomain_host": "https://dure.example"}
    assert Settings.model_validate(given).address == "https://dure.example"

"""What is made of a setting as it was typed."""

from __future__ import annotations

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

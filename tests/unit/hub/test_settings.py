"""What is made of a setting as it was typed."""

from __future__ import annotations

from dure_hub.settings import Settings


def test_an_address_ends_without_a_slash_however_it_was_typed() -> None:
    for typed in ("https://gpu.example", "https://gpu.example/", "https://gpu.example//"):
        assert Settings(public_url=typed).public_url == "https://gpu.example"
    assert Settings().public_url == ""

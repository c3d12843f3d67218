"""Fixtures of the tests against a whole portal."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.e2e.portal import Portal, make_portal

# Chromium must not look for its makers' hosts: tests talk to loopback only.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
"""Its names on PATH, the same as in tools/packages.sh; `DURE_CHROMIUM` goes before them."""


def chromium_path() -> str:
    """Where the browser is."""
    asked = os.environ.get("DURE_CHROMIUM")
    for name in [asked] if asked else CHROMIUM:
        if found := shutil.which(name):
            return found
    pytest.fail(
        f"No chromium: DURE_CHROMIUM is {asked!r}, which is no program."
        if asked
        else f"No chromium: none of {', '.join(CHROMIUM)} is on PATH. Set DURE_CHROMIUM, or: "
        "sudo apt-get install -y chromium"
    )


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """One portal that is up, with engineers ana and ben and the administrator."""
    started = make_portal(tmp_path_factory.mktemp("portal"))
    try:
        started.up()
        started.add_user("ana")
        started.add_user("ben")
        yield started
    finally:
        started.down()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """This machine's own chromium, driven by Playwright.

    Not for the whole session: while the synchronous Playwright lives, no asynchronous test can run beside it.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=QUIET)
        yield browser
        browser.close()

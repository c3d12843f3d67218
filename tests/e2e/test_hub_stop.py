"""A stop at the hub itself, with a real JupyterLab open: its page saves, its owner's program runs once."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from dure_lab.hook import PLACE
from tests.e2e.clocked import Clocked
from tests.e2e.portal import until
from tests.e2e.test_lab import write_unsaved
from tests.e2e.test_pages import log_in

pytestmark = pytest.mark.timeout(400)


def test_what_is_open_is_saved_when_the_server_is_stopped_at_the_hub(chromium: Browser, tmp_path: Path) -> None:
    made = Clocked(tmp_path)
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    context.set_default_timeout(60_000)
    try:
        made.portal.up()
        made.portal.add_user("ana")
        made.start()
        page = context.new_page()
        log_in(page, made.portal, "ana")
        file = write_unsaved(page, made, "thesis.txt", "what nobody has saved")
        program = made.folder / PLACE
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text('#!/bin/sh\necho "$DURE_REASON" >> "$HOME/ran"\n')
        program.chmod(0o700)
        secret = (made.portal.data / "secrets" / "portal-token").read_text().strip()
        address = f"{made.portal.url}/hub/api/users/ana/server"
        told = httpx.delete(address, headers={"Authorization": f"token {secret}"}, timeout=60)
        assert told.status_code in (202, 204)
        until(lambda: made.seen()["phase"] == "stopped", "its end", timeout=90)
        assert "what nobody has saved" in file.read_text()
        assert (made.folder / "ran").read_text() == "stopped_on_hub\n"
        ended = made.seen()
        assert (ended["receipt"]["saved"], ended["receipt"]["silent"]) == (["thesis.txt"], 0)
        page.goto(f"{made.portal.url}/services/dure/")
        expect(page.locator("[data-receipt=default]")).to_contain_text("It was stopped on the hub's own page")
    finally:
        context.close()
        made.portal.down()

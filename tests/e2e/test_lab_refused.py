"""A later end that would put off somebody who waits is refused in JupyterLab's popup, in words of the portal."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from dure.wire.ids import new_id
from tests.e2e.clocked import HOUR, Clocked
from tests.e2e.test_lab import popup, status
from tests.e2e.test_main_job import log_in
from tests.e2e.test_widgets import shot

pytestmark = pytest.mark.timeout(600)


def test_an_end_that_would_put_off_who_waits_is_refused_with_the_latest_that_is_possible(
    chromium: Browser, tmp_path: Path
) -> None:
    cores = str(os.cpu_count())  # so that one server fills the machine
    made = Clocked(tmp_path, longest_s=24 * HOUR, DURE_CPU_PROFILE_CORES=cores, DURE_CPU_OVERCOMMIT="1")
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    context.set_default_timeout(60_000)
    try:
        made.portal.up()
        for name in ("ana", "ben"):
            made.portal.add_user(name)
        made.start()
        with made.portal.client("ben") as api:
            asked = api.post("/environments", json={"id": new_id(), "profile": "cpu", "lifetime_s": HOUR})
            ticket = asked.raise_for_status().json()["ticket"]
        assert ticket["expected_start"] is not None, "ben was promised a start"

        page = context.new_page()
        log_in(page, made.portal, "ana")
        page.goto(f"{made.portal.url}/user/ana/lab?reset")
        status(page).click(timeout=60_000)
        before = made.end()
        popup(page).get_by_role("button", name="+4 h").click()
        refused = popup(page).get_by_role("alert")
        expect(refused).to_contain_text(
            re.compile(r"put off others who wait \(how many: 1\).*The latest end that is still possible is "),
            timeout=60_000,
        )
        expect(refused).not_to_contain_text(re.compile(r"\dT\d"))  # times are the reader's own
        shot(page, "lab-refused-others-wait")
        assert made.end() == before
    finally:
        context.close()
        made.portal.down()

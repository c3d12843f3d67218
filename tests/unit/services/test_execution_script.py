"""The script of an execution's page in a browser, with answers made up here: it asks for whom the page says."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from dure_hub.services.pages.rendering import STATIC_FOLDER
from dure_hub.services.places import API
from tests.unit.widgets.conftest import browser, page

__all__ = ["browser", "page"]
CALL = f"{API}/schedules/nightly/executions/1"
PAGE = """<!doctype html>
<div id="execution" data-now="{now}" data-call="{call}" data-query="{query}" data-lost="lost">{now}</div>
<p id="lost" hidden></p>
<pre class="log" data-offset="{offset}" data-none="nothing">nothing</pre>
<script type="module" src="/execution.js"></script>"""


@pytest.mark.parametrize("query", ["owner=ana", ""], ids=["an-administrators", "its-owners"])
def test_it_follows_log_and_state_of_whose_execution_the_page_is(page: Page, query: str) -> None:
    asked: list[tuple[str, dict[str, str]]] = []

    def state() -> str:
        return "succeeded" if len(asked) > 4 else "running"

    def answer(route: Route) -> None:
        where = urlsplit(route.request.url)
        if where.path.endswith(".js"):
            route.fulfill(path=STATIC_FOLDER / where.path[1:], content_type="text/javascript")
            return
        if not where.path.startswith(CALL):
            shown = PAGE.format(now=state(), call=CALL, query=query, offset=5)
            route.fulfill(body=shown, content_type="text/html")
            return
        asked.append((where.path, dict(parse_qsl(where.query))))
        said = {"state": state(), "page": None, "text": "[2/2] more\n", "next_offset": 16}
        route.fulfill(body=json.dumps(said), content_type="application/json")

    page.route("**/*", answer)
    page.goto("http://portal.test/")
    expect(page.locator("pre.log")).to_contain_text("[2/2] more")
    expect(page.locator("#execution")).to_have_text(
        "succeeded", timeout=30_000
    )  # it loads anew where that changes
    whose = dict(parse_qsl(query))
    assert asked[:4] == [
        (CALL, whose),
        (f"{CALL}/logs", {"offset": "5", **whose}),
        (CALL, whose),
        (f"{CALL}/logs", {"offset": "16", **whose}),
    ]

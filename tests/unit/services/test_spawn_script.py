"""The script of a new server's form in a browser: it asks for an image only where the profile has none."""

from __future__ import annotations

from html import escape
from urllib.parse import urlsplit

from playwright.sync_api import Page, Route, expect

from dure.wire.containers import REFERENCE
from dure_hub.services.pages.rendering import STATIC_FOLDER
from tests.unit.widgets.conftest import browser, page

__all__ = ["browser", "page"]
CARD = """<div class="choice" data-profile="{name}">
<input type="radio" name="profile" id="{name}" value="{name}"
data-longest="3600" data-default="3600" data-note="" {more}>
<label for="{name}">{name}</label><span data-start>now</span></div>"""
PAGE = f"""<!doctype html><html lang="en"><form id="spawn" data-api="/api/v1">
{CARD.format(name="cpu", more="checked")}{CARD.format(name="own", more="data-image")}
{CARD.format(name="any", more="data-any-image")}
<select id="lifetime" name="lifetime_s"><option value="3600">1 h</option></select>
<p id="lifetime-note" hidden></p>
<div id="image-field"><select id="image" name="image"><option value="usual">usual</option></select></div>
<div id="own-image-field"><input id="own-image" name="own_image"
 value="tool:1" pattern="{escape(REFERENCE)}"></div>
<button type="submit">go</button><p id="summary"></p></form><script type="module" src="/spawn.js"></script>"""


def sent(page: Page) -> dict[str, str]:
    """What the form would send."""
    return dict(page.evaluate("Object.fromEntries(new FormData(document.getElementById('spawn')))"))


def test_what_a_profile_does_not_ask_is_neither_shown_nor_sent(page: Page) -> None:
    def answer(route: Route) -> None:
        where = urlsplit(route.request.url)
        if where.path.endswith(".js"):
            route.fulfill(path=STATIC_FOLDER / where.path[1:], content_type="text/javascript")
        elif where.path.startswith("/api"):
            route.fulfill(body="[]", content_type="application/json")
        else:
            route.fulfill(body=f"{PAGE}<style>[hidden] {{ display: none }}</style>", content_type="text/html")

    page.route("**/*", answer)
    page.goto("http://portal.test/")
    listed, typed = page.locator("#image"), page.locator("#own-image")
    for profile, shows in (("cpu", (True, False)), ("own", (False, False)), ("any", (True, True))):
        page.locator(f"#{profile}").check()
        expect(listed).to_be_visible(visible=shows[0])
        expect(typed).to_be_visible(visible=shows[1])
        assert ("image" in sent(page), "own_image" in sent(page)) == shows, profile
    for text, right in (("registry.example.com/team/tool:1.2", True), ("Team/tool", False), ("python", False)):
        typed.fill(text)
        assert typed.evaluate("field => field.checkValidity()") is right, text

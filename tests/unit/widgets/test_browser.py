"""The browser's half in a real browser, with a model that only remembers: no kernel, no portal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from dure_widgets import CanaryPanel, JobMonitor, ModelRegistry, Panel, TrainingLauncher
from tests.e2e.conftest import QUIET, chromium_path

BOOT = """async ([esm, css, traits]) => {
  const style = document.createElement("style");
  style.textContent = css;
  document.head.append(style);
  const module = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
  const heard = {};
  window.sent = [];
  window.model = {
    get: (name) => traits[name],
    set: (name, value) => { traits[name] = value; window.fire("change:" + name); },
    on: (name, listener) => (heard[name] ??= new Set()).add(listener),
    off: (name, listener) => heard[name]?.delete(listener),
    send: (content) => window.sent.push(content),
  };
  window.fire = (name, content) => [...(heard[name] ?? [])].forEach((listener) => listener(content));
  window.listeners = () => Object.values(heard).reduce((sum, all) => sum + all.size, 0);
  const el = document.createElement("div");
  document.body.append(el);
  window.cleanUp = await module.default.render({ model: window.model, el });
}"""
TRAITS = ("state", "words", "language", "problem", "busy")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium_path(), args=QUIET)
        yield made
        made.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page on which an error of a script fails the test."""
    made = browser.new_page()
    errors: list[str] = []
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.set_content("<!doctype html><body data-jp-theme-light=true></body>")
    yield made
    made.close()
    assert errors == []


def paint(page: Page, panel: Panel) -> None:
    """Render this panel."""
    page.evaluate(BOOT, [str(panel._esm), str(panel._css), {name: getattr(panel, name) for name in TRAITS}])


def change(page: Page, **state: Any) -> None:
    """What Python's `show` does, as the browser sees it."""
    page.evaluate("(parts) => model.set('state', { ...model.get('state'), ...parts })", state)


def asked(page: Page, verb: str) -> list[dict[str, Any]]:
    """What was asked by this verb."""
    found: list[dict[str, Any]] = page.evaluate("(verb) => sent.filter((one) => one.ask === verb)", verb)
    return found


def train(ctx: Any, epochs: int = 20, augment: bool = False) -> None:
    """Something to launch."""


def running(**more: Any) -> dict[str, Any]:
    """A job as the controller shows it."""
    times = {"created_at": "2026-11-25T03:00:00Z", "started_at": "2026-11-25T03:00:01Z", "ended_at": None}
    return {
        "name": "a",
        "state": "running",
        "reason": None,
        "profile": "cpu",
        "device": "cpu",
        "processes": 2,
        "attempts": [],
        **times,
        **more,
    }


def test_what_is_shown_is_text_and_never_markup(page: Page) -> None:
    evil = "<img src=x onerror='window.hurt=1'>"
    panel = JobMonitor(bind=False, language="en")
    panel.problem = {"message": evil, "next_step": evil}
    panel.show(name=evil, job=running(name=evil, reason=evil, device=evil))
    paint(page, panel)
    expect(page.get_by_role("heading", level=3)).to_have_text(evil)
    expect(page.get_by_role("alert")).to_contain_text(evil)
    assert page.locator("img").count() == 0


def test_it_looks_again_only_when_it_was_answered_and_stops_at_clean_up(page: Page) -> None:
    paint(page, CanaryPanel("digits", bind=False, language="en"))
    page.wait_for_function("sent.length === 1")
    page.evaluate("window.from = performance.now()")
    page.wait_for_function("performance.now() - from > 4500")  # more than two ticks
    assert len(asked(page, "tick")) == 1
    page.evaluate("fire('msg:custom', { answered: 'tick' })")
    page.wait_for_function("sent.length === 2")
    page.evaluate("fire('msg:custom', { answered: 'tick' })")
    page.evaluate("cleanUp(); window.from = performance.now()")
    page.wait_for_function("performance.now() - from > 4500")
    assert len(asked(page, "tick")) == 2
    assert page.evaluate("listeners()") == 0
    assert page.evaluate("document.querySelectorAll('.dure').length") == 0


def test_a_widget_off_the_screen_does_not_look(page: Page) -> None:
    page.evaluate(
        "document.body.prepend(Object.assign(document.createElement('div'), { style: 'height: 5000px' }))"
    )
    paint(page, CanaryPanel("digits", bind=False, language="en"))
    page.evaluate("window.from = performance.now()")
    page.wait_for_function("performance.now() - from > 2500")
    assert asked(page, "tick") == []
    page.locator(".dure").scroll_into_view_if_needed()
    page.wait_for_function("sent.length === 1")


def test_what_is_typed_and_where_the_focus_is_survive_a_look(page: Page) -> None:
    panel = TrainingLauncher(train, bind=False, language="en")
    kept = TrainingLauncher(train, language="en").state
    panel.show(entry="train", fields=kept["fields"], free=False)
    paint(page, panel)
    page.get_by_label("epochs").fill("77")
    page.get_by_label("augment").check()
    page.get_by_label("epochs").focus()
    profile = {"title": {"en": "CPU", "ko": "CPU"}, "cpu_cores": 2, "memory_mb": 4096, "rate": None}
    for free in (3, 2):
        change(page, profiles=[{"name": "cpu", "free": free, "total": 4, **profile}])
        expect(page.get_by_text(f"{free} of 4 free")).to_be_visible()
    expect(page.get_by_label("epochs")).to_have_value("77")
    expect(page.get_by_label("epochs")).to_be_focused()
    expect(page.get_by_text("price: unknown")).to_be_visible()
    page.keyboard.press("Enter")
    (launch,) = asked(page, "launch")
    assert launch["parameters"] == {"epochs": "77", "augment": True}
    assert launch["profile"] == "cpu"


def test_a_refusal_stands_at_its_field_and_takes_the_focus(page: Page) -> None:
    panel = TrainingLauncher(train, language="en")
    paint(page, panel)
    page.get_by_role("button", name="Launch").click()
    change(page, wrong={"epochs": "epochs is wrong."})
    page.evaluate("fire('msg:custom', { answered: 'launch' })")
    expect(page.get_by_label("epochs")).to_be_focused()
    expect(page.get_by_label("epochs")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("epochs is wrong.")).to_be_visible()
    # The very same mistake once more: the sentence is still there.
    page.get_by_role("button", name="Launch").click()
    page.evaluate("fire('msg:custom', { answered: 'launch' })")
    expect(page.get_by_text("epochs is wrong.")).to_be_visible()


def test_points_and_lines_are_appended_once_whoever_they_were_sent_to(page: Page) -> None:
    panel = JobMonitor(bind=False, language="en")
    panel.show(name="a", job=running())
    paint(page, panel)
    curve, log = page.locator(".dure-curve"), page.locator("pre")
    first = {"job": "a", "points": {"loss": {"from": 0, "rows": [[0, 1.0], [1, 0.5]]}}}
    text = {"from": 0, "next": 8, "text": "one\ntwo\n"}
    for _ in range(2):
        page.evaluate("(news) => fire('msg:custom', { news })", first | {"log": text})
    expect(curve).to_have_attribute("data-points", "2")
    expect(log).to_have_text("one\ntwo\n")
    more = {"job": "a", "points": {"loss": {"from": 2, "rows": [[2, 0.25]]}}}
    page.evaluate(
        "(news) => fire('msg:custom', { news })", more | {"log": {"from": 8, "next": 12, "text": "end\n"}}
    )
    page.evaluate("(news) => fire('msg:custom', { news })", more | {"job": "another"})
    expect(curve).to_have_attribute("data-points", "3")
    expect(log).to_have_text("one\ntwo\nend\n")
    expect(page.get_by_role("img")).to_have_attribute("aria-label", "loss: 0.25 at step 2")


def test_another_job_begins_with_an_empty_curve_and_log(page: Page) -> None:
    panel = JobMonitor(bind=False, language="en")
    panel.show(name="a", job=running())
    paint(page, panel)
    news = {
        "job": "a",
        "points": {"loss": {"from": 0, "rows": [[0, 1.0]]}},
        "log": {"from": 0, "next": 2, "text": "x\n"},
    }
    page.evaluate("(news) => fire('msg:custom', { news })", news)
    change(page, name="b", job=running(name="b", state="queued"))
    expect(page.locator(".dure-curve")).to_have_attribute("data-points", "0")
    expect(page.get_by_text("Nothing written yet.")).to_be_visible()


def test_a_monitor_rests_when_its_job_is_over(page: Page) -> None:
    panel = JobMonitor(bind=False, language="en")
    panel.show(name="a", job=running())
    paint(page, panel)
    page.wait_for_function("sent.length === 1")
    change(page, job=running(state="succeeded"), over=True)
    for looks in (2, 2):
        page.evaluate("fire('msg:custom', { answered: 'tick' }); window.from = performance.now()")
        page.wait_for_function("performance.now() - from > 3000")
        assert len(asked(page, "tick")) == looks
    assert page.get_by_role("button", name="Stop").count() == 0


def test_stop_and_roll_back_need_a_second_click(page: Page) -> None:
    panel = JobMonitor(bind=False, language="en")
    panel.show(name="a", job=running())
    paint(page, panel)
    page.get_by_role("button", name="Stop").click()
    assert asked(page, "stop") == []
    page.get_by_role("button", name="Stop it? Click again").click()
    assert len(asked(page, "stop")) == 1


def test_a_state_is_read_aloud_when_it_changes_and_only_then(page: Page) -> None:
    panel = JobMonitor(bind=False, language="en")
    panel.show(name="a", job=running())
    paint(page, panel)
    spoken = page.locator("[aria-live=polite]")
    expect(spoken).to_have_text("")
    change(page, progress={"step": 3, "of": 4, "unit": "epochs"})
    expect(spoken).to_have_text("")
    change(page, job=running(state="succeeded"))
    expect(spoken).to_have_text("a: succeeded")


def test_a_version_s_lineage_opens_by_keyboard_and_stays_open(page: Page) -> None:
    one = {"version": 1, "aliases": [], "metrics": {"loss": 0.5}, "owner": None, "created_at": None}
    panel = ModelRegistry("digits", bind=False, language="en")
    panel.show(versions=[one | {"lineage": {"job": "train-a1", "snapshot": "5" * 64}}])
    paint(page, panel)
    page.get_by_role("button", name="Lineage of version 1").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("5" * 12, exact=True)).to_be_visible()
    change(page, versions=[{**one, "version": number, "lineage": {"job": "train-a1"}} for number in (2, 1)])
    expect(page.get_by_role("button", name="Lineage of version 1")).to_be_focused()
    expect(page.locator("[data-version='1']").get_by_text("train-a1")).to_be_visible()
    expect(page.locator("[data-version='2']").get_by_text("train-a1")).to_be_hidden()
    expect(page.locator("tbody").first).to_have_attribute("data-version", "2")


def test_unknown_counts_are_not_zero(page: Page) -> None:
    champion = {"version": 1, "role": "champion", "phase": "ready", "percent": 100, "reason": None}
    unknown = {"requests": None, "errors": None, "latency_p50_ms": None, "latency_p95_ms": None}
    panel = CanaryPanel("digits", bind=False, language="en")
    panel.show(
        known=True,
        versions=[1],
        endpoint={
            "name": "digits",
            "state": "ready",
            "reason": None,
            "champion": champion | unknown,
            "canary": None,
        },
    )
    paint(page, panel)
    group = page.get_by_role("group", name="Champion")
    expect(group.get_by_text("unknown")).to_have_count(4)
    expect(page.get_by_text("Register another version of digits to try it here.")).to_be_visible()

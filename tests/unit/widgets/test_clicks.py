"""In a real browser: one click is one request, a kernel that is gone says so, and what people may do now."""

from __future__ import annotations

import enum
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect

from dure.wire.ids import is_id
from dure_widgets import CanaryPanel, JobMonitor, ModelRegistry, TrainingLauncher
from tests.unit.widgets.pages import asked, change, paint, replica, running, served, sure, train, wait


def launcher(page: Page, entry: Any = train, **more: Any) -> None:
    """A launcher that asks nobody."""
    panel = TrainingLauncher(entry, language="en", **more)
    paint(page, panel)


def test_a_click_is_refused_until_the_one_before_is_answered(page: Page) -> None:
    launcher(page)
    for _ in range(3):
        page.locator("button[type=submit]").click()
    (first,) = asked(page, "launch")
    assert is_id(first["id"])
    expect(page.get_by_role("region")).to_have_attribute("data-busy", "launch")
    page.evaluate("fire('msg:custom', { answered: 'launch', id: 'of another view' })")
    expect(page.get_by_role("region")).to_have_attribute("data-busy", "launch")
    page.evaluate("answer('launch')")
    expect(page.get_by_role("region")).not_to_have_attribute("data-busy", "launch")
    page.get_by_role("button", name="Launch").click()
    assert len({one["id"] for one in asked(page, "launch")}) == 2


def test_a_click_whose_answer_was_lost_ends_with_the_answer_to_a_later_look(page: Page) -> None:
    launcher(page)
    page.wait_for_function("sent.length === 1")
    page.get_by_role("button", name="Launch").click()
    page.evaluate("answer('tick')")  # it was asked before the click, so it says nothing of it
    expect(page.get_by_role("region")).to_have_attribute("data-busy", "launch")
    page.wait_for_function("sent.filter((one) => one.ask === 'tick').length === 2", timeout=10_000)
    page.evaluate("answer('tick')")
    expect(page.get_by_role("region")).not_to_have_attribute("data-busy", "launch")


def test_profiles_can_be_picked_while_something_is_worked_on(page: Page) -> None:
    launcher(page)
    card = {"title": {"en": "CPU"}, "cpu_cores": 2, "memory_mb": 4096, "rate": None, "free": None, "total": None}
    change(page, profiles=[card | {"name": "cpu"}, card | {"name": "gpu", "title": {"en": "GPU"}}])
    page.get_by_role("button", name="Launch").click()
    page.get_by_label("GPU").check()
    assert [one["profile"] for one in asked(page, "plan")] == ["gpu"]


@pytest.mark.parametrize("how", ["double", "keys", "soon"])
def test_a_second_click_is_none_when_nobody_could_have_read_the_question(page: Page, how: str) -> None:
    panel = JobMonitor(bind=False, language="en")
    panel.show(name="a", job=running())
    paint(page, panel)
    stop = page.get_by_role("button", name="Stop")
    if how == "double":
        stop.dblclick(delay=300)
    elif how == "keys":
        stop.focus()
        page.keyboard.down("Enter")
        wait(page, 700)
        page.keyboard.down("Enter")  # what a key that is held down does
        page.keyboard.up("Enter")
    else:
        stop.click()
        page.get_by_role("button", name="Stop it? Click again").click()
    assert asked(page, "stop") == []
    page.get_by_role("button", name="Stop it? Click again").blur()
    sure(page, "Stop", "Stop it? Click again")
    assert len(asked(page, "stop")) == 1


def test_stop_says_what_the_view_has_so_that_nothing_is_sent_again(page: Page) -> None:
    panel = JobMonitor(bind=False, language="en")
    panel.show(name="a", job=running())
    paint(page, panel)
    news = {
        "job": "a",
        "metrics": {"all": [["loss", 0.5]], "count": 1, "on": ["loss"]},
        "points": {"loss": {"from": 0, "next": 2, "rows": [[0, 1.0], [1, 0.5]]}},
        "log": {"from": 0, "next": 4, "text": "one\n"},
    }
    page.evaluate("(news) => fire('msg:custom', { news })", news)
    sure(page, "Stop", "Stop it? Click again")
    (stop,) = asked(page, "stop")
    assert (stop["have"], stop["log"], stop["on"]) == ({"loss": 2}, 4, ["loss"])
    # An answer to another view, which had less, takes nothing away.
    less = {"job": "a", "points": {"loss": {"from": 0, "next": 1, "rows": [[0, 1.0]]}}}
    page.evaluate("(news) => fire('msg:custom', { news })", less)
    expect(page.locator(".dure-curve")).to_have_attribute("data-points", "2")
    over = {"job": "a", "points": {"loss": {"from": 1, "next": 3, "rows": [[1, 0.5], [2, 0.25]]}}}
    page.evaluate("(news) => fire('msg:custom', { news })", over)
    expect(page.locator(".dure-curve")).to_have_attribute("data-points", "3")


def test_only_an_answer_to_its_own_look_lets_a_view_rest(page: Page) -> None:
    panel = JobMonitor(bind=False, language="en")
    panel.show(name="a", job=running(state="succeeded"), over=True)
    paint(page, panel)
    page.wait_for_function("sent.length === 1")
    for _ in range(2):
        page.evaluate("fire('msg:custom', { answered: 'tick', view: 'another', number: 9 })")
    page.evaluate("answer('tick', { failed: true })")
    page.wait_for_function(
        "sent.length === 2", timeout=10_000
    )  # it goes on, since nothing was said of its own part
    page.evaluate("answer('tick')")
    wait(page, 4000)
    assert len(asked(page, "tick")) == 2


def test_looks_that_fail_come_ever_later(page: Page) -> None:
    paint(page, CanaryPanel("digits", bind=False, language="en"))
    page.wait_for_function("sent.length === 1")
    page.evaluate("answer('tick', { failed: true })")
    wait(page, 3000)
    assert len(asked(page, "tick")) == 1
    page.wait_for_function("sent.length === 2", timeout=5_000)
    page.evaluate("answer('tick')")
    page.wait_for_function("sent.length === 3", timeout=3_500)


def test_the_next_look_waits_as_long_as_the_last_one_took(page: Page) -> None:
    paint(page, CanaryPanel("digits", bind=False, language="en"))
    page.wait_for_function("sent.length === 1")
    wait(page, 4500)
    page.evaluate("answer('tick')")
    wait(page, 3500)
    assert len(asked(page, "tick")) == 1
    page.wait_for_function("sent.length === 2", timeout=5_000)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_widget_whose_kernel_is_gone_says_so_and_does_nothing_more(page: Page, language: str) -> None:
    sentence = {"en": "The kernel that made this is gone; run the cell again.", "ko": "이 위젯을 만든 커널이 종료"}
    panel = TrainingLauncher(train, language=language)
    paint(page, panel)
    page.wait_for_function("sent.length === 1")
    launch = page.get_by_role("button", name=panel.words["launch"])
    launch.click()
    page.evaluate("live(false)")
    expect(page.get_by_role("alert").filter(has_text=sentence[language])).to_be_visible()
    expect(launch).to_be_disabled()
    expect(page.get_by_label("epochs")).to_be_disabled()
    expect(page.get_by_role("region")).not_to_have_attribute("data-busy", "launch")
    page.evaluate("answer('tick')")
    wait(page, 6000)
    assert len(asked(page, "tick")) == 1
    page.evaluate("live(true)")  # a socket that came back
    expect(launch).to_be_enabled()
    page.wait_for_function("sent.filter((one) => one.ask === 'tick').length === 2", timeout=10_000)


def test_a_notebook_that_is_opened_again_shows_a_dead_widget_as_dead(page: Page) -> None:
    panel = JobMonitor(bind=False, language="en")
    panel.show(name="a", job=running())
    panel.busy = "stop"
    paint(page, panel)
    page.evaluate("cleanUp(); live(false)")
    expect(page.get_by_role("region")).to_have_count(0)
    page.evaluate("async () => { window.cleanUp = await module.default.render({ model, el: given }); }")
    expect(page.get_by_text("The kernel that made this is gone")).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    expect(page.get_by_role("region")).not_to_have_attribute("data-busy", "stop")
    time = page.locator(".dure-fact dd").first.text_content()
    wait(page, 2500)
    assert page.locator(".dure-fact dd").first.text_content() == time


def test_a_kernel_that_does_not_answer_is_noticed_without_a_word_from_its_comm(page: Page) -> None:
    page.clock.install()
    paint(page, CanaryPanel("digits", bind=False, language="en"))
    for _ in range(5):
        page.clock.run_for(1_000)
    assert len(asked(page, "tick")) == 1
    page.clock.run_for(65_000)
    expect(page.get_by_text("The kernel has not answered for a while.")).to_be_visible()
    assert [one["number"] for one in asked(page, "tick")] == [1, 2]
    page.evaluate("answer('tick')")
    expect(page.get_by_text("The kernel has not answered for a while.")).to_be_hidden()


class Mode(enum.IntEnum):
    """Something with a default that no form shows as it is."""

    FAST = 1


def test_a_form_that_nobody_touched_sends_only_what_is_needed(page: Page) -> None:
    def odd(
        ctx: Any,
        n: int,
        big: int = 2**63 - 1,
        limit: float = float("inf"),
        deep: bool | None = None,
        mode: Mode = Mode.FAST,
        kind: Literal[True, "a"] = True,
        lr: float = 0.1,
    ) -> None:
        """One of everything that is hard to show."""

    launcher(page, odd, parameters={"lr": 0.1})
    expect(page.get_by_label("big")).to_have_value(str(2**63 - 1))
    expect(page.get_by_label("kind")).to_have_value("True")
    expect(page.get_by_label("deep")).to_have_value("")
    page.get_by_label("n", exact=True).fill("3")
    page.get_by_role("button", name="Launch").click()
    assert asked(page, "launch")[0]["parameters"] == {"n": "3", "lr": "0.1"}
    page.evaluate("answer('launch')")
    page.get_by_label("deep").select_option("false")
    page.get_by_role("button", name="Launch").click()
    assert asked(page, "launch")[1]["parameters"] == {"n": "3", "lr": "0.1", "deep": "false"}


def test_values_to_begin_with_fill_free_rows_and_a_refused_one_is_marked(page: Page, tmp_path: Any) -> None:
    (tmp_path / "train.py").write_text("print('trained')\n")
    launcher(page, tmp_path / "train.py", parameters={"epochs": 3, "note": None})
    names, values = page.get_by_label("Name", exact=True), page.get_by_label("Value", exact=True)
    expect(names).to_have_count(2)
    expect(values.nth(0)).to_have_value("3")
    expect(values.nth(1)).to_have_value("")
    page.get_by_role("button", name="Launch").click()
    assert asked(page, "launch")[0]["more"] == [["epochs", "3"], ["note", ""]]
    change(page, wrong={"more.1": "note is wrong."})
    page.evaluate("answer('launch')")
    expect(page.get_by_text("note is wrong.")).to_be_visible()


def canary(page: Page, **endpoint: Any) -> None:
    """A panel of an endpoint."""
    panel = CanaryPanel("digits", sample=[[1.0]], bind=False, language="en")
    panel.show(known=True, versions=[2, 1], endpoint=served(**endpoint), model=endpoint.get("model", "digits"))
    paint(page, panel)


def test_an_endpoint_of_somebody_else_is_only_shown(page: Page) -> None:
    canary(page, owner="ben", mine=False, canary=replica(2))
    expect(
        page.get_by_text("Serves the model digits of ben. Only ben and administrators change it.")
    ).to_be_visible()
    for name in ("Start canary", "Change share", "Promote", "Roll back"):
        assert page.get_by_role("button", name=name).count() == 0
    expect(page.get_by_role("button", name="Send 100 requests")).to_be_visible()


def test_an_endpoint_of_another_model_says_so(page: Page) -> None:
    canary(page, model="letters")
    expect(page.get_by_text("serves the model letters of ana, not digits")).to_be_visible()
    page.get_by_role("button", name="Start canary").click()
    assert asked(page, "canary")[0]["version"] == "2"


def test_a_failed_endpoint_can_be_ended_and_deployed_anew(page: Page) -> None:
    canary(page, state="failed", champion=replica(1, phase="failed", reason="It crashed."))
    assert page.get_by_role("button", name="Start canary").count() == 0
    sure(page, "End this endpoint", "End it? Click again")
    assert len(asked(page, "end")) == 1
    page.evaluate("answer('end')")
    change(page, endpoint=None)
    page.get_by_role("button", name="Deploy").click()
    assert asked(page, "deploy")[0]["version"] == "2"


def test_no_canary_starts_before_the_champion_is_ready(page: Page) -> None:
    canary(page, state="starting", champion=replica(1, phase="starting"))
    expect(page.get_by_text("A canary can start when the champion is ready.")).to_be_visible()
    assert page.get_by_role("button", name="Start canary").count() == 0
    assert page.get_by_role("button", name="End this endpoint").count() == 0


def test_sending_ends_at_the_first_failure(page: Page) -> None:
    canary(page)
    page.get_by_role("button", name="Send 100 requests").click()
    page.evaluate("answer('send')")
    page.wait_for_function("sent.filter((one) => one.ask === 'send').length === 2")
    page.evaluate("answer('send', { failed: true })")
    expect(page.get_by_role("button", name="Send 100 requests")).to_be_visible()
    assert len(asked(page, "send")) == 2


def test_of_many_metrics_all_have_a_name_and_only_those_switched_on_are_asked_for(page: Page) -> None:
    panel = JobMonitor(bind=False, language="en")
    panel.show(name="a", job=running())
    paint(page, panel)
    names = ["loss", "acc", *(f"m{number:03}" for number in range(199))]
    listed = {"all": [[name, 0.5] for name in names], "count": 201, "on": ["loss", "acc"]}
    page.evaluate("(news) => fire('msg:custom', { news })", {"job": "a", "metrics": listed})
    page.get_by_text("24 of 201 shown").click()
    page.evaluate("answer('tick')")
    page.get_by_label("m150").check()
    page.wait_for_function("sent.at(-1).ask === 'tick' && sent.at(-1).on?.includes('m150')")
    assert asked(page, "tick")[-1]["on"] == ["loss", "acc", "m150"]


def test_a_long_course_is_thinned_and_keeps_its_extremes(page: Page) -> None:
    panel = JobMonitor(bind=False, language="en")
    panel.show(name="a", job=running())
    paint(page, panel)
    listed = {"all": [["loss", 0]], "count": 1, "on": ["loss"]}
    for start in range(0, 8000, 2000):
        rows = [[step, 99 if step == 1234 else 0] for step in range(start, start + 2000)]
        points = {"loss": {"from": start, "next": start + 2000, "rows": rows}}
        page.evaluate("(news) => fire('msg:custom', { news })", {"job": "a", "metrics": listed, "points": points})
    count = int(page.locator(".dure-curve").get_attribute("data-points") or 0)
    assert 1000 < count <= 4000
    page.evaluate("answer('tick')")
    page.wait_for_function("sent.length === 2")
    assert asked(page, "tick")[-1]["have"] == {"loss": 8000}


def test_a_progress_bar_s_line_is_its_last_state(page: Page) -> None:
    panel = JobMonitor(bind=False, language="en")
    panel.show(name="a", job=running())
    paint(page, panel)
    at = 0
    for text in ("start\n10%\r", "20%\r", "\r30%", "\rdone\nend\r\n"):
        log = {"from": at, "next": at + len(text), "text": text}
        at += len(text)
        page.evaluate("(news) => fire('msg:custom', { news })", {"job": "a", "log": log})
        if text == "20%\r":
            expect(page.locator("pre")).to_have_text("start\n20%")
    expect(page.locator("pre")).to_have_text("start\ndone\nend\n")


def test_a_registry_sends_one_request_for_two_clicks(page: Page) -> None:
    panel = ModelRegistry("digits", bind=False, language="en")
    panel.show(versions=[], job={"name": "a", "state": "succeeded", "version": None})
    paint(page, panel)
    for _ in range(2):
        page.get_by_role("button", name="Register", exact=True).click()
    assert len(asked(page, "register")) == 1

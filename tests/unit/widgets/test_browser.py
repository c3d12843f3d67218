"""The browser's half in a real browser, with a model that only remembers: no kernel, no portal."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from playwright.sync_api import Page, expect

from dure_widgets import CanaryPanel, FleetView, JobMonitor, ModelRegistry, TrainingLauncher
from tests.unit.widgets.pages import asked, change, paint, replica, running, served, train, wait


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
    wait(page, 4500)  # more than two ticks
    assert len(asked(page, "tick")) == 1
    page.evaluate("answer('tick')")
    page.wait_for_function("sent.length === 2")
    page.evaluate("answer('tick')")
    page.evaluate("cleanUp()")
    wait(page, 4500)
    assert len(asked(page, "tick")) == 2
    assert page.evaluate("listeners()") == 0
    assert page.evaluate("document.querySelectorAll('.dure').length") == 0


def test_a_widget_off_the_screen_does_not_look(page: Page) -> None:
    page.evaluate(
        "document.body.prepend(Object.assign(document.createElement('div'), { style: 'height: 5000px' }))"
    )
    paint(page, CanaryPanel("digits", bind=False, language="en"))
    wait(page, 2500)
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
    assert launch["parameters"] == {"epochs": "77", "augment": True}  # both were touched
    assert launch["profile"] == "cpu"


def test_a_refusal_stands_at_its_field_and_takes_the_focus(page: Page) -> None:
    panel = TrainingLauncher(train, language="en")
    paint(page, panel)
    page.get_by_role("button", name="Launch").click()
    change(page, wrong={"epochs": "epochs is wrong."})
    page.evaluate("answer('launch')")
    expect(page.get_by_label("epochs")).to_be_focused()
    expect(page.get_by_label("epochs")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("epochs is wrong.")).to_be_visible()
    # The very same mistake once more: the sentence is still there.
    page.get_by_role("button", name="Launch").click()
    page.evaluate("answer('launch')")
    expect(page.get_by_text("epochs is wrong.")).to_be_visible()


def test_points_and_lines_are_appended_once_whoever_they_were_sent_to(page: Page) -> None:
    panel = JobMonitor(bind=False, language="en")
    panel.show(name="a", job=running())
    paint(page, panel)
    curve, log = page.locator(".dure-curve"), page.locator("pre")
    listed = {"all": [["loss", 0.5]], "count": 1, "on": ["loss"]}
    rows = [[0, 1.0], [1, 0.5]]
    first = {"job": "a", "metrics": listed, "points": {"loss": {"from": 0, "next": 2, "rows": rows}}}
    text = {"from": 0, "next": 8, "text": "one\ntwo\n"}
    for _ in range(2):
        page.evaluate("(news) => fire('msg:custom', { news })", first | {"log": text})
    expect(curve).to_have_attribute("data-points", "2")
    expect(log).to_have_text("one\ntwo\n")
    more = {"job": "a", "points": {"loss": {"from": 2, "next": 3, "rows": [[2, 0.25]]}}}
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
        "points": {"loss": {"from": 0, "next": 1, "rows": [[0, 1.0]]}},
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
    for looks in (1, 1):
        page.evaluate("answer('tick')")
        wait(page, 3000)
        assert len(asked(page, "tick")) == looks
    assert page.get_by_role("button", name="Stop").count() == 0


def test_stop_needs_a_second_click(page: Page) -> None:
    panel = JobMonitor(bind=False, language="en")
    panel.show(name="a", job=running())
    paint(page, panel)
    page.get_by_role("button", name="Stop").click()
    assert asked(page, "stop") == []
    wait(page, 600)
    page.get_by_role("button", name="Stop it? Click again").click()
    assert len(asked(page, "stop")) == 1


def test_roll_back_needs_a_second_click(page: Page) -> None:
    panel = CanaryPanel("digits", bind=False, language="en")
    panel.show(known=True, versions=[2, 1], endpoint=served(canary=replica(2, percent=10)))
    paint(page, panel)
    page.get_by_role("button", name="Roll back").click()
    assert asked(page, "rollback") == []
    wait(page, 600)
    page.get_by_role("button", name="End the canary? Click again").click()
    assert len(asked(page, "rollback")) == 1


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
    panel = CanaryPanel("digits", bind=False, language="en")
    panel.show(known=True, versions=[1], endpoint=served())
    paint(page, panel)
    group = page.get_by_role("group", name="Champion")
    expect(group.get_by_text("unknown")).to_have_count(4)
    expect(page.get_by_text("Register another version of digits to try it here.")).to_be_visible()


def test_a_sick_gpu_says_what_is_wrong_until_it_is_well(page: Page) -> None:
    sick = {
        "uuid": "GPU-1",
        "name": "H100",
        "holders": [],
        "health": {"en": "Memory rows wait.", "ko": "대기 중."},
    }
    fleet = {"at": "2026-03-02T09:00:00Z", "cpu_cores": 8, "memory_mb": 16384, "holders": []}
    panel = FleetView(bind=False, language="ko")
    panel.show(fleet={**fleet, "devices": [sick, {**sick, "uuid": "GPU-2", "health": None}]})
    paint(page, panel)
    expect(page.get_by_text("대기 중.")).to_be_visible()
    expect(page.locator(".dure-device .dure-wrong:visible")).to_have_count(1)
    change(page, fleet={**fleet, "devices": [{**sick, "health": None}]})
    expect(page.locator(".dure-device .dure-wrong:visible")).to_have_count(0)


@pytest.mark.parametrize(
    ("language", "cores", "memory", "holder"),
    [
        ("en", "1 core, use unknown", "16 GiB, use unknown", "0.5 cores promised, use unknown"),
        ("ko", "코어 1개, 사용량 알 수 없음", "16 GiB, 사용량 알 수 없음", "보장 코어 0.5개, 사용량 알 수 없음"),
    ],
)
def test_where_nobody_measures_use_what_there_is_and_is_promised_is_said(
    page: Page, language: str, cores: str, memory: str, holder: str
) -> None:
    held = {
        **{"lease": "1", "owner": "ana", "purpose": "notebook", "subject": "ana/default", "profile": "cpu"},
        **{"since": "2026-03-02T09:00:00Z", "cpu_cores": 0.5, "memory_mb": 1024},
    }
    fleet = {"at": "2026-03-02T09:00:00Z", "cpu_cores": 1, "memory_mb": 16384, "holders": [held], "devices": []}
    panel = FleetView(bind=False, language=language)
    panel.show(fleet=fleet)
    paint(page, panel)
    for said in (cores, memory, holder):
        expect(page.get_by_text(said, exact=True)).to_be_visible()


TEAMS: Mapping[str, object] = {"name": "ana", "teams": ["speech", "vision"], "team": None}


def form(page: Page, panel: TrainingLauncher, payer: Mapping[str, object]) -> None:
    """A launcher in a page that has a storage, as pages of a portal do."""
    page.route("http://widget.test/", lambda route: route.fulfill(content_type="text/html", body="<body>"))
    page.goto("http://widget.test/")
    paint(page, panel)
    change(page, payer=payer)


def launcher(language: str = "en", team: str | None = None) -> TrainingLauncher:
    return TrainingLauncher(train, bind=False, language=language, team=team)


def test_the_team_is_asked_for_where_there_is_more_than_one_and_is_remembered(page: Page) -> None:
    form(page, launcher(), TEAMS)
    team, project = page.get_by_label("Team"), page.get_by_label("Project")
    expect(team).to_have_value("")
    expect(team).to_have_js_property("required", True)
    expect(team).to_have_accessible_description("It pays for this.")
    team.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(team).to_have_value("vision")
    page.keyboard.press("Tab")
    expect(project).to_be_focused()
    page.keyboard.type("cells")
    page.keyboard.press("Enter")
    (sent,) = asked(page, "launch")
    assert (sent["team"], sent["project"]) == ("vision", "cells")
    assert asked(page, "plan")[-1]["team"] == "vision"

    page.evaluate("cleanUp()")
    form(page, launcher(), TEAMS)
    expect(page.get_by_label("Team")).to_have_value("vision")
    expect(page.get_by_label("Project")).to_have_value("cells")
    form(page, launcher(), {**TEAMS, "name": "ben"})
    expect(page.get_by_label("Team")).to_have_value("")
    form(page, launcher(team="speech"), TEAMS)
    expect(page.get_by_label("Team")).to_have_value("speech")
    expect(page.get_by_label("Project")).to_have_value("")


def test_with_one_team_nobody_is_asked_and_that_of_the_server_is_marked_at_first(page: Page) -> None:
    form(page, launcher("ko"), {"name": "ana", "teams": ["vision"], "team": None})
    expect(page.get_by_label("팀")).to_be_hidden()
    expect(page.get_by_label("프로젝트")).to_be_visible()
    change(page, payer={**TEAMS, "team": "speech"})
    expect(page.get_by_label("팀")).to_have_value("speech")
    assert page.get_by_label("팀").locator("option").all_inner_texts() == ["speech", "vision"]


def test_a_team_that_is_missing_stands_at_its_field_and_takes_the_focus(page: Page) -> None:
    form(page, launcher(), TEAMS)
    page.get_by_role("button", name="Launch").click()
    change(page, wrong={"payer.team": "Choose which of them pays."})
    page.evaluate("answer('launch')")
    expect(page.get_by_label("Team")).to_be_focused()
    expect(page.get_by_label("Team")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("Choose which of them pays.")).to_be_visible()


def test_what_is_deployed_is_paid_for_by_the_team_that_is_chosen(page: Page) -> None:
    panel = CanaryPanel("digits", bind=False, language="en")
    paint(page, panel)
    change(page, known=True, versions=[2, 1], payer=TEAMS)
    page.get_by_label("Team").select_option("speech")
    page.get_by_role("button", name="Deploy").click()
    (sent,) = asked(page, "deploy")
    assert (sent["version"], sent["team"], sent["project"]) == ("2", "speech", "")
    change(page, wrong={"payer.team": "speech is none of your teams."})
    page.evaluate("answer('deploy')")
    expect(page.get_by_label("Team")).to_be_focused()
    change(page, endpoint=served(), wrong={})
    expect(page.get_by_label("Team")).to_be_hidden()
    page.get_by_role("button", name="Start canary").click()
    assert "team" not in asked(page, "canary")[0]

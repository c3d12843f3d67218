"""What every widget does with what is asked, what fails, and what it sends."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import dure_widgets
from dure.errors import NotFound
from dure_widgets import Panel
from dure_widgets.controllers.model_registry import LINEAGE
from dure_widgets.panel import STATIC, assemble
from tests.unit.widgets.kit import bytes_of, click, customs, recorded

OURS: dict[str, Callable[[], Panel]] = {
    "TrainingLauncher": lambda: dure_widgets.TrainingLauncher(train),
    "JobMonitor": lambda: dure_widgets.JobMonitor(),
    "ModelRegistry": lambda: dure_widgets.ModelRegistry("digits"),
    "CanaryPanel": lambda: dure_widgets.CanaryPanel("digits", sample=[[0.0]]),
}
FIRST_PAINT = 200 * 1024
HEADS = ("version", "aliases", "metrics", "owner", "created")


def train(ctx: Any, epochs: int = 20) -> None:
    """Something to launch."""


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No portal and no token in the environment."""
    for name in ("DURE_URL", "DURE_TOKEN", "DURE_TOKEN_FILE", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", OURS)
def test_a_first_paint_stays_below_200_kb(name: str) -> None:
    with recorded() as sent:
        OURS[name]()
    assert sent[0][0] == "comm_open"
    assert 10_000 < bytes_of(sent) <= FIRST_PAINT


def test_a_page_with_all_of_them_stays_below_200_kb_too() -> None:
    # Voila sends all widgets of a dashboard in one message, with what it says of each.
    with recorded() as sent:
        for make in OURS.values():
            make()
    assert bytes_of(sent) <= FIRST_PAINT * 0.95


@pytest.mark.parametrize("name", OURS)
@pytest.mark.usefixtures("nowhere")
def test_without_a_portal_a_widget_says_what_is_missing(name: str) -> None:
    panel = OURS[name]()
    if name == "JobMonitor":
        panel = dure_widgets.JobMonitor("train-a1")
    click(panel, "tick", profile="cpu")
    assert panel.problem["code"] == "no_portal"
    assert "DURE_URL" in panel.problem["message"]
    assert panel.problem["next_step"]


@pytest.mark.parametrize("name", OURS)
def test_every_text_is_there_in_both_languages(name: str) -> None:
    for key, text in getattr(dure_widgets, name).TEXTS.items():
        assert set(text) == {"en", "ko"}, key
        facts = [set(re.findall(r"{(\w+)}", sentence)) for sentence in text.values()]
        assert facts[0] == facts[1], key


@pytest.mark.parametrize("name", OURS)
def test_every_word_that_the_browser_uses_is_given_to_it(name: str) -> None:
    kind = getattr(dure_widgets, name)
    calls = re.findall(r"word\(model, ((?:[^(),]|\([^()]*\))+)[,)]", str(kind._esm))
    assert len(calls) > 20
    used = {
        literal for call in calls for literal in re.findall(r'"([\w.]+)"', re.sub(r"[!=]==? *\"\w+\"", "", call))
    }
    assert used <= set(OURS[name]().words)
    made = {call.strip() for call in calls if '"' not in call}
    assert made <= set(MADE[name]) | {"key"}, "a word by a key that this test knows nothing of"
    for call in made:
        assert set(MADE[name].get(call, ())) <= set(OURS[name]().words), call


JOB_STATES = ("queued", "starting", "running", "succeeded", "failed", "stopped")
PHASES = ("waiting", "starting", "ready", "failed", "stopping", "stopped")
ENDPOINT_STATES = ("starting", "ready", "degraded", "failed", "stopped")
MADE: dict[str, dict[str, Sequence[str]]] = {
    "TrainingLauncher": {},
    "JobMonitor": {"job.state": JOB_STATES, "one.state": (*JOB_STATES, "lost")},
    "ModelRegistry": {
        "which.state": JOB_STATES,
        "`tag_${name}`": [f"tag_{key}" for key in (*LINEAGE, "run")],
        "name": HEADS,
    },
    "CanaryPanel": {
        "one.phase": PHASES,
        "replica.phase": PHASES,
        "one.state": ENDPOINT_STATES,
        "role": ("champion", "canary"),
        "name": ("weight", "requests", "errors", "p50", "p95"),
        "can.label": ("deploy", "start", "change"),
    },
}
"""Keys that are no literals in the browser's half, and what they can be."""


@pytest.mark.parametrize("file", sorted(path.name for path in STATIC.glob("*.js")))
def test_no_text_becomes_markup_and_nothing_is_fetched(file: str) -> None:
    text = assemble(file)
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "fetch(",
        "import(",
        "eval(",
    ):
        assert forbidden not in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_the_chart_library_comes_with_its_licence() -> None:
    assert "Permission is hereby granted" in (STATIC / "vendor" / "uPlot.LICENSE").read_text()
    assert "v1.6.32" in assemble("vendor/uPlot.iife.min.js")[:100]


def panel_that(*answers: Exception | None) -> Panel:
    """A panel whose callback gives these, one call each."""
    left = [*answers]

    def answer(_verb: str, _values: dict[str, Any]) -> None:
        if (given := left.pop(0)) is not None:
            raise given

    panel = Panel(language="en")
    panel.on_ask(answer)
    return panel


def test_an_error_shows_its_sentence_and_the_next_step() -> None:
    panel = panel_that(NotFound(kind="job", name="x"))
    click(panel, "go")
    assert panel.problem["message"] == "There is no job named x."
    assert panel.problem["next_step"] == "List what there is, and check the spelling."


def test_a_problem_of_a_click_outlives_looks_and_ends_with_the_next_click() -> None:
    panel = panel_that(NotFound(kind="job", name="x"), None, NotFound(kind="job", name="y"), None)
    click(panel, "go")
    click(panel, "tick")
    assert "named x" in panel.problem["message"]
    click(panel, "tick")
    assert "named x" in panel.problem["message"]
    click(panel, "go")
    assert panel.problem is None


def test_a_problem_of_a_look_ends_with_the_next_look() -> None:
    panel = panel_that(NotFound(kind="job", name="x"), None)
    click(panel, "tick")
    assert panel.problem is not None
    click(panel, "tick")
    assert panel.problem is None


def test_a_bug_is_raised_for_the_log_and_its_text_is_not_shown() -> None:
    panel = panel_that(ZeroDivisionError("inner workings"))
    with pytest.raises(ZeroDivisionError):
        panel.ask("go")
    assert panel.problem["code"] == "widget_fault"
    assert "kernel" in panel.problem["next_step"]
    assert "inner workings" not in str(panel.problem)
    assert panel.busy == ""


def test_whoever_asks_is_answered_and_sees_what_is_worked_on() -> None:
    seen = []
    with recorded() as sent:
        panel = Panel()
        panel.on_ask(lambda verb, values: seen.append((verb, values, panel.busy)))
        click(panel, "go", to="there")
        click(panel, "tick")
        panel._handle_custom_msg("nonsense", [])
        panel._handle_custom_msg({"ask": 3}, [])
    assert seen == [("go", {"to": "there"}, "go"), ("tick", {}, "")]
    assert customs(sent) == [{"answered": "go"}, {"answered": "tick"}]


def test_of_ticks_that_piled_up_behind_a_blocked_kernel_one_is_looked_for() -> None:
    seen = []
    with recorded() as sent:
        panel = Panel()
        panel.on_ask(lambda verb, values: seen.append(values))
        for number in (1, 2, 3):
            click(panel, "tick", view="a", number=number, heard=0)
        click(panel, "tick", view="b", number=1, heard=0)
        click(panel, "tick", view="a", number=4, heard=3)
    assert len(seen) == 3
    assert [(one["view"], one["number"]) for one in customs(sent)] == [
        ("a", 1),
        ("a", 2),
        ("a", 3),
        ("b", 1),
        ("a", 4),
    ]


def test_an_answer_names_what_it_answers_and_whether_that_failed() -> None:
    with recorded() as sent:
        panel = panel_that(NotFound(kind="job", name="x"), None)
        click(panel, "go", id="1")
        click(panel, "tick", id="2", view="v", number=7, heard=0)
    assert customs(sent) == [
        {"answered": "go", "id": "1", "failed": True},
        {"answered": "tick", "id": "2", "view": "v", "number": 7},
    ]


def test_a_part_of_the_state_that_stays_the_same_sends_nothing() -> None:
    with recorded() as sent:
        panel = Panel(state={"a": 1})
        before = len(sent)
        panel.show(a=1)
        assert len(sent) == before
        panel.show(a=2)
        assert len(sent) == before + 1


def test_texts_come_in_the_readers_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURE_LANGUAGE", "ko")
    panel = dure_widgets.JobMonitor()
    assert (panel.language, panel.words["stop"], panel.words["unknown"]) == ("ko", "중지", "알 수 없음")

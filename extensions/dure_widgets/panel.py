"""What every widget is: it shows what it is given and asks by callbacks. It fetches nothing.

The browser's half is plain JavaScript under `static/`. A module given as text cannot import a neighbour, so
`assemble` joins the files of one widget; `common.js` and `common.css` come first and hold what all of them share.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from dure.errors import DureError, Text, reader_language
from dure.wire.ids import is_id

STATIC = Path(__file__).parent / "static"
TICK = "tick"
"""The verb that the browser asks by itself while a widget is on screen."""
KEPT = 200
"""Of so many clicks the ids are remembered, and of so many views the last tick."""

Callback = Callable[[str, dict[str, Any]], None]
"""Called with the verb that was asked and the values that came with it."""

COMMON: Mapping[str, Text] = {
    "cancel": {"en": "Cancel", "ko": "취소"},
    "gone": {
        "en": "The kernel that made this is gone; run the cell again.",
        "ko": "이 위젯을 만든 커널이 종료되었습니다. 셀을 다시 실행하세요.",
    },
    "none": {"en": "none", "ko": "없음"},
    "per_hour": {"en": "{amount} an hour", "ko": "시간당 {amount}"},
    "problem": {"en": "This did not work", "ko": "처리하지 못했습니다"},
    "silent": {
        "en": "The kernel has not answered for a while. If it is busy with a cell, it answers after that; "
        "if it was restarted, run this cell again.",
        "ko": "커널이 한동안 응답하지 않습니다. 다른 셀을 실행 중이면 끝난 뒤 응답하고, 다시 시작되었다면 "
        "이 셀을 다시 실행하세요.",
    },
    "unknown": {"en": "unknown", "ko": "알 수 없음"},
    "working": {"en": "Working…", "ko": "처리 중…"},
}
"""Texts that every widget may use beside its own."""


class WidgetFault(DureError):
    """A bug of ours in the kernel's half of a widget; its text is for the log and not for the widget."""

    code, status = "widget_fault", 500
    message: ClassVar[Text] = {
        "en": "The widget met an error of its own in {where}.",
        "ko": "위젯의 {where}에서 내부 오류가 발생했습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Try once more. If it stays, pass on what the kernel wrote (in JupyterLab View → Show Log Console).",
        "ko": "다시 시도하세요. 계속되면 커널이 남긴 기록(JupyterLab의 View → Show Log Console)을 관리자에게 "
        "전달하세요.",
    }


def assemble(*names: str) -> str:
    """These files of `static/`, one after the other, as one module or one style sheet.

    Every widget carries its own copy to the browser, so our files go without what only people read: comments that
    have their lines to themselves, indentation, and the ends of lines after which nothing can end (no text of ours
    goes over several lines). Others' stay whole.
    """
    return "\n".join(_lean(name, (STATIC / name).read_text(encoding="utf-8")) for name in names)


def _lean(name: str, text: str) -> str:
    if name.startswith("vendor/"):
        return text
    text = re.sub(r"^[ \t]*/\*.*?\*/[ \t]*$", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = (line.strip() for line in text.splitlines())
    kept = [line for line in lines if line and not line.startswith("//")]
    if name.endswith(".css"):
        kept = [re.sub(r" ?([{};:]) ", r"\1", f"{line} ") for line in kept]  # none of ours is in a text of a style
    return "".join(line if _goes_on(line) else f"{line}\n" for line in kept)


def _goes_on(line: str) -> bool:
    """Whether the next line may stand on the same, not behind what could be a comment. A statement ends in `;`."""
    return line.endswith(("{", "}", "(", "[", ",", ";")) and "//" not in line


def request_id(values: Mapping[str, Any]) -> str | None:
    """The id of a click, which becomes that of the request it leads to; None where it has none."""
    given = values.get("id")
    return given if isinstance(given, str) and is_id(given) else None


class Panel(anywidget.AnyWidget):
    """A widget that shows `state` and asks for what people click.

    `words` are its texts in the reader's language, `problem` is an error in the wire's shape (`message`,
    `next_step`) or None, `busy` the verb being worked on or "". The browser sends `{"ask": verb, …values}`; every
    callback of `on_ask` gets it, with the click's `id` among the values, and the answer names that id. A
    `DureError` of a callback becomes `problem`; a verb that works clears it.
    """

    _css = assemble("common.css")
    TEXTS: ClassVar[Mapping[str, Text]] = {}
    """The widget's own texts, each in every language."""
    BY_ITSELF: ClassVar[frozenset[str]] = frozenset({TICK})
    """Looks: a problem of a click outlives them, and their own ends with the next look that works."""
    UNSHOWN: ClassVar[frozenset[str]] = frozenset({TICK})
    """Verbs that are not shown as work, since they come many times or take no time."""

    state = traitlets.Dict().tag(sync=True)
    words = traitlets.Dict().tag(sync=True)
    language = traitlets.Unicode().tag(sync=True)
    problem: Any = traitlets.Any(None, allow_none=True).tag(sync=True)
    busy = traitlets.Unicode("").tag(sync=True)
    own = traitlets.Unicode("").tag(sync=True)
    """By which the browser finds its model, and so whether that model's kernel is still there."""

    def __init__(self, **traits: Any) -> None:
        language = traits.pop("language", None) or reader_language()
        words = {key: text.get(language, text["en"]) for key, text in {**COMMON, **self.TEXTS}.items()}
        self._callbacks: list[Callback] = []
        self._asked_by_itself = False
        self._look_failed: DureError | None = None
        self._done: deque[str] = deque(maxlen=KEPT)
        self._answered: dict[str, int] = {}
        super().__init__(language=language, words=words, **traits)
        self.own = self.model_id or ""
        self.on_msg(self._hear)

    def on_ask(self, callback: Callback) -> None:
        """Call this with the verb and the values of everything that is asked."""
        self._callbacks.append(callback)

    def show(self, **parts: Any) -> None:
        """Change these parts of `state` and keep the others. What is the same is not sent again."""
        self.state = {**self.state, **parts}

    def tell(self, error: DureError | None) -> None:
        """Show this error, or none."""
        self.problem = None if error is None else error.to_wire(self.language)["error"]
        self._asked_by_itself = False

    def look_after(self, look: Callable[[], None]) -> None:
        """Look once more after a verb that worked. What fails here is the look's problem and not the verb's."""
        try:
            look()
        except DureError as error:
            self._look_failed = error

    def ask(self, verb: str, values: Mapping[str, Any] | None = None) -> bool:
        """Ask as the browser does; whether it worked. What a person can read is shown as `problem`, not raised."""
        by_itself, self._look_failed = verb in self.BY_ITSELF, None
        if verb not in self.UNSHOWN:
            self.busy = verb
        try:
            for callback in self._callbacks:
                callback(verb, dict(values or {}))
        except DureError as error:
            self._failed(error, by_itself)
            return False
        except Exception:
            # A bug of ours: its text belongs in the kernel's log, a sentence into the widget.
            self._failed(WidgetFault(where=f"{type(self).__name__}.{verb}"), by_itself)
            raise
        finally:
            self.busy = ""
        if not by_itself or self._asked_by_itself:
            self.tell(None)
        if self._look_failed is not None:
            self._failed(self._look_failed, by_itself=True)
        return True

    def _failed(self, error: DureError, by_itself: bool) -> None:
        # What a person's click led to is worth more than a look that failed, and stays until the next click.
        if not by_itself or self.problem is None or self._asked_by_itself:
            self.tell(error)
            self._asked_by_itself = by_itself

    def _hear(self, _widget: object, content: object, _buffers: object) -> None:
        if not isinstance(content, dict) or not isinstance(verb := content.get("ask"), str):
            return
        answer = {"answered": verb, **{key: content[key] for key in ("id", "view", "number") if key in content}}
        worked = False
        try:
            worked = self._is_late(content) or self.ask(
                verb, {key: value for key, value in content.items() if key not in ENVELOPE}
            )
        finally:
            if isinstance(view := content.get("view"), str) and isinstance(number := content.get("number"), int):
                self._answered.pop(view, None)
                self._answered[view] = number
                while len(self._answered) > KEPT:
                    self._answered.pop(next(iter(self._answered)))
            self.send(answer if worked else answer | {"failed": True})

    def _is_late(self, content: Mapping[str, Any]) -> bool:
        """Whether there is nothing left to do for it.

        A view that hears nothing for a while asks again, so behind a blocked kernel its ticks pile up. One of them
        is looked for; those that were sent before its answer could be heard are only answered. And a click that
        is delivered twice is one click.
        """
        view, heard, key = content.get("view"), content.get("heard"), content.get("id")
        if content["ask"] == TICK:
            return isinstance(view, str) and isinstance(heard, int) and heard < self._answered.get(view, heard)
        if not isinstance(key, str):
            return False
        known = key in self._done
        self._done.append(key)
        return known


ENVELOPE = frozenset({"ask", "view", "number", "heard"})
"""What a message carries for the panel itself."""

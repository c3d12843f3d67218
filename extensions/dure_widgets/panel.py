"""What every widget is: it shows what it is given and asks by callbacks. It fetches nothing.

The browser's half is plain JavaScript under `static/`. A module given as text cannot import a neighbour, so
`assemble` joins the files of one widget; `common.js` and `common.css` come first and hold what all of them share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from dure.errors import DureError, ServerFault, Text, reader_language

STATIC = Path(__file__).parent / "static"
TICK = "tick"
"""The verb that the browser asks by itself while a widget is on screen."""

Callback = Callable[[str, dict[str, Any]], None]
"""Called with the verb that was asked and the values that came with it."""

COMMON: Mapping[str, Text] = {
    "cancel": {"en": "Cancel", "ko": "취소"},
    "none": {"en": "none", "ko": "없음"},
    "per_hour": {"en": "{amount} an hour", "ko": "시간당 {amount}"},
    "problem": {"en": "This did not work", "ko": "처리하지 못했습니다"},
    "unknown": {"en": "unknown", "ko": "알 수 없음"},
    "working": {"en": "Working…", "ko": "처리 중…"},
}
"""Texts that every widget may use beside its own."""


def assemble(*names: str) -> str:
    """These files of `static/`, one after the other, as one module or one style sheet."""
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in names)


class Panel(anywidget.AnyWidget):
    """A widget that shows `state` and asks for what people click.

    `words` are its texts in the reader's language, `problem` is an error in the wire's shape (`message`,
    `next_step`) or None, `busy` the verb being worked on or "". The browser sends `{"ask": verb, …values}`; every
    callback of `on_ask` gets it. A `DureError` of a callback becomes `problem`; a verb that works clears it.
    """

    _css = assemble("common.css")
    TEXTS: ClassVar[Mapping[str, Text]] = {}
    """The widget's own texts, each in every language."""
    QUIET: ClassVar[frozenset[str]] = frozenset({TICK})
    """Verbs that come by themselves: they are not shown as work, and a problem of a click outlives them."""

    state = traitlets.Dict().tag(sync=True)
    words = traitlets.Dict().tag(sync=True)
    language = traitlets.Unicode().tag(sync=True)
    problem: Any = traitlets.Any(None, allow_none=True).tag(sync=True)
    busy = traitlets.Unicode("").tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        language = traits.pop("language", None) or reader_language()
        words = {key: text.get(language, text["en"]) for key, text in {**COMMON, **self.TEXTS}.items()}
        self._callbacks: list[Callback] = []
        self._asked_by_itself = False
        super().__init__(language=language, words=words, **traits)
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

    def ask(self, verb: str, values: Mapping[str, Any] | None = None) -> None:
        """Ask as the browser does. Raises nothing that a person can read: that is shown as `problem`."""
        quiet = verb in self.QUIET
        if not quiet:
            self.busy = verb
        try:
            for callback in self._callbacks:
                callback(verb, dict(values or {}))
        except DureError as error:
            self._failed(error, quiet)
        except Exception:
            # A bug of ours: its text belongs in the kernel's log, a sentence into the widget.
            self._failed(ServerFault(reference=f"{type(self).__name__}.{verb}"), quiet)
            raise
        else:
            if not quiet or self._asked_by_itself:
                self.tell(None)
        finally:
            self.busy = ""
            self.send({"answered": verb})

    def _failed(self, error: DureError, quiet: bool) -> None:
        # What a person's click led to is worth more than a look that failed, and stays until the next click.
        if not quiet or self.problem is None or self._asked_by_itself:
            self.tell(error)
            self._asked_by_itself = quiet

    def _hear(self, _widget: object, content: object, _buffers: object) -> None:
        if isinstance(content, dict) and isinstance(content.get("ask"), str):
            self.ask(content["ask"], {key: value for key, value in content.items() if key != "ask"})

"""A start that is refused, said so that the hub's API, its form and its pages all show the sentence."""

from __future__ import annotations

from html import escape
from typing import ClassVar

from jupyterhub.spawner import SpawnException

from dure.errors import DureError, Text


class StartBroke(DureError):
    """What nobody thought of kept a server from starting; the hub's log has it whole."""

    code, status = "start_broke", 500
    message: ClassVar[Text] = {
        "en": "The portal could not start the server: {why}.",
        "ko": "포털이 서버를 시작하지 못했습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Try once more; if it fails again, show an administrator this sentence: the hub's log has the rest.",
        "ko": "한 번 더 시도하고, 또 실패하면 이 문장을 관리자에게 보여 주세요. 나머지는 허브 로그에 있습니다.",
    }

    @classmethod
    def of(cls, error: Exception) -> StartBroke:
        """Of an operating system's error its words, without any path; of another, its kind alone."""
        said = error.strerror if isinstance(error, OSError) else None
        return cls(why=said or type(error).__name__)


class Refused(SpawnException):  # type: ignore[misc]
    """A `DureError` on its way through JupyterHub.

    The hub's pages read `jupyterhub_message` and `jupyterhub_html_message`, which its own SpawnException lacks.
    """

    def __init__(self, error: DureError, language: str) -> None:
        self.jupyterhub_message = f"{error.text(language)} {error.advice(language)}".strip()
        self.page = error.facts.get("page")
        super().__init__(self.jupyterhub_message, reason=error.code, status_code=error.status)
        self.headers = {"X-Dure-Code": error.code} | ({"Link": f"<{self.page}>"} if self.page else {})

    @property
    def jupyterhub_html_message(self) -> str:
        """The sentence with the waiting page as a link."""
        text = escape(self.jupyterhub_message)
        if not self.page:
            return text
        path = escape(str(self.page))
        return text.replace(path, f'<a href="{path}">{path}</a>')

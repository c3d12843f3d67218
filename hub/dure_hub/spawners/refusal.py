"""A start that is refused, said so that the hub's API, its form and its pages all show the sentence."""

from __future__ import annotations

from html import escape

from jupyterhub.spawner import SpawnException

from dure.errors import DureError


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

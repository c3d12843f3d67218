"""Every sentence of the pages is there in both languages, and every template finds its own."""

from __future__ import annotations

import re
import string

import pytest

from dure_hub.services.pages.rendering import STATIC_FOLDER, TEMPLATES, templates
from dure_hub.services.pages.words import SENTENCES

PAGES = sorted(TEMPLATES.glob("*.html"))


def facts(text: str) -> set[str]:
    """The names of the values a sentence takes."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_say_the_same_values() -> None:
    for key, (english, korean) in SENTENCES.items():
        assert english, key
        assert korean, key
        assert facts(english) == facts(korean), key


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_sentence_of_a_template_exists(path: object) -> None:
    text = (TEMPLATES / str(path)).read_text()
    keys = set(re.findall(r"""\bt\(["']([a-z.]+)["'][,)]""", text))
    assert keys <= set(SENTENCES)
    templates().get_template((TEMPLATES / str(path)).name)


def test_nothing_on_a_page_comes_from_elsewhere_or_runs_inline() -> None:
    for path in [*PAGES, *STATIC_FOLDER.iterdir()]:
        text = path.read_text()
        assert not re.findall(r"""(?:src|href|url|import|from)\s*[=(]?\s*["'(](?:https?:)?//""", text), path
        assert not re.findall(r"""\son[a-z]+\s*=\s*["']""", text), path
        assert not re.findall(r"""\sstyle\s*=\s*["']""", text), path


def test_every_script_carries_the_nonce() -> None:
    for path in PAGES:
        for script in re.findall(r"<script[^>]*>", path.read_text()):
            assert 'nonce="{{ nonce }}"' in script, path

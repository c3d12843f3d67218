"""The hub's own pages: languages, and every sentence in both."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from dure.errors import DureError
from dure_hub.hubpages import LANGUAGES, SENTENCES, choose_language
from dure_hub.operations.errors import MustWait
from dure_hub.spawners.refusal import Refused

TEMPLATES = Path(str(files("dure_hub"))) / "templates" / "hub"


@pytest.mark.parametrize(
    ("asked", "kept", "accepted", "language"),
    [
        (None, None, "ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        (None, None, "fr,en;q=0.3,ko;q=0.7", "ko"),
        (None, None, "fr", "en"),
        (None, None, "", "en"),
        (None, None, "ko;q=0", "en"),
        (None, None, "en;q=0.5, ko; q=0.9", "ko"),
        (None, None, "kok", "en"),
        (None, None, "ko;q=nonsense,en", "en"),
        (None, "ko", "en", "ko"),
        ("en", "ko", "ko", "en"),
        ("xx", None, "ko", "ko"),
    ],
)
def test_the_reader_chooses_the_language(
    asked: str | None, kept: str | None, accepted: str, language: str
) -> None:
    assert choose_language(asked, kept, accepted, "en") == language


def test_every_sentence_has_both_languages_and_the_same_facts() -> None:
    for key, sentence in SENTENCES.items():
        assert set(sentence) == set(LANGUAGES), key
        facts = [set(re.findall(r"\{(\w+)\}", text)) for text in sentence.values()]
        assert facts[0] == facts[1], key


def test_templates_say_only_what_there_is_and_all_of_it() -> None:
    said = set()
    for template in TEMPLATES.glob("*.html"):
        said |= set(re.findall(r'dure\.say\("([^"]+)"', template.read_text()))
        said |= set(re.findall(r'dure\.say\("[^"]+" if [^)]* else "([^"]+)"\)', template.read_text()))
    elsewhere = {"wrong", "expired form", "throttled", "wrong present", "differ"}
    assert said - set(SENTENCES) == set()
    assert set(SENTENCES) - said - elsewhere == set()


def test_a_refusal_links_the_waiting_page_and_escapes_the_rest() -> None:
    error: DureError = MustWait(profile="<b>full</b>", position=2, page="/services/dure/environments/default")
    refused = Refused(error, "en")
    assert refused.status_code == 409
    assert "<b>" in refused.jupyterhub_message
    assert "<b>" not in refused.jupyterhub_html_message
    assert '<a href="/services/dure/environments/default">' in refused.jupyterhub_html_message
    assert "대기 순서는 2번째" in Refused(error, "ko").jupyterhub_message

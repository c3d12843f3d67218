"""What an Envoy has taken is known by what it asks next."""

from __future__ import annotations

from pathlib import Path

import pytest

from dure.errors import BadRequest
from dure_hub.dataplane.asking import (
    AGAIN_S,
    CLUSTERS,
    PRESENT_S,
    ROUTES,
    SETTLED_S,
    Asked,
    Envoy,
    Stand,
    Taken,
    after_answer,
    after_question,
    is_due,
    verdict,
)
from dure_hub.dataplane.taking import xds_token
from dure_hub.settings import Settings

NOW = 1000.0


def test_what_it_was_sent_and_names_it_has_taken() -> None:
    sent = after_answer(Stand(version="a"), "b")
    assert after_question(sent, "b", "", "b", NOW) == Stand(version="b")


def test_an_answer_that_may_have_been_lost_is_sent_once_more_and_then_it_is_refused() -> None:
    sent = after_answer(Stand(version="a"), "b")
    again = after_question(sent, "a", "", "b", NOW)
    assert is_due(again, "b", NOW)
    assert again.refused == ""
    refused = after_question(after_answer(again, "b"), "a", "", "b", NOW)
    assert (refused.version, refused.refused, refused.refused_at) == ("a", "b", NOW)
    assert not is_due(refused, "b", NOW + AGAIN_S - 1)
    assert is_due(refused, "b", NOW + AGAIN_S)


def test_a_lost_answer_that_arrives_the_second_time_is_no_refusal() -> None:
    again = after_question(after_answer(Stand(version="a"), "b"), "a", "", "b", NOW)
    assert after_question(after_answer(again, "b"), "b", "", "b", NOW) == Stand(version="b")


def test_a_reason_says_at_once_that_it_was_refused() -> None:
    refused = after_question(after_answer(Stand(version="a"), "b"), "a", "no such thing", "b", NOW)
    assert (refused.refused, refused.reason) == ("b", "no such thing")


def test_a_refusal_is_forgotten_once_something_else_is_wanted() -> None:
    refused = Stand(version="a", refused="b", refused_at=NOW, reason="no")
    assert after_question(refused, "a", "", "a", NOW) == Stand(version="a", refused_at=NOW)
    assert is_due(after_question(refused, "a", "", "a", NOW), "b", NOW)


def test_one_that_began_anew_gets_what_it_had() -> None:
    assert is_due(after_question(Stand(version="a"), "", "", "a", NOW), "a", NOW)
    assert not is_due(after_question(Stand(), "a", "", "a", NOW), "a", NOW)


def asked(*versions: str, seen: float = NOW, since: float = NOW - SETTLED_S, beat: float = NOW) -> Asked:
    envoys = {str(n): Envoy(seen, stands={ROUTES: Stand(version)}) for n, version in enumerate(versions)}
    return Asked(since, beat, envoys)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (None, Taken.AWAY),
        (asked("b"), Taken.BY_ALL),
        (asked("b", "b"), Taken.BY_ALL),
        (asked("b", "a"), Taken.NOT_YET),
        (asked(""), Taken.NOT_YET),
        (asked(), Taken.AWAY),
        (asked("a", seen=NOW - PRESENT_S), Taken.AWAY),
        (asked("a", seen=NOW - PRESENT_S + 0.1), Taken.NOT_YET),
        (asked(since=NOW - SETTLED_S + 0.1), Taken.NOT_YET),
        (asked("b", since=NOW - SETTLED_S + 0.1), Taken.NOT_YET),
        (asked("b", beat=NOW - PRESENT_S), Taken.NOBODY_ANSWERS),
        (asked("b", beat=NOW + 1), Taken.NOBODY_ANSWERS),  # of before a reboot
    ],
)
def test_a_version_is_taken_once_all_that_are_there_have_it(found: Asked | None, outcome: Taken) -> None:
    assert verdict(found, ROUTES, "b", NOW) == (outcome, "")


def test_one_refusal_is_enough() -> None:
    refusing = Envoy(NOW, stands={CLUSTERS: Stand("a", refused="b", refused_at=NOW, reason="no")})
    both = Asked(NOW, NOW, {"1": Envoy(NOW, stands={CLUSTERS: Stand("b")}), "2": refusing})
    assert verdict(both, CLUSTERS, "b", NOW) == (Taken.REFUSED, "no")
    assert verdict(both, CLUSTERS, "c", NOW + PRESENT_S - 1) == (Taken.NOT_YET, "")


def test_it_is_kept_as_json() -> None:
    found = asked("a", "b")
    assert Asked.from_json(found.to_json()) == found


def test_a_token_that_is_empty_is_none(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("  \n")
    settings = Settings(data=tmp_path, xds_token_file=file)
    with pytest.raises(BadRequest, match="not empty"):
        xds_token(settings)
    file.write_text("s3cret\n")
    assert xds_token(settings) == "s3cret"

"""Whatever a machine makes of the service's own description, as whoever: never an answer of the 500s."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from dure.wire.ids import new_id
from tests.e2e.portal import Portal, make_portal

SEEDS = (1, 2, 3)
EACH = 7
"""Cases that the description allows, and as many that it forbids, for one call, seed and person."""
LEAST = 3000
KNOWN = ("default", "none", "cpu")
"""Names that lead somewhere, so that not every case ends at "there is none"."""


@schemathesis.serializer("application/zip")
def zipped(context: Any, value: Any) -> bytes:
    """An upload is whatever bytes were made."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal of its own: what fuzzing as an administrator leaves is nobody else's."""
    started = make_portal(tmp_path_factory.mktemp("fuzzed"))
    try:
        started.up()
        started.add_user("ana")
        started.add_user("ben")
        with started.client("admin") as admin:
            lab = {"members": ["ana", "ben"], "leads": ["ben"]}
            admin.put("/teams/lab", json=lab).raise_for_status()
        with started.client("ana") as ana:
            ana.post("/environments", json={"id": new_id(), "profile": "cpu"}).raise_for_status()
        yield started
    finally:
        started.down()


class Calls:
    """Makes and sends cases for every call in the service's description; `made` counts them."""

    def __init__(self, portal: Portal, token: str | None) -> None:
        self.schema: Any = schemathesis.openapi.from_url(f"{portal.url}/api/v1/openapi.json")
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.made = 0
        self.wrong: list[str] = []
        self._url, self._session = portal.url, requests.Session()

    def fuzz(self, seed: int) -> None:
        """Every call of the description."""
        for operation in self.schema.get_all_operations():
            assert isinstance(operation, Ok), operation
            for mode in GenerationMode:
                # a call without parameters and body has nothing that could be forbidden
                with contextlib.suppress(Unsatisfiable):
                    self._fuzz(operation.ok(), mode, seed)

    def _fuzz(self, operation: Any, mode: GenerationMode, seed: int) -> None:
        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=EACH,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            self.made += 1
            if "name" in case.path_parameters and self.made % 2:
                case.path_parameters["name"] = KNOWN[self.made % len(KNOWN)]
            answer = case.call(
                base_url=self._url, headers=self.headers, session=self._session, timeout=60, allow_redirects=False
            )
            if answer.status_code >= 500:
                said = answer.text[:300]
                self.wrong.append(f"{case.method} {case.formatted_path} {case.body!r:.300} -> {said}")

        send()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("who", ["nobody", "ana", "ben", "admin"])
def test_no_case_is_answered_by_a_500(fuzzed: Portal, who: str) -> None:
    """`ben` leads the team that `ana` is in."""
    calls = Calls(fuzzed, None if who == "nobody" else fuzzed.token(who))
    for seed in SEEDS:
        calls.fuzz(seed)
    assert calls.made >= LEAST
    assert not calls.wrong, "\n".join(calls.wrong[:20])

"""Answers Envoys that ask for routes, and writes down what they have taken. The portal service alone does it.

What it answers are the files that every writer of the portal makes, so it has nothing to lose: after a kill each
Envoy says again which version is in force there.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dure_hub.dataplane import asking
from dure_hub.dataplane.asking import CLUSTERS, ROUTES, Asked, Envoy
from dure_hub.dataplane.files import Files, signature_of

LOOK_S = 0.02
BEAT_S = 0.5
_HEAD = re.compile(r'\{"version_info":"([0-9a-f]{16})"')
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """What one Envoy asks: `version` is in force there; `reason` is why it refused what it was sent last."""

    envoy: str
    kind: str
    version: str = ""
    reason: str = ""
    address: str = ""
    statistics: int = 0


class Answers:
    """The server's half. Bound to the running event loop; `watch` is to run beside it."""

    def __init__(self, files: Files, clock: Callable[[], float] = time.monotonic) -> None:
        self._files, self._clock = files, clock
        self._texts = {CLUSTERS: _Text(files.clusters), ROUTES: _Text(files.routes)}
        self.asked = Asked(clock(), clock(), {})
        """What is known of those who ask, as it is written down."""
        self._changed = asyncio.Event()
        self._newest: dict[tuple[str, str], object] = {}

    async def watch(self) -> None:
        """Wake who waits when a file changes, and say now and then that the portal answers; until cancelled."""
        seen: object = None
        while True:
            now = self._clock()
            found = [text.signature() for text in self._texts.values()]
            if found != seen:
                seen = found
                self._wake()
            if now - self.asked.beat >= BEAT_S:
                self.keep()
            await asyncio.sleep(LOOK_S)

    async def answer(self, question: Question, gone: Callable[[], Awaitable[bool]]) -> str | None:
        """The newest resources of a kind for who has not taken them, else None, which says that nothing is new.

        Waits a moment for something new. `gone` says whether who asked has hung up. Routes wait until the
        clusters are in force which they name.
        """
        mine = self._newest[question.envoy, question.kind] = object()
        self._hear(question)
        deadline = self._clock() + asking.HOLD_S
        while True:
            changed = self._changed
            if await gone():
                self._leave(question.envoy)
                return None
            if self._newest[question.envoy, question.kind] is not mine:
                return None  # it has asked again since, on another connection
            text = self._due(question.envoy, question.kind)
            left = deadline - self._clock()
            if text is not None or left <= 0:
                return text
            try:
                await asyncio.wait_for(changed.wait(), left)
            except TimeoutError:
                continue

    def _hear(self, question: Question) -> None:
        now, _ = self._clock(), self._texts[question.kind].read()
        before = self.asked.envoys.get(question.envoy, Envoy(now))
        stand = asking.after_question(
            before.stand(question.kind), question.version, question.reason, self._texts[question.kind].version, now
        )
        if stand.refused and stand.refused_at == now:
            _log.warning("Envoy %s refused %s %s", question.envoy, question.kind, stand.refused)
        stands = {**before.stands, question.kind: stand}
        self._set(question.envoy, Envoy(now, question.address, question.statistics, stands))
        if stands != before.stands:
            self.keep()
            self._wake()  # routes may have waited for these clusters

    def _due(self, name: str, kind: str) -> str | None:
        now, text = self._clock(), self._texts[kind].read()
        # Routes are read before clusters: who writes does it the other way, so no cluster of theirs is missing.
        clusters = self._texts[CLUSTERS]
        clusters.read()
        envoy = self.asked.envoys.get(name, Envoy(now))
        envoy = replace(envoy, seen=now)
        ready = kind == CLUSTERS or envoy.stand(CLUSTERS).version == clusters.version
        current = self._texts[kind].version
        if not text or not ready or not asking.is_due(envoy.stand(kind), current, now):
            self._set(name, envoy)
            return None
        stands = {**envoy.stands, kind: asking.after_answer(envoy.stand(kind), current)}
        self._set(name, replace(envoy, stands=stands))
        return text

    def _set(self, name: str, envoy: Envoy) -> None:
        self.asked = replace(self.asked, envoys={**self.asked.envoys, name: envoy})

    def _leave(self, name: str) -> None:
        """It is not there any more: nobody is to wait for it."""
        if name in self.asked.envoys:
            self._set(name, replace(self.asked.envoys[name], seen=self._clock() - asking.PRESENT_S))
            self.keep()

    def keep(self) -> None:
        """Write down that the portal answers, and what is known. To be called once before it does."""
        now = self._clock()
        envoys = {name: one for name, one in self.asked.envoys.items() if now - one.seen < asking.KEPT_S}
        self._newest = {key: token for key, token in self._newest.items() if key[0] in envoys}
        self.asked = replace(self.asked, beat=now, envoys=envoys)
        try:
            self._files.write(self._files.asked, json.dumps(self.asked.to_json()))
        except OSError as why:  # a full disk: routes are answered all the same, and who waits for them is told
            _log.warning("cannot write %s: %s", self._files.asked, why)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class _Text:
    """One file of resources, read again where it is another."""

    def __init__(self, path: Path) -> None:
        self.version = ""
        self._path, self._text = path, ""
        self._seen: object = None

    def signature(self) -> object:
        try:
            return signature_of(self._path)
        except FileNotFoundError:
            return None

    def read(self) -> str:
        """The whole answer, empty where nothing was written yet. Sets `version`."""
        found = self.signature()
        if found is not None and found != self._seen:
            text = self._path.read_text()
            head = _HEAD.match(text)
            if head is None:
                raise ValueError(f"{self._path} does not begin with its version")
            self._text, self.version, self._seen = text, head[1], found
        return self._text

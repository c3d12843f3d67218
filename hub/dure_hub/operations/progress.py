"""How far starts are: what the hub says of each while it is followed, in the portal's memory, bounded."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dure.errors import LANGUAGES, Text, fill

STEPS: Mapping[str, Text] = {
    "requested": {"en": "JupyterHub was asked for it.", "ko": "JupyterHub에 요청했습니다."},
    "placed": {"en": "Its place is ready.", "ko": "자리가 준비되었습니다."},
    "folder": {"en": "What it needs is prepared.", "ko": "필요한 것을 준비했습니다."},
    "held_back": {
        "en": "Kueue, the cluster's own queue, holds it back: {why}",
        "ko": "클러스터 자체 대기열인 Kueue가 아직 승인하지 않았습니다: {why}",
    },
    "no_node": {
        "en": "The cluster has no node for it yet: {why}",
        "ko": "클러스터에 아직 맞는 노드가 없습니다: {why}",
    },
    "on_node": {"en": "Its pod is on the node {why}.", "ko": "파드가 노드 {why}에 배치되었습니다."},
    "image": {
        "en": "The node has it from the image {why}, which it fetches first where it has not got it.",
        "ko": "노드가 이미지 {why}(으)로 시작합니다. 없으면 먼저 내려받습니다.",
    },
    "in_trouble": {"en": "It cannot begin so far: {why}", "ko": "아직 시작하지 못합니다: {why}"},
    "process": {"en": "Its process has started.", "ko": "프로세스가 시작되었습니다."},
    "answers": {
        "en": "It answers; the way to it is being opened.",
        "ko": "서버가 응답합니다. 경로를 여는 중입니다.",
    },
    "ready": {"en": "It is ready.", "ko": "준비되었습니다."},
    "failed": {"en": "It did not start.", "ko": "시작하지 못했습니다."},
}
"""What our own spawner says, by the `code` in the hub's event."""
_HUBS_OWN = {"Server requested": "requested", "Spawning server...": "requested"}
_MOST_STEPS = 40
_MOST_STARTS = 500
_LENGTH = 300


@dataclass(frozen=True)
class Step:
    """One event. `text` is in each language."""

    percent: int | None
    text: Text
    at: datetime


class Progress:
    """The last steps of the starts that were followed last."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, deque[Step]] = OrderedDict()

    def note(self, lease: str, event: Mapping[str, Any], now: datetime) -> None:
        """Keep one event of the hub's. The same said again, as when it is asked anew, is one."""
        steps = self._of.setdefault(lease, deque(maxlen=_MOST_STEPS))
        self._of.move_to_end(lease)
        while len(self._of) > _MOST_STARTS:
            self._of.popitem(last=False)
        step = Step(_percent(event.get("progress")), _text(event), now)
        if all(one.text != step.text for one in steps):
            steps.append(step)

    def of(self, lease: str) -> Sequence[Step]:
        """What is kept of it, oldest first."""
        return tuple(self._of.get(lease, ()))


def sentence_of(message: str) -> str:
    """A failure as the hub tells it, without the hub's own words before it."""
    return message.removeprefix("Spawn failed: ").strip()


def _percent(value: Any) -> int | None:
    return min(max(value, 0), 100) if isinstance(value, int) else None


def _text(event: Mapping[str, Any]) -> Text:
    said = str(event.get("message") or "")
    code = str(event.get("code") or _HUBS_OWN.get(said, ""))
    if event.get("ready"):
        code = "ready"
    if code in STEPS:
        facts = {"why": str(event.get("why") or "")[:_LENGTH]}
        return {language: fill(STEPS[code], language, facts) for language in LANGUAGES}
    text = sentence_of(said)[:_LENGTH]
    return dict.fromkeys(LANGUAGES, text)

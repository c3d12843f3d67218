"""What keeps a server from starting that the portal has granted, and is no failure: it waits again."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text
from dure_hub.policies import refused


class HeldBack(DureError):
    """A queue beside the portal's own, `queue`, has not let something in within its time, because of `why`.

    What was begun of it is there still, for the caller to end; its request is to wait again in its place, with the
    verdict `verdict` and these facts.
    """

    code, status = "held_back", 503
    verdict: ClassVar[str] = refused.QUEUE
    message: ClassVar[Text] = {
        "en": "The queue {queue} did not let it in within its time: {why}",
        "ko": "{queue} 대기열이 제시간에 승인하지 않았습니다: {why}",
    }
    next_step: ClassVar[Text] = {
        "en": "Its request keeps its place and is tried again.",
        "ko": "요청은 순서를 그대로 유지하며 다시 시도됩니다.",
    }

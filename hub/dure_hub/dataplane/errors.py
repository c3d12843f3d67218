"""What can go wrong in the data plane."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text


class RoutesRefused(DureError):
    """Envoy refused what was written; `reason` is its own sentence. What was in force stays in force."""

    code, status = "routes_refused", 500
    message: ClassVar[Text] = {
        "en": "The proxy refused the new routes: {reason}",
        "ko": "프록시가 새 경로를 거부했습니다: {reason}",
    }
    next_step: ClassVar[Text] = {
        "en": "The former routes stay in force. Tell an administrator; the proxy's log has the details.",
        "ko": "이전 경로가 그대로 유지됩니다. 관리자에게 알려 주세요. 자세한 내용은 프록시 로그에 있습니다.",
    }


class HttpsOnly(DureError):
    """Plain http at a port that speaks https."""

    code, status = "https_only", 400
    message: ClassVar[Text] = {
        "en": "This port speaks https, and the request came by plain http.",
        "ko": "이 포트는 https를 쓰는데 요청이 일반 http로 왔습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Begin the address with https://. A token that was sent was readable on its way: make a new one.",
        "ko": "주소를 https://로 시작하세요. 함께 보낸 토큰은 도중에 읽혔을 수 있으니 새로 만드세요.",
    }

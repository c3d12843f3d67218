"""What can go wrong with the organisation as a whole."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text


class OrganisationChanged(DureError):
    """Somebody else changed it since it was looked at."""

    code, status = "organisation_changed", 409
    message: ClassVar[Text] = {
        "en": "The organisation has changed since revision {base}: it is {revision} now.",
        "ko": "리비전 {base} 이후 조직이 변경되었습니다. 현재 리비전: {revision}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Look at the differences again (`dure apply --dry-run`), then apply. Nothing was changed.",
        "ko": "`dure apply --dry-run`으로 차이를 다시 확인한 뒤 적용하세요. 변경된 것은 없습니다.",
    }


class TextOrValues(DureError):
    """Both, or neither, were sent."""

    code, status = "text_or_values", 422
    message: ClassVar[Text] = {
        "en": "An organisation is sent as `text` or as `organisation`, one of the two.",
        "ko": "조직은 `text`와 `organisation` 중 하나로만 보냅니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Send one of them. Nothing was changed.",
        "ko": "둘 중 하나만 보내세요. 변경된 것은 없습니다.",
    }

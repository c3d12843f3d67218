"""What `dure doctor` says of the way to the front port: whether it is encrypted, and until when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dure.errors import DureError, Text, fill
from dure_hub.dataplane import certificate
from dure_hub.settings import Settings
from dure_hub.supervisor import checks, reaching
from dure_hub.supervisor.words import line

WORDS: Mapping[str, Text] = {
    "served": {"en": "{names}, until {ends}", "ko": "{names}, {ends}까지"},
    "renew": {
        "en": "Renew it: what lies in the two files is served within seconds.",
        "ko": "갱신하세요. 두 파일의 내용은 몇 초 안에 쓰입니다.",
    },
    "let_no_other": {
        "en": "Set `tls_cert` and `tls_key`, or let a firewall keep all but the proxy out.",
        "ko": "`tls_cert`와 `tls_key`를 설정하거나 방화벽으로 프록시만 접속하게 하세요.",
    },
}


@dataclass(frozen=True)
class Checked:
    """One thing looked at; `worst` is in the way of `up`, `fine` needs nothing."""

    topic: str
    text: str
    to_do: str = ""
    fine: bool = True
    worst: bool = False


def check(settings: Settings, language: str, now: datetime) -> Iterator[Checked]:
    """Only what there is to say: nothing of a front port on loopback without a certificate."""
    try:
        checks.reached_safely(settings)
        served = certificate.load(settings)
    except DureError as error:
        topic = "certificate" if isinstance(error, certificate.CertificateUnusable) else "encryption"
        yield Checked(topic, error.text(language), error.advice(language), fine=False, worst=True)
        return
    if reaching.readable(settings):
        facts = {"host": settings.host or "0.0.0.0", "port": settings.port}  # noqa: S104 - told, not bound
        todo = fill(WORDS["let_no_other"], language, {})
        yield Checked("encryption", line("readable", language, **facts), todo, fine=False)
    if served is None:
        return
    troubles = reaching.of_certificate(served, now)
    for key, facts in troubles:
        yield Checked("certificate", line(key, language, **facts), fill(WORDS["renew"], language, {}), fine=False)
    if not troubles:
        ends = f"{served.ends.astimezone():%Y-%m-%d %H:%M}"
        yield Checked(
            "certificate", fill(WORDS["served"], language, {"names": ", ".join(served.names), "ends": ends})
        )


def told(settings: Settings, language: str, now: datetime) -> dict[str, Any] | None:
    """The certificate for `dure status`: until when (null where it cannot be read), and what is wrong with it."""
    try:
        served = certificate.load(settings)
    except certificate.CertificateUnusable as error:
        return {"ends": None, "trouble": f"{error.text(language)} {error.advice(language)}"}
    if served is None:
        return None
    troubles = [line(key, language, **facts) for key, facts in reaching.of_certificate(served, now)]
    return {"ends": served.ends.isoformat(), "trouble": " ".join(troubles) or None}

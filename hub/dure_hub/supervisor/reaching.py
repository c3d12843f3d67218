"""What `up`, `doctor` and `status` say on how the portal is reached. Keys are those of `words.LINES`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from dure_hub.dataplane.certificate import Certificate
from dure_hub.settings import Settings

Line = tuple[str, dict[str, Any]]


def lines(settings: Settings, served: Certificate | None, user: str, machine: str, now: datetime) -> list[Line]:
    """How others come here, and what is to be known of the way."""
    said: list[Line] = []
    if settings.on_loopback:
        host, port = urlsplit(settings.listens_at).netloc.rpartition(":")[0], settings.port
        said.append(("ssh", {"command": f"ssh -L {port}:{host}:{port} {user}@{machine}", "url": here(settings)}))
    elif settings.everywhere and settings.address == settings.listens_at:
        said.append(("elsewhere", {"url": elsewhere(settings, served, machine)}))
    if readable(settings):
        said.append(("readable", {"host": settings.host or "0.0.0.0", "port": settings.port}))  # noqa: S104 - told
    return said if served is None else [*said, *of_certificate(served, now)]


def here(settings: Settings) -> str:
    """What is typed at the other end of `ssh -L`."""
    return f"{urlsplit(settings.listens_at).scheme}://127.0.0.1:{settings.port}{settings.at('')}"


def elsewhere(settings: Settings, served: Certificate | None, machine: str) -> str:
    """What is typed on another computer: the certificate's first whole name, else the machine's."""
    names = () if served is None else served.names
    name = next((one for one in names if "*" not in one and "=" not in one and one != "localhost"), machine)
    scheme = urlsplit(settings.listens_at).scheme
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{settings.port}{settings.at('')}"


def readable(settings: Settings) -> bool:
    """Whether passwords go by plain http to an address that others reach."""
    return settings.tls_cert is None and not settings.on_loopback


def of_certificate(served: Certificate, now: datetime) -> list[Line]:
    """What is wrong with its time, or soon will be; days are the reader's."""
    begins, ends = (f"{at.astimezone():%Y-%m-%d %H:%M}" for at in (served.begins, served.ends))
    if served.begins > now:
        return [("certificate_not_begun", {"begins": begins})]
    if served.ends <= now:
        return [("certificate_ended", {"ends": ends})]
    return [("certificate_ends", {"ends": ends, "days": served.days_left(now)})] if served.ends_soon(now) else []

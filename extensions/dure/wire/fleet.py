"""What there is, who holds it, and how busy it is. Null is unknown, never zero."""

from __future__ import annotations

from datetime import datetime

from dure.wire.base import Answer
from dure.wire.devices import Outsider


class Holder(Answer):
    """One lease and what it uses now. `subject` names the environment, job, endpoint or schedule behind it.

    `cpu_cores` and `memory_mb` are what it was promised; `cpu_used` counts cores, `memory_used_mb` MiB.
    """

    lease: str
    owner: str
    purpose: str
    subject: str
    profile: str
    since: datetime
    until: datetime | None = None
    cpu_cores: float = 0
    memory_mb: int = 0
    cpu_used: float | None = None
    memory_used_mb: int | None = None


class FleetDevice(Answer):
    """One GPU. `utilisation` is a share from 0 to 1; power is in watts, temperature in degrees Celsius.

    `health` says in each language what is wrong with it; null where nothing is known to be. `state` is as in
    `Device`: only what is healthy is granted; `since`, `until`, `message` and `outsiders` are as there, too.
    """

    uuid: str
    name: str
    memory_mb: int | None = None
    memory_used_mb: int | None = None
    utilisation: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    health: dict[str, str] | None = None
    state: str = "healthy"
    since: datetime | None = None
    until: datetime | None = None
    message: str | None = None
    outsiders: list[Outsider] = []
    holders: list[Holder] = []


class Fleet(Answer):
    """The whole of this portal's machines at one moment.

    `why_no_gpu` says in each language why `devices` is empty, where it is. `cpu_cores` are real cores.
    """

    at: datetime
    simulated: bool = False
    cpu_cores: int
    memory_mb: int
    cpu_used: float | None = None
    memory_used_mb: int | None = None
    devices: list[FleetDevice] = []
    holders: list[Holder] = []
    why_no_gpu: dict[str, str] | None = None

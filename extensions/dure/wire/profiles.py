"""What a person picks."""

from __future__ import annotations

from datetime import datetime

from dure.wire.base import Answer


class ProfileVolume(Answer):
    """A volume that each server of a profile has at `path`, under the name of its claim."""

    claim: str
    path: str
    read_only: bool = True


class Profile(Answer):
    """A profile with what is free of it now. Null means unknown, never zero.

    `rate` is in micro-units of money an hour; `memory_mb` and `gpu_memory_mb` in MiB; lifetimes in seconds.
    Of a GPU it is `gpus` whole ones, or the MIG instance `mig`, or `share` thousandths beside other holders.
    `enforced` tells whether the holder's part of the GPU's memory is kept or only agreed; null without a GPU.
    Of GPUs of its kind `closed` of `closed_of` are given to nobody now, by why in `closed_kinds` (`maintenance`,
    `fault`, `outside`, and `node` where its node takes nobody): `closed_until` is when the first of those in
    maintenance is thought to be back, `closed_message` what an administrator says of them.

    Its servers are made from `image` where it has one, else from what whoever asks chooses; with `any_image` that
    may be any container image. They have `volumes`, and `shm_mb` MiB of shared memory (null is as usual).
    """

    name: str
    title: dict[str, str]
    description: dict[str, str]
    cpu_cores: float
    memory_mb: int
    gpus: int = 0
    gpu_model: str | None = None
    gpu_memory_mb: int | None = None
    rate: int | None = None
    mig: str | None = None
    share: int | None = None
    enforced: bool | None = None
    default_lifetime_s: int
    max_lifetime_s: int
    free: int | None = None
    total: int | None = None
    closed: int = 0
    closed_of: int = 0
    closed_kinds: dict[str, int] = {}
    closed_until: datetime | None = None
    closed_message: str | None = None
    image: str | None = None
    any_image: bool = False
    volumes: list[ProfileVolume] = []
    shm_mb: int | None = None


class Plan(Answer):
    """What a request for this profile would hold, what that costs an hour, and when it could start.

    `starts_now` tells whether there is room and nobody is overtaken. Else `expected_start` is when it starts at
    the latest (null is unknown) and `position` its place in the line. `rate` is in micro-units an hour, null if
    unknown.
    """

    profile: str
    cpu_cores: float
    memory_mb: int
    gpus: int = 0
    gpu_model: str | None = None
    gpu_memory_mb: int | None = None
    rate: int | None = None
    max_lifetime_s: int
    free: int | None = None
    total: int | None = None
    starts_now: bool
    position: int | None = None
    expected_start: datetime | None = None
    next_best: str | None = None


class HoursLeft(Answer):
    """GPU-hours of this month of a user or team (`kind`): what is used of its limit, and left after the time asked
    about. `left_after` below 0 is time beyond the limit."""

    kind: str
    name: str
    limit: float
    used: float
    left_after: float


class Offer(Profile):
    """A profile as it would be for who asks, for the team that pays, now.

    `starts_now` is whether there is room and nobody is overtaken; else `expected_start` is when it starts at the
    latest (null is unknown) and `position` its place in the line. `refusal` is why it can never be had, in each
    language. `hours_left` has one entry for each limit of GPU-hours that counts; none is no limit. Lifetimes are
    within what the team and the owner may have; `lifetime_note` says so in each language where that is less than
    the profile's own.
    """

    starts_now: bool = False
    position: int | None = None
    expected_start: datetime | None = None
    refusal: dict[str, str] | None = None
    hours_left: list[HoursLeft] = []
    lifetime_note: dict[str, str] | None = None

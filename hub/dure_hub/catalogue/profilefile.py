"""profiles.yaml: what people change about the profiles that machine and settings make, and how GPUs are given.

What the file leaves out is as the machine and the settings make it, so it stays true when a GPU is added or cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import yaml

from dure.wire.organisation import DevicePolicy, ProfileEntry, ProfilesFile
from dure_hub.catalogue import words
from dure_hub.catalogue.marked import Marked
from dure_hub.catalogue.profiles import ProfileSpec, Volume
from dure_hub.catalogue.rates import MICRO
from dure_hub.settings import Settings

FILE = "profiles.yaml"
_LONGER = {
    "en": "default_lifetime_s is at most max_lifetime_s",
    "ko": "default_lifetime_s는 max_lifetime_s 이하여야 합니다",
}
_MORE_SHM = {
    "en": "shm_mb is a part of memory_mb, so at most as much",
    "ko": "shm_mb는 memory_mb의 일부이므로 그 이하여야 합니다",
}
_TWO_WAYS = {
    "en": "with an image of its own, nobody may name another: image or any_image_groups",
    "ko": "프로필에 이미지가 정해져 있으면 다른 이미지를 쓸 수 없습니다. 둘 중 하나만 쓰세요",
}
_HEAD = """\
# The profiles of this portal. An edit takes effect within ten seconds, without a restart; while this file is
# broken or gone, the last good one counts, and `dure doctor` names the line. What stands behind # is what machine
# and settings make of it now: take the # away to set it. `price` is money an hour, in place of rates.yaml;
# lifetimes are seconds of servers; `groups` are the teams that may pick a profile, none is everybody;
# `offered: false` takes it away. A profile of your own has another name and says which one it is `like`:
#   cpu-large: {like: cpu, cpu_cores: 4, memory_mb: 8192, groups: [vision]}
# Where servers are containers, a profile may also have an image, volumes and shared memory of its own:
#   imagenet: {like: cpu, volumes: [{claim: imagenet, path: /data/imagenet}], shm_mb: 2048}
"""
_DEVICES = """\
# How GPUs are given: gpu_sharing, gpu_replicas, share_across_teams, team_borrowing and mig_dynamic as in
# dure.yaml, but at once; `pools` says what a node is for (development, training, inference):
#   pools: {node-1: training}
"""


def parse(text: str) -> ProfilesFile:
    """What this text says; raises `BadFile`, which names the line."""
    marked = Marked(text, FILE)
    found = marked.read(ProfilesFile)
    check(found.profiles, marked, ())
    return found


def check(profiles: Mapping[str, ProfileEntry], marked: Marked, inside: tuple[str, ...]) -> None:
    """What no single field can tell; raises `BadFile`. `inside` is where the profiles stand."""
    for name, entry in profiles.items():
        default, longest = entry.default_lifetime_s, entry.max_lifetime_s
        if default is not None and longest is not None and default > longest:
            raise marked.wrong((*inside, "profiles", name, "default_lifetime_s"), default, _LONGER)
        shared, memory = entry.shm_mb, entry.memory_mb
        if shared is not None and memory is not None and shared > memory:
            raise marked.wrong((*inside, "profiles", name, "shm_mb"), shared, _MORE_SHM)
        if entry.image is not None and entry.any_image_groups:
            raise marked.wrong((*inside, "profiles", name, "image"), entry.image, _TWO_WAYS)


def settled(settings: Settings, policy: DevicePolicy) -> Settings:
    """The settings with what the file says in their place."""
    return settings.model_copy(update=policy.model_dump(exclude_none=True, exclude={"pools"}))


def edited(made: Mapping[str, ProfileSpec], entries: Mapping[str, ProfileEntry]) -> dict[str, ProfileSpec]:
    """The profiles that are offered: those made by the machine as the file changes them, and the file's own.

    One that is like a profile which the machine has not now, is not there either.
    """
    found: dict[str, ProfileSpec] = {}
    for name, spec in made.items():
        found[name] = _changed(spec, entries[name]) if name in entries else spec
        for own, entry in entries.items():
            if entry.like == name and own not in made:
                titled = {language: f"{title} ({own})" for language, title in spec.title.items()}
                found[own] = _changed(replace(spec, name=own, title=titled), entry)
    return {name: spec for name, spec in found.items() if name not in entries or entries[name].offered}


def away(made: Mapping[str, ProfileSpec], entries: Mapping[str, ProfileEntry]) -> list[str]:
    """Names in the file that stand for nothing on this machine now."""
    return [name for name, entry in entries.items() if name not in made and entry.like not in made]


def _changed(spec: ProfileSpec, entry: ProfileEntry) -> ProfileSpec:
    cores, memory = entry.cpu_cores or spec.cpu_cores, entry.memory_mb or spec.memory_mb
    longest = entry.max_lifetime_s or spec.max_lifetime_s
    default = entry.default_lifetime_s or spec.default_lifetime_s
    if entry.default_lifetime_s and entry.max_lifetime_s is None:
        longest = max(longest, default)  # who sets the usual time alone, means it
    rate = spec.rate
    if entry.price is not None:
        rate = int(entry.price * MICRO)
    elif rate is not None and spec.gpu_model is None and cores != spec.cpu_cores:
        rate = round(rate * cores / spec.cpu_cores)  # without a GPU it is the cores that cost
    return replace(
        spec,
        title=_texts(entry.title) or spec.title,
        description=_texts(entry.description) or _described(spec, cores, memory),
        cpu_cores=cores,
        memory_mb=memory,
        default_lifetime_s=min(default, longest),
        max_lifetime_s=longest,
        rate=rate,
        groups=frozenset(entry.groups),
        image=entry.image,
        any_image_groups=frozenset(entry.any_image_groups),
        volumes=tuple(Volume(one.claim, one.path, one.read_only) for one in entry.volumes),
        shm_mb=None if entry.shm_mb is None else min(entry.shm_mb, memory),
    )


def _described(spec: ProfileSpec, cores: float, memory: int) -> Mapping[str, str]:
    if (cores, memory) == (spec.cpu_cores, spec.memory_mb):
        return spec.description
    if spec.gpu_model is None:
        return words.cpu(cores, memory)
    return words.resized(spec.description, (spec.cpu_cores, spec.memory_mb), (cores, memory))


def _texts(text: Any) -> Mapping[str, str] | None:
    """A sentence in every language; one that is given in one language stands for both."""
    if text is None:
        return None
    if isinstance(text, str):
        return {"en": text, "ko": text}
    first = next(iter(text.values()), None)
    return None if first is None else {"en": text.get("en", first), "ko": text.get("ko", first)}


def written(file: ProfilesFile, made: Mapping[str, ProfileSpec]) -> str:
    """The file as people edit it: what is set, and behind # what the machine makes."""
    lines = [_HEAD, "profiles:" if made or file.profiles else "profiles: {}"]
    for name in dict.fromkeys([*made, *file.profiles]):
        entry, spec = file.profiles.get(name, ProfileEntry()), made.get(name)
        lines.append(f"  {_yaml(name)}:" + ("" if spec is None else f"  # {spec.title['en']}"))
        said = plain(entry)
        given = {} if spec is None else _given(spec)
        for field in dict.fromkeys([*said, *given]):
            lines.append(
                f"    {field}: {_yaml(said[field])}" if field in said else f"    # {field}: {_yaml(given[field])}"
            )
        lines += [] if "groups" in said else ["    groups: []"]
    devices = plain(file.devices)
    lines += ["", _DEVICES + ("devices:" if devices else "devices: {}")]
    lines += [f"  {field}: {_yaml(value)}" for field, value in devices.items()]
    return "\n".join(lines) + "\n"


def plain(entry: ProfileEntry | DevicePolicy) -> dict[str, Any]:
    """What an entry sets, as values of JSON; nothing that it leaves as it is."""
    return entry.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


def _given(spec: ProfileSpec) -> dict[str, Any]:
    price = None if spec.rate is None else format((Decimal(spec.rate) / MICRO).normalize(), "f")
    return {
        "cpu_cores": spec.cpu_cores,
        "memory_mb": spec.memory_mb,
        "price": "unknown" if price is None else Decimal(price),
        "default_lifetime_s": spec.default_lifetime_s,
        "max_lifetime_s": spec.max_lifetime_s,
    }


def _yaml(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
    return text.removesuffix("...\n").strip()

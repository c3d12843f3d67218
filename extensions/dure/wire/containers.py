"""What only containers have: how an image is named, and which volumes a profile brings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from dure.wire.base import Ask

LONGEST = 255
"""Characters of an image's name, with all that is in it."""
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9\-]*[A-Za-z0-9])?"
_HOST = rf"(?:(?:{_LABEL}(?:\.{_LABEL})+|localhost|\[[A-Fa-f0-9:]+\])(?::[0-9]{{1,5}})?|{_LABEL}:[0-9]{{1,5}})"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}"
_DIGEST = r"(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})"
REFERENCE = rf"(?=[^\/:@]*[\/:@])(?:{_HOST}\/)?{_PART}(?:\/{_PART})*(?::{_TAG})?(?:@{_DIGEST})?"
"""What a reference to an image looks like, for Python and for the `pattern` of a form: the grammar that container
runtimes read (registry, path, tag, digest). It has at least one of `/`, `:` and `@`, so that it is never taken for
one of the portal's own names, nor these for it."""
_REFERENCE = re.compile(REFERENCE)
RESERVED = (
    *("/home/jovyan", "/dev", "/proc", "/sys", "/run", "/var/run", "/tmp", "/etc", "/usr", "/opt/dure"),  # noqa: S108
    *("/bin", "/sbin", "/lib", "/lib64"),
)
"""Folders of a server that no volume may be at, above or below: home, secrets, shared memory, programs."""
_CLAIM = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_PATH = re.compile(r"(?:/[A-Za-z0-9_.-]+)+")


def means_container(image: str) -> bool:
    """Whether this names a container image itself, and none of the portal's names for one."""
    return bool({"/", ":", "@"} & set(image))


def is_reference(image: str) -> bool:
    """Whether a container runtime could fetch what has this name."""
    return len(image) <= LONGEST and _REFERENCE.fullmatch(image) is not None


def _image(name: str) -> str:
    if means_container(name) and not is_reference(name):
        raise PydanticCustomError(
            "image_reference",
            "an image is a name of `images`, or a reference as registry.example.com/team/tool:1.2",
        )
    return name


def _claim(name: str) -> str:
    if _CLAIM.fullmatch(name) is None:
        raise PydanticCustomError(
            "claim_name",
            "a claim has small letters, digits, - and . in it, and begins and ends with a letter or digit",
        )
    return name


def _path(text: str) -> str:
    path = PurePosixPath(text)
    if _PATH.fullmatch(text) is None or {".", ".."} & set(text.split("/")):
        raise PydanticCustomError(
            "mount_path",
            "a path is absolute, of letters, digits, _, - and ., without .. and a / at its end: /data/imagenet",
        )
    for folder in RESERVED:
        if meet(path, PurePosixPath(folder)):
            raise PydanticCustomError(
                "mount_reserved",
                "no volume is at, above or below {folder}; /data and /mnt are free",
                {"folder": folder},
            )
    return text


def meet(one: PurePosixPath, other: PurePosixPath) -> bool:
    """Whether they are the same folder, or one is in the other."""
    return one.is_relative_to(other) or other.is_relative_to(one)


def _apart(volumes: Sequence[VolumeEntry]) -> Sequence[VolumeEntry]:
    for number, volume in enumerate(volumes):
        for other in volumes[:number]:
            if volume.claim == other.claim or meet(PurePosixPath(volume.path), PurePosixPath(other.path)):
                raise PydanticCustomError(
                    "mounts_apart",
                    "each claim stands there once, and no path is in another; {claim} at {path} is against that",
                    {"claim": volume.claim, "path": volume.path},
                )
    return volumes


ImageName = Annotated[
    str, Field(min_length=1, max_length=LONGEST, pattern=r"^[^\x00-\x20\x7f]+$"), AfterValidator(_image)
]
"""A name of the setting `images`, or a reference to a container image."""


class VolumeEntry(Ask):
    """A volume claim of the servers' namespace, at a path of the server; nobody writes to it, unless told so."""

    claim: Annotated[str, Field(max_length=253), AfterValidator(_claim)]
    path: Annotated[str, Field(max_length=200), AfterValidator(_path)]
    read_only: bool = True


Volumes = Annotated[list[VolumeEntry], Field(max_length=20), AfterValidator(_apart)]

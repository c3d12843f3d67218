"""What a server can be made from: the images that the settings name, or this machine's own Python."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import ClassVar

from dure.errors import DureError, Text
from dure_hub.settings import Image, Settings

OWN = Image(name="python", title=f"Python {platform.python_version()}")
"""The portal's own Python, with JupyterLab in it."""


class NoSuchImage(DureError):
    """The image is not offered here."""

    code, status = "no_such_image", 422
    message: ClassVar[Text] = {
        "en": "There is no image named {image}. This portal offers: {offered}.",
        "ko": "{image}(이)라는 이미지가 없습니다. 이 포털의 이미지: {offered}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Choose one of these, or leave it out for the first. Nothing was started.",
        "ko": "이 중에서 고르거나 비워 두면 첫 번째를 씁니다. 시작된 것은 없습니다.",
    }


def offered(settings: Settings) -> Sequence[Image]:
    """All of them, the usual one first."""
    return settings.images or (OWN,)


def chosen(settings: Settings, asked: str | None) -> Image:
    """The image of this name, the first without one. Raises `NoSuchImage`."""
    known = {image.name: image for image in offered(settings)}
    if asked is None:
        return next(iter(known.values()))
    if asked not in known:
        raise NoSuchImage(image=asked, offered=", ".join(known))
    return known[asked]


def container_of(settings: Settings, asked: str | None) -> str:
    """The container image of a server on a cluster. What is no more counts as the first."""
    image = next((one for one in offered(settings) if one.name == asked), offered(settings)[0])
    return image.container or settings.server_image


def command_of(settings: Settings, asked: str | None) -> tuple[str, ...]:
    """What runs in place of the portal's own JupyterLab; empty for that. What is no more counts as the first."""
    image = next((one for one in offered(settings) if one.name == asked), offered(settings)[0])
    if image.python is not None:
        root = ("--allow-root",) if os.geteuid() == 0 else ()
        return str(image.python), "-P", "-m", "jupyterhub.singleuser", *root
    return tuple(image.command)

"""What a server can be made from: the images that the settings name, or this machine's own Python; where servers
are containers and a profile lets its people, any image."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Sequence
from typing import ClassVar

from dure.errors import DureError, Text
from dure.wire.containers import is_reference, means_container
from dure_hub.backends.base import Feature
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.operations.errors import ProfileNotHere
from dure_hub.operations.people import Person
from dure_hub.operations.profiles import Fleet, may_name_any
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


class NotAnImage(DureError):
    """What was typed cannot be the name of a container image."""

    code, status = "not_an_image", 422
    message: ClassVar[Text] = {
        "en": "{image} is no reference to a container image: that is a registry, a path in small letters, and a "
        "tag or digest, as in registry.example.com/team/tool:1.2.",
        "ko": "{image}은(는) 컨테이너 이미지 주소가 아닙니다. registry.example.com/team/tool:1.2처럼 레지스트리, "
        "영문 소문자 경로, 태그나 다이제스트로 씁니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Correct it (a short name needs its tag: python:3.12), or choose one of: {offered}. Nothing was "
        "started.",
        "ko": "고쳐 쓰거나(짧은 이름에는 python:3.12처럼 태그가 필요합니다) 다음 중에서 고르세요: {offered}. "
        "시작된 것은 없습니다.",
    }


class ImageNotForYou(DureError):
    """The profile lets only others name an image of their own, or nobody."""

    code, status = "image_not_for_you", 403
    message: ClassVar[Text] = {
        "en": "You may not start {image} with the profile {profile}: it lets people of these teams choose any "
        "image: {groups}.",
        "ko": "{profile} 프로필로 {image}을(를) 시작할 수 없습니다. 다음 팀만 원하는 이미지를 쓸 수 있습니다: "
        "{groups}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Choose one of: {offered}; or ask an administrator. Nothing was started.",
        "ko": "다음 중에서 고르거나 관리자에게 문의하세요: {offered}. 시작된 것은 없습니다.",
    }


class ImageIsTheProfiles(DureError):
    """The profile has an image of its own, and another was asked for."""

    code, status = "image_is_the_profiles", 422
    message: ClassVar[Text] = {
        "en": "Servers of the profile {profile} are made from {own}, not from {image}.",
        "ko": "{profile} 프로필의 서버는 {image}이(가) 아니라 {own}(으)로 만듭니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Leave the image out, or choose another profile. Nothing was started.",
        "ko": "이미지를 비워 두거나 다른 프로필을 고르세요. 시작된 것은 없습니다.",
    }


def offered(settings: Settings) -> Sequence[Image]:
    """All of them, the usual one first. On a cluster that is `server_image`, where no others are named."""
    if settings.images or not settings.on_cluster:
        return settings.images or (OWN,)
    return (OWN.model_copy(update={"title": settings.server_image}),)


def chosen(settings: Settings, asked: str | None) -> Image:
    """The image of this name, the first without one. Raises `NoSuchImage`."""
    known = {image.name: image for image in offered(settings)}
    if asked is None:
        return next(iter(known.values()))
    if asked not in known:
        raise NoSuchImage(image=asked, offered=", ".join(known))
    return known[asked]


def picked(
    settings: Settings, fleet: Fleet, spec: ProfileSpec, teams: Collection[str], asked: str | None
) -> str | None:
    """What is kept of the image that somebody of these teams asks for; None where the profile has one.

    Raises `NoSuchImage`, `NotAnImage`, `ImageNotForYou`, `ImageIsTheProfiles`; `ProfileNotHere` where servers are
    no containers.
    """
    if spec.image is not None:
        if asked not in (None, spec.image):
            raise ImageIsTheProfiles(profile=spec.name, own=spec.image, image=asked)
        if not means_container(spec.image):
            chosen(settings, spec.image)
        return None
    names = [image.name for image in offered(settings)]
    if asked is None or asked in names or not (may_name_any(spec, teams) or means_container(asked)):
        return chosen(settings, asked).name
    need_any(settings, spec, teams, asked)
    if not is_reference(asked):
        raise NotAnImage(image=asked, offered=", ".join(names))
    if why := fleet.lacks.get(Feature.CONTAINER_IMAGES):
        raise ProfileNotHere(profile=spec.name, why=why)
    return asked


def kept(settings: Settings, spec: ProfileSpec, teams: Collection[str], before: str | None) -> str | None:
    """What a server that is like the last one of its name is made from. Raises `ImageNotForYou`."""
    need_any(settings, spec, teams, before)
    return None if spec.image is not None else before


def need_any(settings: Settings, spec: ProfileSpec, teams: Collection[str], image: str | None) -> None:
    """Raise `ImageNotForYou` where this is somebody's own choice of a container image, and is theirs no more."""
    if image is None or spec.image is not None or not means_container(image) or may_name_any(spec, teams):
        return
    raise ImageNotForYou(
        image=image,
        profile=spec.name,
        groups=", ".join(sorted(spec.any_image_groups)) or "-",
        offered=", ".join(one.name for one in offered(settings)),
    )


def need_still(settings: Settings, fleet: Fleet, person: Person, profile: str, image: str | None) -> None:
    """Raise `ImageNotForYou` or `ProfileNotForYou` where what was granted is an image of their own, or brings
    data, and is theirs no more: they may have left a team since."""
    spec = fleet.profiles[profile]
    need_any(settings, spec, person.teams, image)
    if spec.volumes:
        fleet.picked(profile, person)


def container_of(settings: Settings, asked: str | None) -> str:
    """The container image of a server on a cluster. What is no more counts as the first."""
    if asked is not None and means_container(asked):
        return asked
    image = next((one for one in offered(settings) if one.name == asked), offered(settings)[0])
    return image.container or settings.server_image


def command_of(settings: Settings, asked: str | None) -> tuple[str, ...]:
    """What runs in place of the portal's own JupyterLab; empty for that, and for a container image's own command.
    What is no more counts as the first."""
    if asked is not None and means_container(asked):
        return ()
    image = next((one for one in offered(settings) if one.name == asked), offered(settings)[0])
    if image.python is not None:
        root = ("--allow-root",) if os.geteuid() == 0 else ()
        return str(image.python), "-P", "-m", "jupyterhub.singleuser", *root
    return tuple(image.command)

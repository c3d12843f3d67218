"""Choose a profile, and start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from dure.errors import DureError
from dure.wire.containers import LONGEST, REFERENCE, means_container
from dure.wire.environments import EnvironmentRequest
from dure.wire.ids import new_id
from dure.wire.profiles import Offer, Profile
from dure_hub.operations import Operations, images
from dure_hub.operations.offers import Last
from dure_hub.operations.people import USE, Person
from dure_hub.policies.choice import Choice, memory_of, usual
from dure_hub.services.errors import invalid
from dure_hub.services.guard import opens_for
from dure_hub.services.languages import language_of
from dure_hub.services.pages.rendering import page
from dure_hub.services.places import BASE
from dure_hub.services.portal import operations_of

router = APIRouter(include_in_schema=False)
Ops = Annotated[Operations, Depends(operations_of)]
Visitor = Annotated[Person, opens_for(USE)]
Hint = Annotated[str, Query(max_length=200)]

_OFFERED_S = (1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 12 * 3600, 24 * 3600, 3 * 86400, 7 * 86400)
_DIGITS = 12  # Python reads no number of thousands of digits
_FIELDS = ("id", "name", "profile", "lifetime_s", "team", "project", "image", "own_image")


@router.get(f"{BASE}/spawn")
async def show(
    request: Request, person: Visitor, ops: Ops, name: Hint = "default", profile: Hint = "", image: Hint = ""
) -> Response:
    """The form. `name`, `profile` and `image` are what a link suggests."""
    return await _form(request, person, ops, {"name": name, "profile": profile, "image": image})


@router.post(f"{BASE}/spawn")
async def send(request: Request, person: Visitor, ops: Ops) -> Response:
    """Ask for the server and go to its waiting page; a mistake comes back with the form as it was."""
    form = await request.form()
    given = {key: str(form.get(key, "")) for key in _FIELDS}
    try:
        ask = EnvironmentRequest.model_validate(await _asked(ops, given))
        await ops.environments.request(person, ask)
    except ValidationError as error:
        refused: DureError = invalid(error.errors(), language_of(request))
    except DureError as error:
        refused = error
    else:
        return RedirectResponse(ops.settings.at(f"{BASE}/wait/{ask.name}"), status_code=303)
    return await _form(request, person, ops, given, refused)


async def _asked(ops: Operations, given: Mapping[str, str]) -> dict[str, str]:
    """What was given, with one image at most: what was typed goes before the list, which is shown for all profiles
    where nothing hides it, and says nothing for one that has an image of its own."""
    asked = {key: value.strip() for key, value in given.items() if value.strip()}
    typed, profiles = asked.pop("own_image", ""), (await ops.profiles.fleet()).profiles
    if typed:
        asked["image"] = typed
    elif (spec := profiles.get(given["profile"])) is not None and spec.image is not None:
        asked.pop("image", None)
    return asked


async def _form(
    request: Request, person: Person, ops: Operations, given: dict[str, str], refused: DureError | None = None
) -> Response:
    last = await ops.offers.last(person, given.get("name") or "default")
    team = next((one for one in (given.get("team"), last.team) if one in person.teams), None)
    seconds = _seconds(given.get("lifetime_s", "")) or last.lifetime_s
    project = given.get("project", last.project or "") if refused else last.project or ""
    offers = await ops.offers.list(person, team=team, project=project or None, lifetime_s=seconds)
    error = refused.to_wire(language_of(request))["error"] if refused else None
    return page(
        request,
        "spawn.html",
        status=refused.status if refused else 200,
        profiles=offers,
        disk=await ops.disk.shown(person),
        # whoever is in several teams may choose another one, whose servers run for longer
        lifetimes=lifetimes(offers, seconds, ops.settings.max_lifetime_s if len(person.teams) > 1 else 0),
        teams=sorted(person.teams) if len(person.teams) > 1 else [],
        images=images.offered(ops.settings),
        titles={image.name: image.title or image.name for image in images.offered(ops.settings)},
        on_cluster=ops.settings.on_cluster,
        reference=(REFERENCE, LONGEST),
        projects=await ops.offers.projects(person),
        chosen=_chosen(offers, given, last, {"team": team or "", "project": project, "lifetime_s": seconds}),
        error=error,
        id=new_id(),
    )


def lifetimes(profiles: Sequence[Profile], asked_s: int | None = None, longest_s: int = 0) -> list[int]:
    """The times offered: round ones up to the longest any profile allows (`longest_s` at least), every profile's
    default and longest, and the one asked."""
    longest = max((profile.max_lifetime_s for profile in profiles), default=0)
    longest = max(longest, longest_s)
    found = {seconds for seconds in _OFFERED_S if seconds <= longest}
    found |= {seconds for one in profiles for seconds in (one.default_lifetime_s, one.max_lifetime_s)}
    return sorted(found | ({asked_s} if asked_s and 300 <= asked_s <= longest else set()))


def _seconds(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else None


def _chosen(
    offers: Sequence[Offer], given: Mapping[str, str], last: Last, more: Mapping[str, Any]
) -> dict[str, Any]:
    """What is marked at first: what was given, else what fits the person's last use (`choice.usual`)."""
    names = {one.name: one for one in offers}
    named = given.get("profile", "")
    first = names.get(named if named in names else usual([_choice(one) for one in offers], last.profile) or "")
    longest, default = (first.max_lifetime_s, first.default_lifetime_s) if first else (0, 0)
    return {
        "name": given.get("name") or "default",
        "profile": first.name if first else "",
        **_image(given, last),
        **more,
        "lifetime_s": min(more["lifetime_s"] or default, longest),
        "own_time": more["lifetime_s"] is not None,
        "lifetime_note": first.lifetime_note if first else None,
    }


def _image(given: Mapping[str, str], last: Last) -> dict[str, str]:
    """Of the list or typed, as it was given, else as it was the last time."""
    if "own_image" in given:
        return {"image": given.get("image", ""), "own_image": given["own_image"]}
    named = given.get("image") or last.image or ""
    return {"image": "", "own_image": named} if means_container(named) else {"image": named, "own_image": ""}


def _choice(one: Profile) -> Choice:
    return Choice(
        one.name, memory_of(one.gpus, one.gpu_memory_mb, one.gpu_model is not None), one.rate, bool(one.free)
    )

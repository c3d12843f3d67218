"""What was refused to somebody who is known leaves an event: who asked, for what, of whom, and the code of why."""

from __future__ import annotations

from fastapi import Request

from dure.errors import DureError
from dure_hub.policies.naming import is_person
from dure_hub.services.portal import portal_of

VERB = "access.refuse"


async def tell_refusal(request: Request, error: DureError) -> None:
    """Note an answer of 403 to a known person; repetitions within a minute are counted.

    The route is told as it is declared, without what was put into address and body: those may hold anything.
    """
    identity = getattr(request.state, "identity", None)
    if error.status != 403 or identity is None:
        return
    owner = request.query_params.get("owner", "")
    facts = {"method": request.method, "via": identity.via}
    if "name" in request.path_params and is_person(str(request.path_params["name"])):
        facts["name"] = str(request.path_params["name"])
    await portal_of(request).ops.audit.note(
        identity.person.name,
        VERB,
        f"route:{route_of(request)}"[:255],
        {"code": error.code, "facts": facts},
        on_behalf_of=owner if is_person(owner) and owner != identity.person.name else None,
    )


def route_of(request: Request) -> str:
    """The path with the names of its parts in the place of what was asked for: `/environments/{name}`."""
    path = request.url.path
    names = {str(value): f"{{{name}}}" for name, value in request.path_params.items()}
    for value, name in names.items():  # a part that holds slashes is always the last one
        if "/" in value and path.endswith(value):
            path = path.removesuffix(value) + name
    return "/".join(names.get(part, part) for part in path.split("/"))

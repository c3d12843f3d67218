"""Envoy asks here whether a request may go on to MLflow or to a served model, and for whom."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from dure.errors import NotAllowed, NotLoggedIn
from dure_hub.mlflowapi import header_name
from dure_hub.operations.people import USE
from dure_hub.services.errors import NoSuchPage, WriteUnproven
from dure_hub.services.guard import SAFE
from dure_hub.services.identity import Identity
from dure_hub.services.places import BASE, LOGIN, safe_next
from dure_hub.services.portal import portal_of

PREFIX = f"{BASE}/check"
VERBS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

router = APIRouter(include_in_schema=False)


@router.api_route(PREFIX + "/{path:path}", methods=VERBS)
async def check(request: Request, path: str) -> Response:
    """200 with the person's name in `x-dure-user`, else the answer that the asker gets."""
    served = path.startswith("serve/")
    if not served and not f"{path}/".startswith("services/mlflow/"):
        raise NoSuchPage(path=f"/{path}")
    # A model is asked by programs. By cookie, a script on anybody's page could ask it in a visitor's name.
    identity = await portal_of(request).identify(request, cookies=not served)
    if identity is None:
        if not served and _is_visit(request):
            asked = f"/{path}" + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"{LOGIN}?{urlencode({'next': safe_next(asked)})}", status_code=302)
        raise NotLoggedIn
    if not identity.holds(USE):
        raise NotAllowed(user=identity.person.name, scope=USE)
    if identity.via == "session" and request.method not in SAFE:
        _prove_same_origin(request)
    return Response(headers=_about(identity))


def _is_visit(request: Request) -> bool:
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def _prove_same_origin(request: Request) -> None:
    """MLflow's own pages write by cookie and know no secret of ours; other sites are kept out.

    Scripts of people's servers share the origin and are not: with more than one trusting team, give servers
    hosts of their own (JupyterHub's `subdomain_host`).
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    hosts = {request.headers.get("host", ""), urlsplit(portal_of(request).ops.settings.public_url).netloc}
    if origin is not None and _host_of(origin) not in hosts - {""}:
        raise WriteUnproven
    if site not in (None, "same-origin") or (site is None and origin is None):
        raise WriteUnproven


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # such as `http://[::1`: no address, so nobody's
        return ""


def _about(identity: Identity) -> dict[str, str]:
    return {
        "x-dure-user": header_name(identity.person.name),
        "x-dure-admin": "1" if identity.person.admin else "0",
    }

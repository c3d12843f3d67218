"""Envoy asks here whether a request may go on to MLflow, a dashboard or a served model, and for whom."""

from __future__ import annotations

from urllib.parse import quote, urlencode, urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from dure.errors import NotAllowed, NotLoggedIn
from dure_hub import dashboards
from dure_hub.mlflowapi import header_name
from dure_hub.operations.people import ADMIN, USE
from dure_hub.services.errors import (
    AdministratorsOnly,
    NoSuchPage,
    NotANavigation,
    OpenedFromElsewhere,
    WriteUnproven,
)
from dure_hub.services.guard import SAFE, count_call
from dure_hub.services.identity import Identity
from dure_hub.services.languages import language_of
from dure_hub.services.places import BASE, LOGIN, is_navigation, root_of, safe_next
from dure_hub.services.portal import portal_of

PREFIX = f"{BASE}/check"
VERBS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

router = APIRouter(include_in_schema=False)


@router.api_route(PREFIX + "/{path:path}", methods=VERBS)
async def check(request: Request, path: str) -> Response:
    """200 with the person's name in `x-dure-user`, else the answer that the asker gets.

    Envoy asks with the path as it came, below `base_url`.
    """
    base = portal_of(request).ops.settings.base_url
    if not f"/{path}".startswith(base):
        raise NoSuchPage(path=f"/{path}")
    path = f"/{path}".removeprefix(base)
    served, dashboard = path.startswith("serve/"), _is_under(path, dashboards.PREFIX)
    if not (served or dashboard or _is_under(path, "/services/mlflow")):
        raise NoSuchPage(path=f"/{path}")
    # A model is asked by programs. By cookie, a script on anybody's page could ask it in a visitor's name.
    identity = await portal_of(request).identify(request, cookies=not served)
    if identity is None:
        if not served and _is_visit(request):
            root = root_of(request)
            asked = f"{root}/{path}" + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(
                f"{root}{LOGIN}?{urlencode({'next': safe_next(asked, root)})}", status_code=302
            )
        raise NotLoggedIn
    request.state.identity = identity
    _check_scope(identity, path)
    if served:
        await count_call(request, identity, work=True)
    if dashboard and not identity.holds(ADMIN):
        raise AdministratorsOnly(user=identity.person.name)
    # A kernel's socket is opened by GET, and through it things are done.
    if identity.via == "session" and (request.method not in SAFE or (dashboard and path.endswith("/channels"))):
        _prove_same_origin(request)
    return Response(headers=_about(identity) | (_viewer(request, identity, path) if dashboard else {}))


def _check_scope(identity: Identity, path: str) -> None:
    """Raise where this identity may not ask what lies at `path`. A machine's key may ask the models it is for."""
    place, _, rest = path.partition("/")
    if identity.holds(USE) or (place == "serve" and identity.key_may_predict(rest.partition("/")[0])):
        return
    if identity.via == "key":
        raise identity.not_enough(f"/{path}")
    raise NotAllowed(user=identity.person.name, scope=USE)


def _is_under(path: str, place: str) -> bool:
    return f"/{path}/".startswith(f"{place}/")


def _is_visit(request: Request) -> bool:
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def _prove_same_origin(request: Request) -> None:
    """MLflow's and Voila's pages write by cookie and know no secret of ours; other sites are kept out.

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


def _viewer(request: Request, identity: Identity, path: str) -> dict[str, str]:
    """For the dashboards' Voila: the reader's language, and, where a page is opened, whose rights its kernel has.

    What a page of a person's server fetches or frames is theirs to read, and the kernel acts for the visitor.
    Other sites can only lead a visitor here; by that alone, no kernel starts.
    """
    about = {"x-dure-viewer-language": language_of(request)}
    if not f"/{path}".startswith(dashboards.RENDER):
        return about
    if identity.via == "session":
        if not is_navigation(request):
            raise NotANavigation
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise OpenedFromElsewhere(page=quote(f"{root_of(request)}/{path}"))
    return about | {"x-dure-viewer-token": identity.token}


def _about(identity: Identity) -> dict[str, str]:
    return {
        "x-dure-user": header_name(identity.person.name),
        "x-dure-admin": "1" if identity.person.admin else "0",
    }

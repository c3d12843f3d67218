"""The one authorisation of every route. A route without it is a fault that a test finds."""

from __future__ import annotations

import hmac
from typing import Any

from fastapi import Depends, Request

from dure.errors import NotAllowed, NotLoggedIn
from dure_hub.operations.money_errors import over_quota
from dure_hub.operations.people import Person
from dure_hub.services.errors import NotANavigation, NotForExecutions, NotForJobs, WriteUnproven
from dure_hub.services.identity import Identity
from dure_hub.services.places import is_frame, is_navigation
from dure_hub.services.portal import portal_of

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "x-dure-csrf"
CSRF_FIELD = "csrf"


class Guard:
    """Lets a request pass if its sender holds `scope`, and if a write by cookie comes from one of our pages.

    A page answers navigations only, and sends who is not logged in to the login. What `outlives` a job is closed
    to the token of one: were it to start more, what leaks from a job would live on. It is closed to a scheduled
    notebook's too, unless it is for `executions`: to train and to deploy is what those are there for. What is
    `framed` may also be shown in a frame: its answer must be one that nothing on our origin can read or act in.

    A machine's key passes where its scopes allow the `area` of the route (`policies/keys.py`); a route that names
    none is closed to all keys but those for everything.
    """

    def __init__(
        self,
        scope: str,
        *,
        page: bool = False,
        outlives: bool = False,
        executions: bool = False,
        framed: bool = False,
        counted: bool = True,
        area: str | None = None,
    ) -> None:
        self.scope = scope
        self.page = page
        self.outlives = outlives
        self.executions = executions
        self.framed = framed
        self.counted = counted
        self.area = area

    async def __call__(self, request: Request) -> Person:
        """The person behind the request."""
        request.state.page = self.page
        if self.page and not is_navigation(request) and not (self.framed and is_frame(request)):
            raise NotANavigation
        identity = await portal_of(request).identify(request)
        if identity is None:
            raise NotLoggedIn
        request.state.identity = identity
        allowed = identity.holds(self.scope) or identity.key_may(self.area, request.method not in SAFE)
        if not allowed and identity.via == "key":
            raise identity.not_enough(request.url.path)
        if not allowed:
            raise NotAllowed(user=identity.person.name, scope=self.scope)
        if self.outlives and identity.via == "job":
            raise NotForJobs(path=request.url.path)
        if self.outlives and identity.via == "execution" and not self.executions:
            raise NotForExecutions(path=request.url.path)
        if identity.csrf is not None and request.method not in SAFE:
            await self._prove_write(request, identity.csrf)
        if not self.page and self.counted:
            await count_call(request, identity)
        if self.page and request.method == "GET":  # each page shows how many notices are unread
            request.state.unread = await portal_of(request).ops.notices.unread(identity.person)
        return identity.person

    async def _prove_write(self, request: Request, secret: str) -> None:
        shown: Any = request.headers.get(CSRF_HEADER)
        if shown is None and self.page:
            shown = (await request.form()).get(CSRF_FIELD)
        if not isinstance(shown, str) or not hmac.compare_digest(shown.encode(), secret.encode()):
            raise WriteUnproven


def needs(scope: str, *, area: str | None = None) -> Any:
    """For an API route: the person, who holds `scope`; or a machine's key that may use this `area`."""
    return Depends(Guard(scope, area=area))


def starts(scope: str, *, executions: bool = False, area: str | None = None) -> Any:
    """For an API route that makes what lives on by itself: the same, but for the token of a job.

    With `executions`, a scheduled notebook may do it too.
    """
    return Depends(Guard(scope, outlives=True, executions=executions, area=area))


def reports(scope: str) -> Any:
    """For what a server says of itself, minute after minute: as `starts`, and no call of its owner's programs."""
    return Depends(Guard(scope, outlives=True, counted=False))


def looks(scope: str) -> Any:
    """For what open pages look at again and again: as `needs`, and no call of their owner's programs."""
    return Depends(Guard(scope, counted=False))


def opens_for(scope: str, *, framed: bool = False) -> Any:
    """For a page or its form: as `starts`, in a browser; `framed` for what a page of ours shows in a frame."""
    return Depends(Guard(scope, page=True, outlives=True, framed=framed))


async def count_call(request: Request, identity: Identity, *, work: bool = False) -> None:
    """Count a program's call, and refuse it where its quota is used up; an administrator's is only counted.

    What pages ask for by cookie is no call of a program. What work of ours says by its own token counts only with
    `work`: a job must be able to report its end.
    """
    if identity.via == "session" or (identity.via in ("job", "execution") and not work):
        return
    verdict = await portal_of(request).ops.counters.call(identity.person)
    if not verdict.allowed:
        raise over_quota(verdict)


def identity_of(request: Request) -> Identity:
    """Who passed the guard of this route."""
    identity = request.state.identity
    assert isinstance(identity, Identity)  # noqa: S101 - the guard set it
    return identity

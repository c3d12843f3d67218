"""The one authorisation of every route. A route without it is a fault that a test finds."""

from __future__ import annotations

import hmac
from typing import Any

from fastapi import Depends, Request

from dure.errors import NotAllowed, NotLoggedIn
from dure_hub.operations.people import Person
from dure_hub.services.errors import NotANavigation, NotForJobs, WriteUnproven
from dure_hub.services.identity import Identity
from dure_hub.services.places import is_navigation
from dure_hub.services.portal import portal_of

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "x-dure-csrf"
CSRF_FIELD = "csrf"


class Guard:
    """Lets a request pass if its sender holds `scope`, and if a write by cookie comes from one of our pages.

    A page answers navigations only, and sends who is not logged in to the login. What `outlives` a job is closed
    to the token of one: were it to start more, what leaks from a job would live on.
    """

    def __init__(self, scope: str, *, page: bool = False, outlives: bool = False) -> None:
        self.scope = scope
        self.page = page
        self.outlives = outlives

    async def __call__(self, request: Request) -> Person:
        """The person behind the request."""
        request.state.page = self.page
        if self.page and not is_navigation(request):
            raise NotANavigation
        identity = await portal_of(request).identify(request)
        if identity is None:
            raise NotLoggedIn
        request.state.identity = identity
        if not identity.holds(self.scope):
            raise NotAllowed(user=identity.person.name, scope=self.scope)
        if self.outlives and identity.via == "job":
            raise NotForJobs(path=request.url.path)
        if identity.csrf is not None and request.method not in SAFE:
            await self._prove_write(request, identity.csrf)
        return identity.person

    async def _prove_write(self, request: Request, secret: str) -> None:
        shown: Any = request.headers.get(CSRF_HEADER)
        if shown is None and self.page:
            shown = (await request.form()).get(CSRF_FIELD)
        if not isinstance(shown, str) or not hmac.compare_digest(shown.encode(), secret.encode()):
            raise WriteUnproven


def needs(scope: str) -> Any:
    """For an API route: the person, who holds `scope`."""
    return Depends(Guard(scope))


def starts(scope: str) -> Any:
    """For an API route that makes what lives on by itself: the same, but for the token of a job."""
    return Depends(Guard(scope, outlives=True))


def opens_for(scope: str) -> Any:
    """For a page or its form: as `starts`, in a browser."""
    return Depends(Guard(scope, page=True, outlives=True))


def identity_of(request: Request) -> Identity:
    """Who passed the guard of this route."""
    identity = request.state.identity
    assert isinstance(identity, Identity)  # noqa: S101 - the guard set it
    return identity

"""Tokens for programs outside a notebook."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from dure.errors import NotLoggedIn
from dure.wire.base import Answer, Ask
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.services.errors import NoTokenFromToken
from dure_hub.services.fields import TEXT_PATTERN, PathId
from dure_hub.services.guard import identity_of, needs, starts
from dure_hub.services.portal import operations_of, portal_of

router = APIRouter(prefix="/tokens", tags=["tokens"])
Ops = Annotated[Operations, Depends(operations_of)]
Caller = Annotated[Person, needs(USE)]
Maker = Annotated[Person, starts(USE)]


class TokenRequest(Ask):
    """What it is for, and how long it lives; without `lifetime_s`, as long as the portal's setting says."""

    purpose: str = Field(default="api", min_length=1, max_length=100, pattern=TEXT_PATTERN)
    lifetime_s: int | None = Field(default=None, ge=60, le=366 * 86400)


class NewToken(Answer):
    """`token` is shown this once and kept nowhere."""

    id: str
    token: str
    expires_at: datetime


@router.post("", status_code=201)
async def mint_token(ask: TokenRequest, request: Request, person: Maker, ops: Ops) -> NewToken:
    """A token that acts for you in this API. It never carries administrator rights."""
    if identity_of(request).via in ("portal", "key"):
        raise NoTokenFromToken
    # It lives long: whose login ended a moment ago must not get one on the strength of what is remembered of it.
    if await portal_of(request).identify(request, now=True) is None:
        raise NotLoggedIn
    now = ops.clock()
    longest = ops.settings.token_lifetime_s
    lifetime_s = min(ask.lifetime_s or longest, longest)
    made, text = await ops.tokens.mint(
        person.name, admin=False, scopes=[USE], purpose=ask.purpose, lifetime_s=lifetime_s
    )
    return NewToken(id=made, token=text, expires_at=now + timedelta(seconds=lifetime_s))


@router.delete("/{token_id}", status_code=204)
async def revoke_token(token_id: PathId, person: Caller, ops: Ops) -> Response:
    """End a token of yours now."""
    await ops.tokens.revoke(token_id, person)
    return Response(status_code=204)

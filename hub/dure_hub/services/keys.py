"""Keys for machines, and what the login provider says of people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from dure.errors import NotLoggedIn
from dure.wire.keys import Key, KeyRequest, Login, NewKey
from dure_hub.operations import Operations
from dure_hub.operations.key_errors import NoKeyFromToken
from dure_hub.operations.people import ADMIN, USE, Person
from dure_hub.services.fields import Owner, PathId
from dure_hub.services.guard import identity_of, needs, starts
from dure_hub.services.portal import operations_of, portal_of

router = APIRouter(prefix="/keys", tags=["tokens"])
logins = APIRouter(prefix="/logins", tags=["tokens"])
Ops = Annotated[Operations, Depends(operations_of)]
Caller = Annotated[Person, needs(USE)]
Maker = Annotated[Person, starts(USE)]
Administrator = Annotated[Person, needs(ADMIN)]


@router.get("")
async def list_keys(person: Caller, ops: Ops, owner: Owner = None) -> list[Key]:
    """Your keys, the newest first; of `owner`, for administrators. Never their text."""
    return await ops.keys.list(person, owner)


@router.post("", status_code=201)
async def create_key(ask: KeyRequest, request: Request, person: Maker, ops: Ops) -> NewKey:
    """A key for a machine, which acts for you within its scopes until it ends. Its text is shown this once."""
    if identity_of(request).via in ("portal", "key"):
        raise NoKeyFromToken
    # It lives long: whose login ended a moment ago must not get one on the strength of what is remembered of it.
    if await portal_of(request).identify(request, now=True) is None:
        raise NotLoggedIn
    return await ops.keys.create(person, ask)


@router.delete("/{key_id}", status_code=204)
async def revoke_key(key_id: PathId, person: Caller, ops: Ops) -> Response:
    """End a key of yours now; anybody's, for administrators."""
    await ops.keys.revoke(person, key_id)
    return Response(status_code=204)


@logins.get("")
async def list_logins(person: Administrator, ops: Ops) -> list[Login]:
    """What the login provider last said of everybody, for administrators; empty where passwords are our own."""
    return [Login.model_validate(asdict(state)) for state in await ops.logins.everybody()]

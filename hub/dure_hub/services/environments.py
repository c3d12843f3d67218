"""People's servers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from dure.wire.environments import (
    ActivityReport,
    Environment,
    EnvironmentRequest,
    ExtendRequest,
    Receipt,
    StartProgress,
)
from dure.wire.usage import OwnUsage
from dure_hub.operations import Operations
from dure_hub.operations.checkpoints import checkpoint
from dure_hub.operations.own_usage import own_usage
from dure_hub.operations.people import USE, Person
from dure_hub.policies.keys import SEEN
from dure_hub.services.fields import OfTeam, Owner, PathName, Why
from dure_hub.services.guard import needs, reports, starts
from dure_hub.services.portal import operations_of
from dure_hub.services.why import told

router = APIRouter(prefix="/environments", tags=["environments"])
Ops = Annotated[Operations, Depends(operations_of)]
Caller = Annotated[Person, needs(USE, area=SEEN)]
Reporter = Annotated[Person, reports(USE)]
Starter = Annotated[Person, starts(USE, area=SEEN)]


@router.post("", status_code=202)
async def request_environment(ask: EnvironmentRequest, person: Starter, ops: Ops) -> Environment:
    """Ask for a server. With room it starts at once, else it waits as a ticket; `page` follows either."""
    return told(await ops.environments.request(person, ask))


@router.get("")
async def list_environments(
    person: Caller, ops: Ops, everyone: bool = False, active: bool = False, team: OfTeam = None
) -> list[Environment]:
    """Your servers; with `everyone`, all of them, for administrators; with `team`, those charged to it, for its
    leads; with `active`, none that have ended."""
    if everyone:
        person.need_admin()
    return [told(one) for one in await ops.environments.list(person, everyone=everyone, active=active, team=team)]


@router.get("/{name}")
async def get_environment(name: PathName, person: Caller, ops: Ops, owner: Owner = None) -> Environment:
    """One server of yours; of `owner`, for administrators and leads of the team that it is charged to."""
    return told(await ops.environments.get(person, name, owner))


@router.get("/{name}/progress")
async def follow_start(name: PathName, person: Caller, ops: Ops, owner: Owner = None) -> StartProgress:
    """How far a start of yours is, as JupyterHub says; of `owner`, for administrators. Ask again for more."""
    return await ops.environments.progress(person, name, owner)


@router.post("/{name}/start", status_code=202)
async def start_environment(name: PathName, person: Starter, ops: Ops) -> Environment:
    """Start a server of yours whose turn has come and whose place is held. Sent twice it starts once."""
    return told(await ops.turns.start(person, name))


@router.get("/{name}/usage")
async def look_at_usage(name: PathName, person: Caller, ops: Ops, owner: Owner = None) -> OwnUsage:
    """What a server of yours uses of what it holds; of `owner`, for administrators. Null is unknown, not zero."""
    return await own_usage(ops.store, ops.clock, ops.fleet, person, name, owner)


@router.post("/{name}/activity", status_code=204)
async def report_activity(name: PathName, said: ActivityReport, person: Reporter, ops: Ops) -> Response:
    """What a server says of its own kernels, terminals and pages; of one's own only, and no call that counts."""
    await ops.environments.report(person, name, said)
    return Response(status_code=204)


@router.post("/{name}/checkpoint")
async def save_environment(name: PathName, person: Caller, ops: Ops, owner: Owner = None) -> Receipt:
    """Let the open pages of a running server save and its owner's program run, as before its end; nothing ends."""
    return await checkpoint(ops.settings, ops.store, ops.clock, ops.servers, person, name, owner)


@router.post("/{name}/extend")
async def extend_environment(
    name: PathName, ask: ExtendRequest, person: Starter, ops: Ops, owner: Owner = None
) -> Environment:
    """Move the end of a server that starts or runs. An end that is set already changes nothing."""
    return await ops.environments.extend(person, name, ask, owner)


@router.delete("/{name}", status_code=204)
async def stop_environment(
    name: PathName, person: Caller, ops: Ops, owner: Owner = None, reason: Why = None, now: bool = False
) -> Response:
    """Stop a server of yours at once, or leave the queue with it. What is saved stays.

    That of `owner`, for administrators and leads of its team, ends in ten minutes (`stop_notice_s`), and its owner
    reads why; with `now` it ends at once, and a `reason` is needed.
    """
    why = (reason or "").strip() or None
    await ops.environments.stop(person, name, owner=owner, why=why, at_once=now)
    return Response(status_code=204)

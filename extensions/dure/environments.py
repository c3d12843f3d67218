"""People's servers: ask for one, list, extend, stop. Administrators name an `owner` to act on somebody else's."""

from __future__ import annotations

from datetime import datetime, timedelta

from dure import wire
from dure.client import ask, client, read, read_all
from dure.display import Table
from dure.errors import BadRequest, NotRunning, Text
from dure.wire.ids import new_id

COLUMNS = ("name", "profile", "phase", "url", "reason")
EVERYONES = ("owner", "name", "profile", "phase", "idle_since", "reason")

ONE_OF_TWO: Text = {
    "en": "give the new end as `until`, or as `hours` after the present end, and not both",
    "ko": "새 종료 시각을 `until`로 주거나 현재 종료 시각에 더할 `hours`로 주세요. 둘 중 하나만 쓸 수 있습니다",
}
HOURS: Text = {
    "en": "it is a number of hours above 0 and at most 720",
    "ko": "0보다 크고 720 이하인 시간 수여야 합니다",
}
_LONGEST_H = 720  # no profile lives longer; a larger number would leave what a date can hold


def create(profile: str = "cpu", name: str = "default", lifetime_s: int | None = None) -> wire.Environment:
    """Ask for a server. It starts when there is room; until then the answer holds a ticket with its place."""
    request = ask(wire.EnvironmentRequest, id=new_id(), name=name, profile=profile, lifetime_s=lifetime_s)
    answer = client().post("/environments", request.model_dump(mode="json"), repeatable=True)
    return read(wire.Environment, answer)


def list(  # noqa: A001 - dure.environments.list() reads well
    everyone: bool = False, active: bool = False
) -> Table[wire.Environment]:
    """Your servers and the requests that wait; with `everyone`, all people's, for administrators.

    With `active`, none of those that have ended.
    """
    answer = client().get(
        "/environments", everyone="true" if everyone else None, active="true" if active else None
    )
    found = read_all(wire.Environment, answer)
    return Table(found, EVERYONES if everyone else COLUMNS)


def get(name: str = "default", owner: str | None = None) -> wire.Environment:
    """One server of yours; of `owner`, for administrators."""
    return read(wire.Environment, client().get(f"/environments/{name}", owner=owner))


def extend(
    name: str = "default", until: datetime | None = None, hours: float | None = None, owner: str | None = None
) -> wire.Environment:
    """Move the end of a running server to `until`, or by `hours` from its present end.

    A time without a zone is this machine's. The latest end that may be asked for is the server's
    `extendable_until`. An end is only moved to a later time; sending the same twice changes nothing more.
    """
    if (until is None) == (hours is None):
        raise BadRequest(field="until", value=f"{until}, hours = {hours}", rule=ONE_OF_TWO)
    if hours is not None:
        if not 0 < hours <= _LONGEST_H:
            raise BadRequest(field="hours", value=hours, rule=HOURS)
        now = get(name, owner)
        if now.lease is None or now.lease.until is None:
            raise NotRunning(name=name, phase=now.phase)
        until = now.lease.until + timedelta(hours=hours)
    assert until is not None  # noqa: S101 - one of the two was given
    request = ask(wire.ExtendRequest, until=until if until.tzinfo else until.astimezone())
    answer = client().post(
        f"/environments/{name}/extend", request.model_dump(mode="json"), repeatable=True, owner=owner
    )
    return read(wire.Environment, answer)


def stop(name: str = "default", owner: str | None = None, reason: str | None = None) -> None:
    """Stop a server, or leave the queue. Files stay. The owner reads `reason` where an administrator gave one."""
    client().delete(f"/environments/{name}", repeatable=True, owner=owner, reason=reason)

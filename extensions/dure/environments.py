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
_SAVING_S = 3700.0
"""An administrator may give people's own programs up to an hour before a stop, and so here."""
LONGEST_H = 720  # no profile lives longer; a larger number would leave what a date can hold


def create(
    profile: str = "cpu",
    name: str = "default",
    lifetime_s: int | None = None,
    team: str | None = None,
    project: str | None = None,
    image: str | None = None,
) -> wire.Environment:
    """Ask for a server. It starts when there is room; until then the answer holds a ticket with its place.

    `team` pays for it, and `project` in that team; None is the team of the server you are in, else your only one.
    `image` is what it is made from; None is the portal's first.
    """
    wanted = {
        "name": name,
        "profile": profile,
        "lifetime_s": lifetime_s,
        "team": team,
        "project": project,
        "image": image,
    }
    request = ask(wire.EnvironmentRequest, id=new_id(), **wanted)
    answer = client().post("/environments", request.model_dump(mode="json"), repeatable=True)
    return read(wire.Environment, answer)


def list(  # noqa: A001 - dure.environments.list() reads well
    everyone: bool = False, active: bool = False, team: str | None = None
) -> Table[wire.Environment]:
    """Your servers and the requests that wait; with `everyone`, all people's, for administrators.

    With `team`, those charged to it, for its leads; with `active`, none of those that have ended.
    """
    answer = client().get(
        "/environments", everyone="true" if everyone else None, active="true" if active else None, team=team
    )
    found = read_all(wire.Environment, answer)
    return Table(found, EVERYONES if everyone or team else COLUMNS)


def get(name: str = "default", owner: str | None = None) -> wire.Environment:
    """One server of yours; of `owner`, for administrators."""
    return read(wire.Environment, client().get(f"/environments/{name}", owner=owner))


def start(name: str = "default") -> wire.Environment:
    """Start a server whose turn has come and whose place is held (`phase` is `held`). Twice is once."""
    return read(wire.Environment, client().post(f"/environments/{name}/start", None, repeatable=True))


def progress(name: str = "default") -> wire.StartProgress:
    """How far the start of a server of yours is, as JupyterHub says."""
    return read(wire.StartProgress, client().get(f"/environments/{name}/progress"))


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
        if not 0 < hours <= LONGEST_H:
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


def checkpoint(name: str = "default", owner: str | None = None) -> wire.Receipt:
    """Let the open pages of a running server save and its owner's program run, as before its end; nothing ends."""
    answer = client().post(f"/environments/{name}/checkpoint", None, timeout_s=_SAVING_S, owner=owner)
    return read(wire.Receipt, answer)


def stop(name: str = "default", owner: str | None = None, reason: str | None = None, *, now: bool = False) -> None:
    """Stop a server of yours at once, or leave the queue. Files stay.

    For administrators, that of `owner` ends in ten minutes, or what the portal has set: they are told, and read
    `reason`. With `now` it ends at once, and a reason is needed.
    """
    told = {"owner": owner, "reason": reason, "now": "true" if now else None}
    client().delete(f"/environments/{name}", repeatable=True, **told)


def share(person: str, name: str = "default", owner: str | None = None) -> wire.Share:
    """Let a colleague into a running server, in which they can do what you can. Twice is once."""
    request = ask(wire.ShareRequest, **{"with": person})
    body = request.model_dump(mode="json", by_alias=True)
    return read(wire.Share, client().post(f"/environments/{name}/shares", body, repeatable=True, owner=owner))


def unshare(person: str, name: str = "default", owner: str | None = None) -> None:
    """Let a colleague in no more; what they have open there is closed within seconds."""
    client().delete(f"/environments/{name}/shares", repeatable=True, owner=owner, **{"with": person})


def shares(name: str = "default", owner: str | None = None) -> Table[wire.Share]:
    """Who else may open a server."""
    answer = client().get(f"/environments/{name}/shares", owner=owner)
    return Table(read_all(wire.Share, answer), ("person", "since"))


def share_notebook(path: str, person: str, name: str = "default") -> wire.NotebookShare:
    """Show a colleague a copy of a notebook as it is now. `path` is inside your folder: `work/report.ipynb`."""
    request = ask(wire.NotebookShareRequest, environment=name, path=path, **{"with": person})
    answer = client().post("/shares/notebooks", request.model_dump(mode="json", by_alias=True))
    return read(wire.NotebookShare, answer)


def unshare_notebook(share_id: str) -> None:
    """Delete a copy that you share, so that nobody can look at it any more."""
    client().delete(f"/shares/notebooks/{share_id}")


def shared_notebooks() -> Table[wire.NotebookShare]:
    """The copies of notebooks that you share, and those that are shared with you."""
    found = read_all(wire.NotebookShare, client().get("/shares/notebooks"))
    return Table(found, ("path", "owner", "person", "created_at", "page"))

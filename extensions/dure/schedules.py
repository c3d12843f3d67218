"""Notebooks that run by themselves: at the minutes of a cron line, on a profile, with nobody logged in.

nightly = dure.schedules.create("retrain.ipynb", cron="0 6 * * *", timezone="Asia/Seoul")
nightly.run_now(epochs=5).wait()
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, overload
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dure import wire
from dure.client import API, Client, ask, client, read, read_all
from dure.display import Table, Text, reason_of, say
from dure.errors import BadRequest, as_text, reader_language
from dure.sdk_errors import ExecutionDidNotSucceed, MissingFile, WaitedTooLong
from dure.snapshot import collect, pack, placed
from dure.training import NO_REASON, STATES
from dure.wire.ids import new_id

ENDED = frozenset({"succeeded", "failed", "stopped", "skipped"})
WAIT_PATIENCE_S = 120.0
"""How long a wait outlasts a portal that is away; the execution runs on without it."""
NAME_LIMIT = 30
WORDS: Mapping[str, Mapping[str, str]] = {**STATES, "skipped": {"en": "skipped", "ko": "건너뜀"}}
NOTEBOOK_RULE: Mapping[str, str] = {"en": "it must end in .ipynb", "ko": ".ipynb로 끝나야 합니다"}


def create(
    notebook: str | Path,
    cron: str,
    *,
    name: str | None = None,
    timezone: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    profile: str = "cpu",
    files: Sequence[str | Path] | None = None,
    limit_s: int | None = None,
    team: str | None = None,
    project: str | None = None,
) -> Schedule:
    """Run this notebook at the minutes that `cron` names, from now on.

    The notebook is sent as it is now: later changes take part only in a schedule made after them. `files` are
    sent along; paths count from the working folder, which is the notebook's own when it runs. `cron` has the five
    fields of crontab(5), read in `timezone`, an IANA name such as "Asia/Seoul"; None is the zone of this machine
    where it says which, else UTC. `parameters` take the place of those in the cell tagged `parameters`, which
    must declare them. An execution is ended after `limit_s` seconds, None for the portal's choice. `name` is made
    from the file's if not given. `team` pays for the executions, and `project` in that team; None is the team of
    the server you are in, else your only one.
    """
    where, sent = _from_notebook(Path(notebook), Path.cwd().resolve(), files or ())
    portal = client()
    with pack(sent) as snapshot:
        request = ask(
            wire.ScheduleRequest,
            id=new_id(),
            name=name or name_from(where),
            snapshot=snapshot.digest,
            notebook=where,
            cron=cron,
            timezone=timezone or local_timezone(),
            parameters=_plain(parameters),
            profile=profile,
            limit_s=limit_s,
            team=team,
            project=project,
        )
        if not portal.has(f"/snapshots/{snapshot.digest}"):
            portal.put_file(f"/snapshots/{snapshot.digest}", snapshot.file)
        answer = portal.post("/schedules", request.model_dump(mode="json"), repeatable=True)
    return Schedule(read(wire.Schedule, answer), portal)


def list(everyone: bool = False) -> Table[Schedule]:  # noqa: A001 - dure.schedules.list() reads well
    """Your schedules; with `everyone` those of all, for administrators."""
    portal = client()
    found = read_all(wire.Schedule, portal.get("/schedules", everyone="true" if everyone else None))
    columns = ("name", "notebook", "cron", "timezone", "next", "last_state")
    return Table((Schedule(seen, portal) for seen in found), ("owner", *columns) if everyone else columns)


def get(name: str, owner: str | None = None) -> Schedule:
    """A schedule of yours by its name; here and below, `owner` names somebody else's, for administrators."""
    portal = client()
    return Schedule(read(wire.Schedule, portal.get(f"/schedules/{name}", owner=owner)), portal)


def run_now(name: str, parameters: Mapping[str, Any] | None = None, owner: str | None = None) -> Execution:
    """Run a schedule's notebook once, now; `parameters` take the place of the schedule's, name by name."""
    return _run(client(), name, parameters, owner)


def pause(name: str, owner: str | None = None) -> Schedule:
    """Let it run no more until `resume`. What runs already goes on."""
    return _change(client(), name, "pause", owner)


def resume(name: str, owner: str | None = None) -> Schedule:
    """Let it run again, from its next minute on; what it missed is not made up for."""
    return _change(client(), name, "resume", owner)


def delete(name: str, owner: str | None = None) -> None:
    """End it for good, with the notebooks and logs that its executions left."""
    client().delete(f"/schedules/{name}", owner=owner)


class Schedule:
    """A notebook with a time. It belongs to the portal: closing this notebook does not end it."""

    def __init__(self, seen: wire.Schedule, portal: Client) -> None:
        self._seen, self._portal = seen, portal

    def __getattr__(self, name: str) -> Any:
        # Everything the portal says of a schedule (name, cron, timezone, parameters, …), as last seen.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._seen, name)

    @property
    def next_at(self) -> datetime | None:
        """When it runs next, as the portal has it now (UTC); None while it is paused."""
        return self.refresh()._seen.next_at

    @property
    def next(self) -> str:
        """The same as last seen, in the schedule's own zone, in words."""
        if self._seen.next_at is None:
            return {"en": "paused", "ko": "일시 중지"}[reader_language()]
        try:
            zone: Any = ZoneInfo(self._seen.timezone)
        except (ZoneInfoNotFoundError, ValueError):  # this machine knows fewer zones than the portal
            return f"{self._seen.next_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        return f"{self._seen.next_at.astimezone(zone):%Y-%m-%d %H:%M}"

    @property
    def last_state(self) -> str:
        """How its last execution stands, as last seen; "-" before the first."""
        return self._seen.last.state if self._seen.last else "-"

    def refresh(self) -> Schedule:
        """Ask the portal how it is now."""
        answer = self._portal.get(f"/schedules/{self._seen.name}", owner=self._seen.owner)
        self._seen = read(wire.Schedule, answer)
        return self

    def run_now(self, **parameters: Any) -> Execution:
        """Run it once, now, beside its times; parameters given here take the place of the schedule's."""
        return _run(self._portal, self._seen.name, parameters, self._seen.owner)

    def pause(self) -> Schedule:
        """Let it run no more until `resume`."""
        self._seen = _change(self._portal, self._seen.name, "pause", self._seen.owner)._seen
        return self

    def resume(self) -> Schedule:
        """Let it run again, from its next minute on."""
        self._seen = _change(self._portal, self._seen.name, "resume", self._seen.owner)._seen
        return self

    def delete(self) -> None:
        """End it for good."""
        self._portal.delete(f"/schedules/{self._seen.name}", owner=self._seen.owner)

    def executions(self) -> Table[Execution]:
        """Its executions, the newest first."""
        answer = self._portal.get(f"/schedules/{self._seen.name}/executions", owner=self._seen.owner)
        found = read_all(wire.Execution, answer)
        shown = ("number", "last_state", "due_at", "started_at", "ended_at", "why")
        return Table((Execution(seen, self._portal) for seen in found), shown)

    def _described(self, language: str) -> str:
        when = f"{self._seen.cron} ({self._seen.timezone})"
        if self._seen.next_at is None:
            return f"{when}, 일시 중지" if language == "ko" else f"{when}, paused"
        return f"{when}, 다음 실행 {self.next}" if language == "ko" else f"{when}, next {self.next}"

    def __repr__(self) -> str:
        return f"<Schedule {self._seen.name}: {self._described(reader_language())}>"

    def _repr_html_(self) -> str:
        return f"<b>{html.escape(self._seen.name)}</b>: {html.escape(self._described(reader_language()))}"


class Execution:
    """One run of a schedule's notebook, outside of anybody's server."""

    def __init__(self, seen: wire.Execution, portal: Client) -> None:
        self._seen, self._portal = seen, portal

    def __getattr__(self, name: str) -> Any:
        # Everything the portal says of it (number, schedule, parameters, failure, due_at, …), as last seen.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._seen, name)

    @property
    def state(self) -> str:
        """queued, starting, running, succeeded, failed, stopped or skipped, as it is now."""
        return self.last_state if self.last_state in ENDED else self.refresh().last_state

    @property
    def last_state(self) -> str:
        """The state as last seen, without asking."""
        return self._seen.state

    @property
    def page(self) -> str | None:
        """Where a browser shows the executed notebook; None until there is something to show."""
        path = self._seen.page or self.refresh()._seen.page
        return f"{self._portal.url}{path}" if path else None

    @property
    def why(self) -> str:
        """In one line what went wrong, as last seen; empty where nothing did."""
        return str(as_text(self._reason() or "", reader_language()))

    def refresh(self, *, patience_s: float | None = None) -> Execution:
        """Ask the portal how it is now."""
        answer = self._portal.get(self._path, patience_s=patience_s, owner=self._seen.owner)
        self._seen = read(wire.Execution, answer)
        return self

    def wait(self, timeout: float | None = None) -> Execution:
        """Wait for a good end, and print each change of state.

        Raises `ExecutionDidNotSucceed` with the failing cell and its error, `WaitedTooLong` after `timeout`
        seconds. A portal that restarts meanwhile is waited for.
        """
        started, told = self._portal.now(), ""
        while True:
            self.refresh(patience_s=WAIT_PATIENCE_S)
            if self.last_state != told:
                told = self.last_state
                say(f"{self._title}: {self._described('en')}", f"{self._title}: {self._described('ko')}")
            if told == "succeeded":
                return self
            if told in ENDED:
                raise ExecutionDidNotSucceed(
                    number=self._seen.number,
                    name=self._seen.schedule,
                    state=WORDS[told],
                    reason=self._reason() or NO_REASON,
                )
            if timeout is not None and self._portal.now() - started > timeout:
                state = WORDS.get(told, told)
                raise WaitedTooLong(kind="execution", name=self._title, state=state, seconds=round(timeout))
            self._portal.sleep(1.0)

    def logs(self) -> Text:
        """The log so far: a line for each cell, and what the cells print."""
        pages, offset, more = [], 0, True
        while more:
            where = {"owner": self._seen.owner, "offset": offset}
            answer = self._portal.get(f"{self._path}/logs", patience_s=WAIT_PATIENCE_S, **where)
            page = read(wire.LogPage, answer)
            more, offset = bool(page.text) and not page.done, page.next_offset
            pages.append(page.text)
        return Text("".join(pages))

    def stop(self) -> None:
        """Ask it to stop; what has run is kept. Stopping twice is no error."""
        self._portal.delete(self._path, repeatable=True, owner=self._seen.owner)

    @overload
    def notebook(self, to: None = None) -> bytes: ...
    @overload
    def notebook(self, to: str | Path) -> Path: ...
    def notebook(self, to: str | Path | None = None) -> bytes | Path:
        """The executed notebook as it is now: its bytes, or the file `to` that it was written to."""
        where, whose = f"{API}{self._path}/notebook", {"owner": self._seen.owner}
        content = self._portal.send("GET", where, repeatable=True, params=whose).content
        if to is None:
            return content
        path = Path(to)
        path.write_bytes(content)
        return path

    @property
    def _path(self) -> str:
        return f"/schedules/{self._seen.schedule}/executions/{self._seen.number}"

    @property
    def _title(self) -> str:
        return f"{self._seen.schedule} #{self._seen.number}"

    def _reason(self) -> Mapping[str, str] | str | None:
        failure = self._seen.failure
        if failure is None:
            return None if self.last_state == "succeeded" else reason_of(self._seen)
        error = f"{failure.error}: {failure.message}" if failure.message else failure.error
        if failure.cell is None:
            return reason_of(self._seen) if failure.error == wire.TIME_LIMIT else error
        cell = f"{failure.cell} (`{failure.source}`)" if failure.source else str(failure.cell)
        if failure.error == wire.TIME_LIMIT:
            why = {
                language: as_text(reason_of(self._seen) or failure.message, language) for language in ("en", "ko")
            }
            return {"en": f"{why['en']} It was in cell {cell}.", "ko": f"{why['ko']} 그때 셀 {cell}에 있었습니다."}
        return {"en": f"cell {cell} raised {error}", "ko": f"셀 {cell}에서 {error}"}

    def _described(self, language: str) -> str:
        reason = as_text(self._reason() or "", language)
        return WORDS.get(self.last_state, {}).get(language, self.last_state) + (f": {reason}" if reason else "")

    def __repr__(self) -> str:
        return f"<Execution {self._title}: {self._described(reader_language())}>"

    def _repr_html_(self) -> str:
        return f"<b>{html.escape(self._title)}</b>: {html.escape(self._described(reader_language()))}"


def name_from(notebook: str) -> str:
    """A schedule's name from its notebook's, in the letters that a name may have."""
    slug = re.sub(r"[^a-z0-9]+", "-", Path(notebook).stem.lower()).strip("-")
    return re.sub(r"^[^a-z]+", "", slug)[:NAME_LIMIT].rstrip("-") or "schedule"


def local_timezone() -> str:
    """The zone of this machine by its IANA name: from TZ, /etc/timezone or /etc/localtime; "UTC" if none says."""
    named, linked = Path("/etc/timezone"), Path("/etc/localtime")
    told = [os.environ.get("TZ", "").removeprefix(":")]
    if named.is_file():
        told.append(named.read_text(errors="replace").strip())
    if linked.is_symlink():
        told.append(os.path.realpath(linked).rpartition("/zoneinfo/")[2])
    for name in told:
        try:
            return ZoneInfo(name).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue  # empty, a path, or a rule like KST-9: no name that the portal would know
    return "UTC"


def _from_notebook(path: Path, folder: Path, files: Sequence[str | Path]) -> tuple[str, dict[str, Path]]:
    placed_at = placed(folder, path)
    if placed_at.suffix != ".ipynb":
        raise BadRequest(field="notebook", value=str(path), rule=NOTEBOOK_RULE)
    if not placed_at.is_file():
        raise MissingFile(path=str(path), folder=str(folder))
    home = folder if placed_at.is_relative_to(folder) else placed_at.parent
    sent = collect(home, [placed_at]) | collect(folder, files)
    return placed_at.relative_to(home).as_posix(), sent


def _plain(parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Numbers and arrays of NumPy as Python's own; whether a value fits is for the portal to say."""
    return {
        name: value.tolist() if hasattr(value, "tolist") else value for name, value in (parameters or {}).items()
    }


def _run(portal: Client, name: str, parameters: Mapping[str, Any] | None, owner: str | None) -> Execution:
    request = ask(wire.RunRequest, id=new_id(), parameters=_plain(parameters))
    sent = request.model_dump(mode="json")
    answer = portal.post(f"/schedules/{name}/run", sent, repeatable=True, owner=owner)
    return Execution(read(wire.Execution, answer), portal)


def _change(portal: Client, name: str, verb: str, owner: str | None) -> Schedule:
    answer = portal.post(f"/schedules/{name}/{verb}", repeatable=True, owner=owner)
    return Schedule(read(wire.Schedule, answer), portal)

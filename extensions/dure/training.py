"""Train outside the notebook: send code, follow the job, read its log and metrics."""

from __future__ import annotations

import html
import math
import re
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

from dure import wire
from dure.client import Client, ask, client, read, read_all, said
from dure.display import Table, Text, reason_of, say, write
from dure.errors import BadRequest, DureError, as_text, reader_language
from dure.sdk_errors import JobDidNotSucceed, MissingFile, NotTrainable, WaitedTooLong
from dure.snapshot import collect, git_commit, local_imports, pack, placed
from dure.source import as_module, check_parameters
from dure.wire.ids import new_id

Entry = Callable[..., Any] | str | Path
ENDED = frozenset({"succeeded", "failed", "stopped"})
WAIT_PATIENCE_S = 120.0
"""How long a wait outlasts a portal that is away; the job runs on without it."""
TAIL_LINES = 15
LAUNCHERS_OWN = "torch/distributed/elastic/"
"""In every line of a log that torchrun wrote about its processes, and not the code."""


def train(
    entry: Entry,
    *,
    name: str | None = None,
    profile: str = "cpu",
    processes: int | None = None,
    parameters: Mapping[str, Any] | None = None,
    experiment: str = "default",
    files: Sequence[str | Path] | None = None,
    team: str | None = None,
    project: str | None = None,
    _id: str | None = None,
) -> Job:
    """Start a training job and return at once.

    `entry` is a function of this notebook, or a file: `"train.py"`, `"train.py:main"`. A function gets
    `parameters` as keyword arguments (and the job's context as `ctx` if it names that), a file as `--name value`.
    A function is sent alone: it imports what it needs in its own body. A file is sent with the modules beside
    it that it imports. `files` are sent along; paths count from the working folder, which becomes the job's.
    `processes` is the number of ranks, None for the portal's choice. `name` is made from the entry if not given.
    `team` pays for it, and `project` in that team; None is the team of the server you are in, else your only one.
    """
    values = {key: _scalar(key, value) for key, value in (parameters or {}).items()}
    folder = Path.cwd().resolve()
    texts: dict[str, str] = {}
    if callable(entry):
        texts["entry.py"] = as_module(entry)
        check_parameters(entry, values)
        where, base, sent = f"entry.py:{entry.__name__}", entry.__name__, collect(folder, files or ())
    else:
        where, base, folder, sent = _from_file(str(entry), folder, files or ())
    made = name or unique_name(base)
    portal = client()
    with pack(sent, texts) as snapshot:
        fields = {
            "id": _id or new_id(),  # the widgets' click has its own
            "name": made,
            "profile": profile,
            "snapshot": snapshot.digest,
            "entry": where,
            "parameters": values,
            "processes": processes,
            "experiment": experiment,
            "team": team,
            "project": project,
            "git_commit": git_commit(folder),
        }
        request = ask(wire.JobRequest, **fields)
        if not portal.has(f"/snapshots/{snapshot.digest}"):
            portal.put_file(f"/snapshots/{snapshot.digest}", snapshot.file)
        answer = portal.post("/training/jobs", request.model_dump(mode="json"), repeatable=True)
    return Job(read(wire.Job, answer), portal)


def jobs(team: str | None = None) -> Table[Job]:
    """Your jobs, as the portal lists them; with `team`, those charged to it, for its leads."""
    portal = client()
    found = (Job(seen, portal) for seen in read_all(wire.Job, portal.get("/training/jobs", team=team)))
    columns = ("name", "last_state", "profile", "device", "processes", "created_at")
    return Table(found, columns if team is None else ("owner", *columns))


def stop(name: str, owner: str, reason: str | None = None) -> None:
    """Stop a job of somebody else, who reads `reason`; for administrators, and leads of the team that pays."""
    client().delete(f"/training/jobs/{name}", repeatable=True, owner=owner, reason=reason)


def job(name: str) -> Job:
    """A job of yours by its name, also one of another notebook or of yesterday."""
    portal = client()
    return Job(read(wire.Job, portal.get(f"/training/jobs/{name}")), portal)


class Job:
    """A training job. It runs outside this notebook: closing the notebook does not end it."""

    def __init__(self, seen: wire.Job, portal: Client) -> None:
        self._seen, self._portal = seen, portal

    def __getattr__(self, name: str) -> Any:
        # Everything the portal says of a job (name, profile, device, run_id, reason, …), as last seen.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._seen, name)

    @property
    def state(self) -> str:
        """queued, starting, running, succeeded, failed or stopped, as it is now."""
        return self.last_state if self.last_state in ENDED else self.refresh().last_state

    @property
    def last_state(self) -> str:
        """The state as last seen, without asking."""
        return self._seen.state

    @property
    def run_id(self) -> str | None:
        """MLflow's run of this job; None until there is one."""
        return self._seen.run_id or self.refresh()._seen.run_id

    def refresh(self, *, patience_s: float | None = None) -> Job:
        """Ask the portal how it is now."""
        answer = self._portal.get(f"/training/jobs/{self._seen.name}", patience_s=patience_s)
        self._seen = read(wire.Job, answer)
        return self

    def wait(self, timeout: float | None = None, logs: bool = False) -> Job:
        """Wait for a good end; print each change of state, and the log too if asked for.

        Raises `JobDidNotSucceed` with the log's end where the job failed or was stopped, `WaitedTooLong` after
        `timeout` seconds. A portal that restarts meanwhile is waited for.
        """
        started, told, offset = self._portal.now(), "", 0
        while True:
            self.refresh(patience_s=WAIT_PATIENCE_S)
            if self.last_state != told:
                told = self.last_state
                say(f"{self._seen.name}: {self._described('en')}", f"{self._seen.name}: {self._described('ko')}")
            if logs:
                offset = self._print_from(offset)
            if told in ENDED:
                return self._well_ended()
            if timeout is not None and self._portal.now() - started > timeout:
                state = STATES.get(told, told)
                raise WaitedTooLong(kind="job", name=self._seen.name, state=state, seconds=round(timeout))
            self._portal.sleep(1.0)

    def _well_ended(self) -> Job:
        if self.last_state == "succeeded":
            return self
        lines = [line for line in self.logs().rstrip().splitlines() if LAUNCHERS_OWN not in line]
        raise JobDidNotSucceed(
            name=self._seen.name,
            state=STATES[self.last_state],
            reason=reason_of(self._seen) or NO_REASON,
            tail="\n".join(lines[-TAIL_LINES:]),
        )

    @overload
    def logs(self, follow: Literal[False] = False) -> Text: ...
    @overload
    def logs(self, follow: Literal[True]) -> None: ...
    def logs(self, follow: bool = False) -> Text | None:
        """The log so far; or, with `follow`, print it as it grows until the job ends."""
        if not follow:
            pages, offset, more = [], 0, True
            while more:
                page = self._page(offset)
                more, offset = bool(page.text) and not page.done, page.next_offset
                pages.append(page.text)
            return Text("".join(pages))
        offset, done = 0, False
        while not done:
            page = self._page(offset)
            write(page.text)
            offset, done = page.next_offset, page.done
            if not page.text and not done:
                self._portal.sleep(1.0)
        return None

    def stop(self, reason: str | None = None) -> None:
        """Ask it to stop; it gets up to half a minute to write a checkpoint. Stopping twice is no error.

        The owner of somebody else's reads `reason`.
        """
        path = f"/training/jobs/{self._seen.name}"
        self._portal.delete(path, repeatable=True, owner=self._seen.owner, reason=reason)

    @overload
    def metrics(self, name: None = None) -> dict[str, float]: ...
    @overload
    def metrics(self, name: str) -> list[tuple[int, float]]: ...
    def metrics(self, name: str | None = None) -> dict[str, float] | list[tuple[int, float]]:
        """The last value of every metric; or, for one name, its whole course as (step, value)."""
        if self.run_id is None:
            return {} if name is None else []
        if name is None:
            run = self._tracking("runs/get", run_id=self.run_id).get("run") or {}
            return {metric["key"]: float(metric["value"]) for metric in run.get("data", {}).get("metrics", [])}
        found = self._tracking("metrics/get-history", run_id=self.run_id, metric_key=name).get("metrics", [])
        return sorted((int(metric.get("step", 0)), float(metric["value"])) for metric in found)

    def _tracking(self, path: str, **query: str) -> dict[str, Any]:
        address = f"/services/mlflow/api/2.0/mlflow/{path}"
        answer: dict[str, Any] = said(self._portal.send("GET", address, repeatable=True, params=query))
        return answer

    def _page(self, offset: int) -> wire.LogPage:
        path = f"/training/jobs/{self._seen.name}/logs"
        return read(wire.LogPage, self._portal.get(path, patience_s=WAIT_PATIENCE_S, offset=offset))

    def _print_from(self, offset: int) -> int:
        while (page := self._page(offset)).text:
            write(page.text)
            offset = page.next_offset
        return offset

    def _described(self, language: str) -> str:
        ranks = self._seen.processes
        each = f"프로세스 {ranks}개" if language == "ko" else f"{ranks} × rank"
        where = f" ({self._seen.device}, {each})" if self._seen.device and ranks else ""
        reason = as_text(reason_of(self._seen), language)
        why = f": {reason}" if reason and self._seen.state != "succeeded" else ""
        return STATES.get(self._seen.state, {}).get(language, self._seen.state) + where + why

    def __repr__(self) -> str:
        return f"<Job {self._seen.name}: {self._described(reader_language())}>"

    def _repr_html_(self) -> str:
        return f"<b>{html.escape(self._seen.name)}</b>: {html.escape(self._described(reader_language()))}"


STATES: Mapping[str, Mapping[str, str]] = {
    "queued": {"en": "queued", "ko": "대기 중"},
    "starting": {"en": "starting", "ko": "시작 중"},
    "running": {"en": "running", "ko": "실행 중"},
    "succeeded": {"en": "succeeded", "ko": "성공"},
    "failed": {"en": "failed", "ko": "실패"},
    "stopped": {"en": "stopped", "ko": "중지됨"},
}


NO_REASON: Mapping[str, str] = {"en": "nobody noted why", "ko": "이유가 기록되지 않음"}


def unique_name(base: str) -> str:
    """A name that has not been used: from the entry, with the time in base 36 at its end."""
    slug = re.sub(r"[^a-z0-9]+", "-", base.lower()).strip("-")
    slug = re.sub(r"^[^a-z]+", "", slug)[:18].rstrip("-") or "job"
    digits, number = "", time.time_ns() // 10_000_000
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return f"{slug}-{digits}"


def _from_file(entry: str, folder: Path, files: Sequence[str | Path]) -> tuple[str, str, Path, dict[str, Path]]:
    text, _, function = entry.partition(":")
    function = unicodedata.normalize("NFKC", function)  # as Python reads the name in the file
    path = placed(folder, text)
    if path.suffix != ".py" or (function and not function.isidentifier()):
        raise NotTrainable(entry=entry, why='it is not of the form "file.py" or "file.py:function"')
    if not path.is_file():
        raise MissingFile(path=text, folder=str(folder))
    if not path.is_relative_to(folder):
        folder = path.parent
    inside = path.relative_to(folder).as_posix()
    sent = collect(folder, [path, *sorted(local_imports(path))]) | collect(Path.cwd().resolve(), files)
    return f"{inside}:{function}" if function else inside, function or path.stem, folder, sent


def _scalar(key: str, value: Any) -> wire.base.Scalar:
    plain = value
    if hasattr(value, "item"):
        try:
            plain = value.item()  # a NumPy number is a number to whoever passes it
        except (TypeError, ValueError, RuntimeError):
            plain = value  # an array or tensor of several, which the rule below is about
    if isinstance(plain, float) and not math.isfinite(plain):
        raise BadRequest(field=f"parameters.{key}", value=repr(plain), rule=FINITE_RULE)
    if plain is None or isinstance(plain, str | int | float | bool):
        return plain
    raise BadRequest(field=f"parameters.{key}", value=repr(value)[:80], rule=SCALAR_RULE)


FINITE_RULE: Mapping[str, str] = {
    "en": "a number must be finite; send a text such as 'inf' and let the code read it",
    "ko": "유한한 수여야 합니다. 'inf' 같은 문자열로 보내고 코드에서 읽으세요",
}
SCALAR_RULE: Mapping[str, str] = {
    "en": "a parameter is a text, a number, true or false, or nothing; send anything larger as a file",
    "ko": "매개변수는 문자열, 수, 참/거짓, 빈 값 중 하나여야 합니다. 더 큰 것은 파일로 보내세요",
}


__all__ = ["DureError", "Job", "job", "jobs", "train"]

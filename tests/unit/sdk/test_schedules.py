"""Making schedules and following their executions."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy
import pytest

import dure
from dure import wire
from dure.cli import main
from dure.client import client
from dure.errors import BadRequest
from dure.schedules import local_timezone, name_from
from dure.sdk_errors import ExecutionDidNotSucceed, MissingFile, WaitedTooLong
from dure.wire import RunRequest, ScheduleRequest
from tests.unit.sdk.portal import Queue, error, portal

PATH = "/api/v1/schedules"
EXECUTIONS = f"{PATH}/nightly/executions"
RUN: dict[str, Any] = {
    "id": "01JD0000000000000000000001",
    "schedule": "nightly",
    "number": 3,
    "owner": "ana",
    "state": "running",
    "created_at": "2026-11-22T00:00:00Z",
    "from_a_newer_portal": True,
}
SCHEDULE: dict[str, Any] = {
    "id": "01JD0000000000000000000000",
    "name": "nightly",
    "owner": "ana",
    "notebook": "nightly.ipynb",
    "cron": "0 6 * * *",
    "timezone": "Asia/Seoul",
    "profile": "cpu",
    "limit_s": 3600,
    "next_at": "2026-11-22T21:00:00Z",
    "created_at": "2026-11-22T00:00:00Z",
}
FAILURE = {"cell": 5, "source": "1 / 0 <b>", "error": "ZeroDivisionError", "message": "division by zero"}


class Sent(dict[str, Any]):
    """Routes that keep every snapshot, and answer to a new schedule."""

    def __init__(self) -> None:
        super().__init__({f"POST {PATH}": httpx.Response(201, json=SCHEDULE)})
        self.kept: dict[str, bytes] = {}

    def __missing__(self, route: str) -> Any:
        verb, path = route.split(" ")
        digest = path.removeprefix("/api/v1/snapshots/")
        if verb == "HEAD":
            return httpx.Response(204 if digest in self.kept else 404)

        def keep(request: httpx.Request) -> httpx.Response:
            self.kept[digest] = request.content
            return httpx.Response(204)

        return keep


def run(state: str, **more: Any) -> dict[str, Any]:
    """An execution as the portal shows it."""
    return {**RUN, "state": state, **more}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a notebook and data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "nightly.ipynb").write_text('{"outputs": "as it is"}')
    (tmp_path / "sub" / "Two Words 2.ipynb").write_text("{}")
    (tmp_path / "data.csv").write_text("a,b\n")
    return tmp_path


def test_a_notebook_is_sent_as_it_is_with_its_files(desk: Path) -> None:
    with portal(Sent()) as fake:
        made = dure.schedules.create(
            "nightly.ipynb",
            "0 6 * * *",
            timezone="Asia/Seoul",
            parameters={"lr": numpy.float32(0.5), "n": numpy.int64(3), "names": ["a"], "on": True, "none": None},
            files=["data.csv"],
            limit_s=600,
        )
        dure.schedules.create("sub/Two Words 2.ipynb", cron="* * * * *", name="other", timezone="UTC")
    content = next(iter(fake.routes.kept.values()))  # type: ignore[attr-defined]
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.namelist() == ["data.csv", "nightly.ipynb"]
    assert archive.read("nightly.ipynb") == b'{"outputs": "as it is"}'
    first, second = [ScheduleRequest.model_validate(body) for body in fake.bodies if isinstance(body, dict)]
    assert (first.name, first.notebook, first.cron, first.timezone) == (
        "nightly",
        "nightly.ipynb",
        "0 6 * * *",
        "Asia/Seoul",
    )
    assert first.parameters == {"lr": 0.5, "n": 3, "names": ["a"], "on": True, "none": None}
    assert first.limit_s == 600
    assert (second.name, second.notebook, second.profile, second.limit_s) == (
        "other",
        "sub/Two Words 2.ipynb",
        "cpu",
        None,
    )
    assert made.name == "nightly"
    assert repr(made) == "<Schedule nightly: 0 6 * * * (Asia/Seoul), next 2026-11-23 06:00>"


def test_mistakes_are_found_before_anything_is_sent(desk: Path) -> None:
    with portal({}) as fake:
        for wrong, problem in (("gone.ipynb", MissingFile), ("data.csv", BadRequest), ("sub", BadRequest)):
            with pytest.raises(problem):
                dure.schedules.create(wrong, "* * * * *")
        with pytest.raises(BadRequest, match="name"):
            dure.schedules.create("nightly.ipynb", "* * * * *", name="Not A Name")
        with pytest.raises(BadRequest, match="limit_s"):
            dure.schedules.create("nightly.ipynb", "* * * * *", limit_s=1)
    assert fake.asked == []


def test_what_the_portal_refuses_is_its_sentence(desk: Path) -> None:
    routes = Sent() | {f"POST {PATH}": error(422, "unknown_parameter", name="x")}
    routes |= {"HEAD /api/v1/snapshots": httpx.Response(204)}
    with portal(_all_kept(routes)), pytest.raises(dure.DureError, match="message of unknown_parameter"):
        dure.schedules.create("nightly.ipynb", "* * * * *", parameters={"x=1\nimport os": 1})


def _all_kept(routes: dict[str, Any]) -> dict[str, Any]:
    class Kept(dict[str, Any]):
        def __missing__(self, route: str) -> Any:
            return httpx.Response(204)

    return Kept(routes)


@pytest.mark.parametrize(
    ("notebook", "name"),
    [
        ("retrain-digits.ipynb", "retrain-digits"),
        ("sub/My Notebook (2).ipynb", "my-notebook-2"),
        ("2026 report.ipynb", "report"),
        ("학습.ipynb", "schedule"),
        ("a" * 29 + "-bcd.ipynb", "a" * 29),
    ],
)
def test_a_name_is_made_from_the_notebooks(notebook: str, name: str) -> None:
    assert name_from(notebook) == name


def test_the_zone_is_this_machines_where_it_says_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for told in ("Asia/Seoul", ":Asia/Seoul"):
        monkeypatch.setenv("TZ", told)
        assert local_timezone() == "Asia/Seoul"
    for rule in ("KST-9", "", "../etc/passwd", "/etc/localtime", "No/Where"):
        monkeypatch.setenv("TZ", rule)
        assert local_timezone() not in (rule, "Asia/Seoul")


def test_pause_resume_run_and_delete() -> None:
    paused = {**SCHEDULE, "next_at": None, "paused": True}
    routes = {
        f"GET {PATH}/nightly": SCHEDULE,
        f"POST {PATH}/nightly/pause": paused,
        f"POST {PATH}/nightly/resume": SCHEDULE,
        f"POST {PATH}/nightly/run": httpx.Response(202, json=run("queued")),
        f"DELETE {PATH}/nightly": httpx.Response(204),
        f"GET {EXECUTIONS}": [run("failed", failure=FAILURE), run("skipped", reason="the last one still runs")],
    }
    with portal(routes) as fake:
        schedule = dure.schedules.get("nightly")
        assert schedule.pause().next == "paused"
        assert schedule.next_at is not None
        assert schedule.resume().next == "2026-11-23 06:00"
        assert schedule.run_now(epochs=5).number == 3
        assert dure.schedules.run_now("nightly").last_state == "queued"
        asked = [RunRequest.model_validate(body) for body in fake.bodies if isinstance(body, dict)]
        assert [one.parameters for one in asked] == [{"epochs": 5}, {}]
        assert asked[0].id != asked[1].id
        assert dure.schedules.pause("nightly").name == dure.schedules.resume("nightly").name == "nightly"
        shown = schedule.executions()
        assert "cell 5 (`1 / 0 <b>`) raised ZeroDivisionError: division by zero" in repr(shown)
        assert "the last one still runs" in repr(shown)
        assert "<b>" not in shown._repr_html_() + shown[0]._repr_html_().replace("<b>nightly #3</b>", "")
        schedule.delete()
        dure.schedules.delete("nightly")


def test_a_wait_ends_with_the_notebooks_end(capsys: pytest.CaptureFixture[str]) -> None:
    one = f"GET {EXECUTIONS}/3"
    page = {"text": "[1/2] x\n", "offset": 0, "next_offset": 8, "done": True}
    routes = {
        f"POST {PATH}/nightly/run": run("queued"),
        one: Queue(run("queued"), run("running"), run("succeeded", page="/services/dure/schedules/nightly/3")),
        f"GET {EXECUTIONS}/3/logs": page,
        f"GET {EXECUTIONS}/3/notebook": httpx.Response(200, content=b"{}"),
        f"DELETE {EXECUTIONS}/3": httpx.Response(204),
    }
    with portal(routes):
        done = dure.schedules.run_now("nightly").wait()
        assert done.state == "succeeded"
        assert done.page == "http://portal.test/services/dure/schedules/nightly/3"
        assert done.logs() == "[1/2] x\n"
        assert done.notebook() == b"{}"
        done.stop()
    assert capsys.readouterr().out == "nightly #3: queued\nnightly #3: running\nnightly #3: succeeded\n"


def test_the_notebook_may_be_written_to_a_file(tmp_path: Path) -> None:
    routes = {
        f"POST {PATH}/nightly/run": run("succeeded"),
        f"GET {EXECUTIONS}/3/notebook": httpx.Response(200, content=b"{}"),
    }
    with portal(routes):
        kept = dure.schedules.run_now("nightly").notebook(tmp_path / "done.ipynb")
    assert kept.read_bytes() == b"{}"


def test_a_wait_raises_the_failing_cell_and_its_error() -> None:
    routes = {
        f"POST {PATH}/nightly/run": run("queued"),
        f"GET {EXECUTIONS}/3": Queue(run("running"), run("failed", failure=FAILURE)),
    }
    with portal(routes), pytest.raises(ExecutionDidNotSucceed) as problem:
        dure.schedules.run_now("nightly").wait()
    said = (
        "Execution 3 of nightly ended as failed: cell 5 (`1 / 0 <b>`) raised ZeroDivisionError: division by zero."
    )
    assert problem.value.text("en") == said
    assert "셀 5 (`1 / 0 <b>`)에서 ZeroDivisionError: division by zero" in problem.value.text("ko")


def test_a_wait_that_is_not_for_ever() -> None:
    routes = {f"POST {PATH}/nightly/run": run("queued"), f"GET {EXECUTIONS}/3": run("running")}
    with portal(routes), pytest.raises(WaitedTooLong, match=r"nightly #3 is still running after 5 s"):
        dure.schedules.run_now("nightly").wait(timeout=5)


def test_without_a_failing_cell_the_reason_is_told() -> None:
    routes = {f"POST {PATH}/nightly/run": run("stopped", reason="time is over")}
    routes[f"GET {EXECUTIONS}/3"] = run("stopped", reason="time is over")
    with portal(routes), pytest.raises(ExecutionDidNotSucceed, match="ended as stopped: time is over"):
        dure.schedules.run_now("nightly").wait()


def test_the_command_line_makes_one(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["schedule", "nightly.ipynb", "--cron", "0 6 * * *", "--timezone", "Asia/Seoul", "--name", "n"]
    words += ["-p", "epochs=3", "-p", 'layers=[1, "a"]', "-p", "title=[draft", "-p", 'code="7"']
    with portal(Sent()) as fake:
        assert main([*words, "-f", "data.csv", "--limit", "3600", "--profile", "gpu"]) == 0
    assert "<Schedule nightly:" in capsys.readouterr().out
    (body,) = [ScheduleRequest.model_validate(body) for body in fake.bodies if isinstance(body, dict)]
    assert body.parameters == {"epochs": 3, "layers": [1, "a"], "title": "[draft", "code": "7"}
    assert (body.name, body.limit_s, body.profile) == ("n", 3600, "gpu")


def test_the_command_line_looks_after_them(capsys: pytest.CaptureFixture[str]) -> None:
    routes = {
        f"GET {PATH}": [SCHEDULE],
        f"GET {PATH}/nightly": SCHEDULE,
        f"GET {EXECUTIONS}": [run("succeeded")],
        f"POST {PATH}/nightly/pause": {**SCHEDULE, "next_at": None},
        f"POST {PATH}/nightly/resume": SCHEDULE,
        f"POST {PATH}/nightly/run": run("queued"),
        f"DELETE {PATH}/nightly": httpx.Response(204),
    }
    with portal(routes) as fake:
        for words, said in (
            ([], "Asia/Seoul"),
            (["nightly"], "succeeded"),
            (["nightly", "--pause"], "paused"),
            (["nightly", "--resume"], "next 2026-11-23 06:00"),
            (["nightly", "--run", "-p", "x=1"], "<Execution nightly #3: queued>"),
            (["nightly", "--delete"], ""),
        ):
            assert main(["schedules", *words]) == 0
            assert said in capsys.readouterr().out
        for words in (["--run"], ["nightly", "-p", "x=1"], ["nightly", "--run", "--pause"]):
            with pytest.raises(SystemExit) as ended:
                main(["schedules", *words])
            assert ended.value.code == 2
    assert fake.paths("DELETE") == [f"{PATH}/nightly"]


def test_what_a_list_of_everyones_gives_acts_on_its_owners_schedule() -> None:
    bens = {**SCHEDULE, "owner": "ben"}
    its = {**RUN, "owner": "ben"}
    routes: dict[str, Any] = {
        f"GET {PATH}": [bens],
        f"GET {PATH}/nightly": bens,
        f"POST {PATH}/nightly/pause": {**bens, "next_at": None},
        f"POST {PATH}/nightly/resume": bens,
        f"POST {PATH}/nightly/run": httpx.Response(202, json=its),
        f"DELETE {PATH}/nightly": httpx.Response(204),
        f"GET {EXECUTIONS}": [its],
        f"GET {EXECUTIONS}/3": its,
        f"DELETE {EXECUTIONS}/3": httpx.Response(204),
        f"GET {EXECUTIONS}/3/logs": {"text": "", "offset": 0, "next_offset": 0, "done": True},
        f"GET {EXECUTIONS}/3/notebook": httpx.Response(200, content=b"{}"),
    }
    with portal(routes) as fake:
        schedule = dure.schedules.list(everyone=True)[0]
        schedule.refresh().pause().resume()
        for execution in (schedule.run_now(epochs=1), schedule.executions()[0]):
            execution.refresh().logs()
            execution.notebook()
            execution.stop()
        schedule.delete()
        asked = [request.url.params.get("owner") for request in fake.asked]
        assert asked == [None, *["ben"] * (len(asked) - 1)]
        del fake.asked[:]
        dure.schedules.get("nightly", owner="ben")
        dure.schedules.pause("nightly", owner="ben")
        dure.schedules.resume("nightly", owner="ben")
        dure.schedules.run_now("nightly", owner="ben")
        dure.schedules.delete("nightly", owner="ben")
        for words in ([], ["--pause"], ["--run"], ["--delete"]):
            assert main(["schedules", "nightly", "--owner", "ben", *words]) == 0
        assert {request.url.params.get("owner") for request in fake.asked} == {"ben"}
        del fake.asked[:]
        dure.schedules.get("nightly")
        assert "owner" not in fake.asked[0].url.params, "one's own without a word"


def test_a_limit_is_told_with_the_cell_where_it_was() -> None:
    words = {
        "en": "It ran longer than its limit of 60 s, and was ended.",
        "ko": "제한 시간 60초를 넘어 종료했습니다.",
    }
    failure = {"cell": 5, "source": "while True:", "error": "TimeLimit", "message": "It ran longer than 60 s."}
    told = run("failed", reason=words["en"], reason_text=words, failure=failure)
    with portal({f"GET {EXECUTIONS}": [told]}):
        execution = dure.schedules.Schedule(wire.Schedule.model_validate(SCHEDULE), client()).executions()[0]
        assert execution.why == f"{words['en']} It was in cell 5 (`while True:`)."
        assert "asked to stop" not in execution.why
        assert f"{words['ko']} 그때 셀 5 (`while True:`)에 있었습니다." in execution._described("ko")

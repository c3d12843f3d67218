"""Sending a job and following it."""

from __future__ import annotations

import hashlib
import io
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy
import pytest

import dure
from dure.client import ask
from dure.errors import BadRequest
from dure.sdk_errors import JobDidNotSucceed, MissingFile, NotTrainable, WaitedTooLong
from dure.training import unique_name
from dure.wire import JobRequest
from tests.unit.sdk.portal import JOB, FakePortal, Queue, job, portal

PATH = "/api/v1/training/jobs"


class Anything(dict[str, Any]):
    """Routes with snapshots under any digest."""

    def __init__(self, kept: dict[str, bytes]) -> None:
        super().__init__({f"POST {PATH}": httpx.Response(202, json=JOB)})
        self.kept = kept

    def __missing__(self, route: str) -> Any:
        verb, path = route.split(" ")
        digest = path.rsplit("/", 1)[1]
        assert path == f"/api/v1/snapshots/{digest}", route

        def keep(request: httpx.Request) -> httpx.Response:
            self.kept[digest] = request.content
            return httpx.Response(204)

        return keep if verb == "PUT" else httpx.Response(204 if digest in self.kept else 404)


def fit(lr: float = 0.1, epochs: int = 1) -> None:
    """Trains nothing."""
    import math

    math.sqrt(lr * epochs)


def test_a_function_is_sent_as_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "iris.csv").write_text("a,b\n")
    with portal(Anything({})) as fake:
        for _ in range(2):
            sent = dure.train(fit, parameters={"lr": numpy.float64(0.5)}, files=["iris.csv"], processes=2)
    assert fake.paths("HEAD") == fake.paths("PUT") * 2
    (content,) = fake.routes.kept.values()  # type: ignore[attr-defined]
    digest = hashlib.sha256(content).hexdigest()
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.namelist() == ["entry.py", "iris.csv"]
    assert b"def fit(lr: float = 0.1" in archive.read("entry.py")
    asked = [JobRequest.model_validate(body) for body in fake.bodies if isinstance(body, dict)]
    assert asked[0].snapshot == asked[1].snapshot == digest
    assert (asked[0].entry, asked[0].parameters, asked[0].processes) == ("entry.py:fit", {"lr": 0.5}, 2)
    assert asked[0].name.startswith("fit-")
    assert asked[0].id != asked[1].id
    assert sent.name == "train-a1"


def test_a_file_is_sent_with_what_it_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text("import helper\n")
    (tmp_path / "src" / "helper.py").write_text("")
    with portal(Anything({})) as fake:
        dure.train("src/train.py:main", name="mine")
    (content,) = fake.routes.kept.values()  # type: ignore[attr-defined]
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["src/helper.py", "src/train.py"]
    assert fake.bodies[-1]["entry"] == "src/train.py:main"
    assert fake.bodies[-1]["name"] == "mine"


def test_mistakes_are_found_before_anything_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("")
    with portal({}) as fake:
        with pytest.raises(MissingFile):
            dure.train("gone.py")
        with pytest.raises(NotTrainable):
            dure.train("train.sh")
        with pytest.raises(NotTrainable):
            dure.train("train.py:not a name")
        with pytest.raises(BadRequest, match="parameters"):
            dure.train("train.py", parameters={"layers": [1, 2]})
        for several in (numpy.array([1, 2]), float("inf"), numpy.float32("nan")):
            with pytest.raises(BadRequest, match=r"parameters\.x") as problem:
                dure.train("train.py", parameters={"x": several})
            assert problem.value.text("ko") != problem.value.text("en")
        with pytest.raises(BadRequest, match="name"):
            dure.train("train.py", name="Not A Name")
        with pytest.raises(BadRequest, match="processes"):
            dure.train("train.py", processes=0)
    assert fake.asked == []


def test_a_number_without_end_is_refused_on_the_command_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dure.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("")
    with portal({}):
        assert main(["train", "train.py", "-p", "x=1e999"]) == 1
    assert "parameters.x = inf is not accepted" in capsys.readouterr().err


def test_names_in_every_script_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "학습.py").write_text("")
    with portal(Anything({})) as fake:
        dure.train("학습.py:학습")
        dure.train(
            unicodedata.normalize("NFD", "학습.py:학습").replace(
                unicodedata.normalize("NFD", "학습.py"), "학습.py"
            )
        )
    assert [body["entry"] for body in fake.bodies if isinstance(body, dict)] == ["학습.py:학습"] * 2
    for entry in ("학습.py:1회", "학습 .py", "a.py:b:c", "a.py:b-c", "a.sh"):
        with pytest.raises(BadRequest):
            ask(JobRequest, id=JOB["id"], name="a", snapshot="0" * 64, entry=entry)


def test_an_entry_that_is_a_link_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "v3.py").write_text("import helper\n")
    (tmp_path / "helper.py").write_text("")
    (tmp_path / "train.py").symlink_to("old/v3.py")
    with portal(Anything({})) as fake:
        dure.train("train.py")
    (content,) = fake.routes.kept.values()  # type: ignore[attr-defined]
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["helper.py", "train.py"]


def test_a_job_is_found_again_by_its_name() -> None:
    with portal({f"GET {PATH}/train-a1": job("running")}):
        assert dure.job("train-a1").last_state == "running"


@pytest.mark.parametrize("base", ["train", "my_long_function_name_that_never_ends", "학습", "9lives", "_"])
def test_made_up_names_are_valid_and_differ(base: str) -> None:
    import re

    from dure.wire.base import NAME_PATTERN

    name = unique_name(base)
    assert re.fullmatch(NAME_PATTERN, name)
    assert len(name) <= 30


def followed(*answers: Any, logs: Any = None) -> dict[str, Any]:
    """Routes of one job."""
    page = {"text": "", "offset": 0, "next_offset": 0, "done": True}
    return {f"GET {PATH}/train-a1": Queue(*answers), f"GET {PATH}/train-a1/logs": logs or page}


def the_job(fake: FakePortal) -> dure.Job:
    """A job of this portal."""
    from dure.wire import Job as Seen

    return dure.Job(Seen.model_validate(JOB), fake.client())


def test_wait_tells_each_change_once(capsys: pytest.CaptureFixture[str]) -> None:
    running = job("running")
    fake = FakePortal(followed(job("queued"), running, running, job("succeeded", run_id="r1")))
    done = the_job(fake).wait()
    assert done.state == "succeeded"
    assert done.run_id == "r1"
    told = capsys.readouterr().out.splitlines()
    assert [line.split(" (")[0] for line in told] == [
        "train-a1: queued",
        "train-a1: running",
        "train-a1: succeeded",
    ]


def test_wait_outlasts_a_portal_that_restarts() -> None:
    away = [httpx.ConnectError("refused")] * 15
    fake = FakePortal(followed(job("running"), *away, job("succeeded")))
    assert the_job(fake).wait().last_state == "succeeded"
    assert fake.time > 20


def test_a_failed_job_raises_with_its_reason_and_the_logs_end() -> None:
    page = {"text": "one\nValueError: no such column\n", "offset": 0, "next_offset": 30, "done": True}
    fake = FakePortal(followed(job("failed", reason="exit code 1"), logs=page))
    with pytest.raises(JobDidNotSucceed, match="exit code 1") as problem:
        the_job(fake).wait()
    assert "ValueError: no such column" in str(problem.value)


def test_torchruns_own_lines_push_the_error_out_of_no_tail() -> None:
    noise = "E1125 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 1)\n" * 20
    page = {"text": f"ValueError: no such column\n{noise}", "offset": 0, "next_offset": 30, "done": True}
    fake = FakePortal(followed(job("failed", reason="exit code 1"), logs=page))
    with pytest.raises(JobDidNotSucceed, match="ValueError: no such column") as problem:
        the_job(fake).wait()
    assert "elastic" not in str(problem.value)


def test_a_korean_reader_is_told_in_korean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DURE_LANGUAGE", "ko")
    texts = {"en": "Ended with exit code 1", "ko": "종료 코드 1"}
    failed = job("failed", reason=texts["en"], reason_text=texts)
    ours = the_job(FakePortal(followed(job("queued"), failed)))
    with pytest.raises(JobDidNotSucceed, match=r"실패 상태로 끝났습니다: 종료 코드 1\."):
        ours.wait()
    assert "train-a1: 실패 (cpu, 프로세스 2개): 종료 코드 1\n" in capsys.readouterr().out
    for shown in (repr(ours), ours._repr_html_()):
        assert "실패" in shown
        assert "종료 코드 1" in shown


def test_wait_gives_up_after_its_timeout_and_says_the_job_goes_on() -> None:
    with pytest.raises(WaitedTooLong, match="still running after 3 s"):
        the_job(FakePortal(followed(job("running")))).wait(timeout=3)


@pytest.mark.parametrize("problem", [httpx.ReadError("reset"), httpx.Response(503, text="away")])
def test_a_stop_is_sent_again(problem: httpx.Response | Exception) -> None:
    fake = FakePortal({f"DELETE {PATH}/train-a1": Queue(problem, httpx.Response(204))})
    the_job(fake).stop()
    assert len(fake.asked) == 2


def test_logs_are_read_to_their_end(capsys: pytest.CaptureFixture[str]) -> None:
    def page(request: httpx.Request) -> httpx.Response:
        offset = int(request.url.params["offset"])
        text = "abc\ndef\n"[offset : offset + 4]
        return httpx.Response(
            200, json={"text": text, "offset": offset, "next_offset": offset + len(text), "done": not text}
        )

    ours = the_job(FakePortal(followed(job("succeeded"), logs=page)))
    assert ours.logs() == "abc\ndef\n"
    assert repr(ours.logs()) == "abc\ndef\n"
    ours.logs(follow=True)
    assert capsys.readouterr().out == "abc\ndef\n"
    ours.wait(logs=True)
    assert "abc\ndef\n" in capsys.readouterr().out


def test_metrics_come_from_mlflow() -> None:
    base = "/services/mlflow/api/2.0/mlflow"
    history = [{"value": 0.5, "step": "1"}, {"value": 0.9, "step": "0"}]
    routes = followed(job("succeeded", run_id="r1")) | {
        f"GET {base}/runs/get": {"run": {"data": {"metrics": [{"key": "loss", "value": 0.5}]}}},
        f"GET {base}/metrics/get-history": {"metrics": history},
    }
    ours = the_job(FakePortal(routes))
    assert ours.metrics() == {"loss": 0.5}
    assert ours.metrics("loss") == [(0, 0.9), (1, 0.5)]


def test_what_a_notebook_shows_is_escaped() -> None:
    from dure.wire import Job as Seen

    shown = dure.Job(Seen.model_validate(job("failed", reason="<script>")), FakePortal({}).client())
    assert "<script>" not in shown._repr_html_()
    assert "&lt;script&gt;" in shown._repr_html_()
    with portal({f"GET {PATH}": [job("failed", name="<b>")]}):
        assert "&lt;b&gt;" in dure.jobs()._repr_html_()
        assert "<b>" in repr(dure.jobs())

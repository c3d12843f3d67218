"""The model server as a real process: right answers, errors that explain, nothing dropped when it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dure.archive import EXPRESSION, TARGET, check
from dure.sdk_errors import BadModelFolder
from dure.server import take_no_more
from dure.serving import Model
from tests.contract.digits import held_out, model_server

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of real digits, trained here in a second and saved as a job saves it."""
    import torch
    from sklearn.datasets import load_digits

    from dure.saving import save

    torch.manual_seed(0)
    digits = load_digits()
    rows, labels = torch.tensor(digits.data, dtype=torch.float32), torch.tensor(digits.target)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(rows), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    target = tmp_path_factory.mktemp("saved") / "model"
    return save(model, rows[:1], target, classes=[f"digit {n}" for n in range(10)], name="model", run_id=None)


@pytest.fixture(scope="module")
def url(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server of that model."""
    with model_server(folder, tmp_path_factory.mktemp("server") / "log") as (address, _):
        yield address


def ask(url: str, body: Any, path: str = "/invocations", **headers: str) -> httpx.Response:
    """Post JSON."""
    return httpx.post(url + path, content=json.dumps(body), headers=headers, timeout=30)


def test_predictions_are_classes_with_the_version_that_said_them(url: str) -> None:
    rows, labels = held_out()
    for body in ({"inputs": rows}, {"instances": rows}):
        answer = ask(url, body)
        assert answer.status_code == 200
        assert answer.json()["model_version"] == "3" == answer.headers["x-dure-model-version"]
        said = answer.json()["predictions"]
        assert sum(a == f"digit {b}" for a, b in zip(said, labels, strict=True)) / len(labels) >= 0.95


def test_one_row_is_a_batch_too(url: str) -> None:
    rows, _ = held_out()
    assert len(ask(url, {"inputs": rows[:1]}).json()["predictions"]) == 1


@pytest.mark.parametrize("flat", [True, False])
def test_the_open_inference_protocol_answers_the_same(url: str, flat: bool) -> None:
    rows = held_out()[0][:5]
    data = [value for row in rows for value in row] if flat else rows
    tensor = {"name": "rows", "shape": [5, 64], "datatype": "FP32", "data": data}
    answer = ask(url, {"id": "a1", "inputs": [tensor]}, "/v2/models/digits/infer").json()
    (output,) = answer["outputs"]
    assert answer["id"] == "a1"
    assert (output["shape"], output["datatype"]) == ([5], "BYTES")
    assert output["data"] == ask(url, {"inputs": rows}).json()["predictions"]


def test_readiness_health_and_metadata(url: str) -> None:
    for path in ("/health", "/ready", "/v2/health/live", "/v2/health/ready", "/v2/models/digits/ready"):
        assert httpx.get(url + path).status_code == 200, path
    assert httpx.get(url + "/v2/models/digits").json()["inputs"][0]["shape"] == [-1, 64]
    assert httpx.get(url + "/v2/models/letters").status_code == 404
    assert httpx.get(url + "/invocations").status_code == 405


BAD = [
    ({"inputs": [[1.0] * 63]}, "every row has shape [64]"),
    ({"inputs": [1.0] * 64}, "every row has shape [64]"),
    ({"inputs": [[1.0] * 64, [1.0]]}, "every row has shape [64]"),
    ({"inputs": [["seven"] * 64]}, "numbers"),
    ({"inputs": [[None] * 64]}, "numbers"),
    ({"inputs": [[1e300] * 64]}, "finite"),
    ({"inputs": []}, "at least one"),
    ({"inputs": "rows"}, "at least one"),
    ({"rows": []}, "`inputs`"),
    ([1, 2], "one JSON object"),
]


@pytest.mark.parametrize(("body", "rule"), BAD)
def test_bad_rows_are_told_the_rule(url: str, body: Any, rule: str) -> None:
    answer = ask(url, body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert rule in error["message"]
    assert error["next_step"]


def test_errors_are_in_the_readers_language(url: str) -> None:
    error = ask(url, {"inputs": [[1.0]]}, **{"accept-language": "ko-KR"}).json()["error"]
    assert "예측할 수 없습니다" in error["message"]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["inputs", "a"]), inner, max_size=2)
    ),
    max_leaves=8,
)
TENSOR = st.fixed_dictionaries({}, optional={"name": JUNK, "shape": JUNK, "data": JUNK, "datatype": JUNK})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JUNK | st.fixed_dictionaries({"inputs": JUNK | st.lists(TENSOR, max_size=2)}))
def test_junk_is_never_a_server_error(url: str, body: Any) -> None:
    for path in ("/invocations", "/v2/models/digits/infer"):
        assert ask(url, body, path).status_code < 500


@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=200) | st.just(b"[" * 100_000) | st.just(b'{"inputs": [[1e999]]}'))
def test_bytes_are_never_a_server_error(url: str, content: bytes) -> None:
    assert 400 <= httpx.post(url + "/invocations", content=content, timeout=30).status_code < 500


def models() -> dict[str, tuple[Any, Any]]:
    """Models of kinds that people train, each with rows."""
    import torch
    from torch import nn

    torch.manual_seed(0)

    class Casts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(4, 2)

        def forward(self, rows: Any) -> Any:
            return self.out(rows.float())

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.out = nn.Embedding(10, 4), nn.Linear(4, 2)

        def forward(self, rows: Any) -> Any:
            return self.out(self.words(rows).mean(1))

    class Course(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.course, self.out = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, rows: Any) -> Any:
            return self.out(self.course(rows)[0][:, -1])

    counts = torch.arange(20).reshape(4, 5) % 10
    return {
        "float()": (Casts(), counts[:, :4]),
        "embedding": (Words(), counts),
        "lstm": (Course(), torch.randn(4, 5, 3)),
    }


@pytest.mark.parametrize("kind", ["float()", "embedding", "lstm"])
def test_models_that_people_train_are_served_and_right(kind: str, tmp_path: Path) -> None:
    import torch

    from dure.saving import save

    module, rows = models()[kind]
    saved = save(module, rows, tmp_path / "model", classes=None, name="model", run_id=None)
    served = Model(saved, "m", "1")
    with torch.no_grad():
        right = module(rows)
    for some in (slice(0, 1), slice(0, 4)):
        assert torch.allclose(torch.tensor(served.predict(rows[some].tolist())), right[some].cpu(), atol=1e-4)


def test_only_operators_are_looked_up() -> None:
    for good in (
        "torch.ops.aten._assert_tensor_metadata.default",
        "torch.ops.aten._softmax.default",
        "torch.ops.aten.relu.default",
        "torch.ops.higher_order.cond",
        "torch.sym_max",
        "_operator.add",
    ):
        assert TARGET.fullmatch(good), good
    for bad in (
        "torch.ops.aten._dir",
        "torch.ops.aten._dir.append",
        "torch.ops.aten._assert_tensor_metadata",
        "torch.ops.aten.__class__",
        "torch.ops.aten.__class__.mro",
        "torch.ops.aten.relu.__class__",
        "torch.ops.aten.relu._op",
        "torch.ops.aten._relu._op",
        "torch.ops.aten.relu.default.__class__",
        "torch.ops.load_library",
        "torch.ops._dir.a.b",
        "torch.hub.load",
        "torch.load",
        "torch._C._jit_exec",
        "_operator.attrgetter",
        "math.__loader__",
        "os.system",
    ):
        assert not TARGET.fullmatch(bad), bad


def test_shape_expressions_are_read_in_one_go() -> None:
    for good in ("s31", "2*s0 + 1", "Symbol('s77', integer=True, positive=True)", "Max(1, floor(s1/2))", ""):
        assert EXPRESSION.fullmatch(good), good
    # With a pattern that tries every way to cut these, each would take longer than the world has been there.
    for bad in ("A" * 5000 + "$", "1" * 5000 + "$", "s1" * 5000 + "$", "'a'" * 5000 + "$", "a " * 5000 + "$"):
        assert not EXPRESSION.fullmatch(bad), bad[:10]
    for bad in ("open('x')", "A.__class__", "1\nA__class__", "().x"):
        assert not EXPRESSION.fullmatch(bad), bad


class Load(threading.Thread):
    """One caller with a kept connection. A refused connection is no loss: the server had left by then."""

    def __init__(self, url: str, rows: list[list[float]]) -> None:
        super().__init__()
        self.url, self.rows = url, rows
        self.answered, self.lost = 0, []  # type: tuple[int, list[str]]
        self.gone = False

    def run(self) -> None:
        """Ask until nothing listens any more."""
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not self.gone:
                try:
                    answer = client.post("/invocations", json={"inputs": self.rows})
                except httpx.ConnectError:
                    self.gone = True
                except httpx.TransportError as error:
                    self.lost.append(repr(error))
                else:
                    self.answered += answer.status_code == 200
                    if answer.status_code != 200:
                        self.lost.append(answer.text)


def test_a_server_that_ends_under_load_loses_nothing(folder: Path, tmp_path: Path) -> None:
    rows = held_out()[0]
    with model_server(folder, tmp_path / "log") as (url, process):
        callers = [Load(url, rows[:20]) for _ in range(8)]
        for caller in callers:
            caller.start()
        while sum(caller.answered for caller in callers) < 200:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=30)
        for caller in callers:
            caller.join(timeout=30)
    assert [lost for caller in callers for lost in caller.lost] == []
    assert code == 0


def test_while_it_drains_it_is_not_ready_and_still_answers(folder: Path, tmp_path: Path) -> None:
    rows = held_out()[0]
    with model_server(folder, tmp_path / "log") as (url, process), httpx.Client(base_url=url) as client:
        process.send_signal(signal.SIGTERM)
        while client.get("/ready").status_code == 200:
            pass
        answer = client.post("/invocations", json={"inputs": rows[:3]})
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a while")
def test_it_ends_well_also_where_the_kernel_lets_root_alone_filter_packets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.seteuid(65534)
        try:
            take_no_more(listener)
        finally:
            os.seteuid(0)


def test_a_folder_that_is_no_model_is_refused_with_a_sentence(tmp_path: Path) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "dure.server", "--model", str(tmp_path), "--port", "1", "--name", "a"]
    done = subprocess.run([*command, "--version", "1"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "no readable MLmodel" in done.stderr
    assert "Traceback" not in done.stderr


class Evil:
    """Touches a file when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("/nonexistent/evil", "w"))


def spoil(source: Path, target: Path, record: str, content: bytes) -> Path:
    """A copy of an archive with one record replaced or added."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        root = old.namelist()[0].split("/")[0]
        for name in old.namelist():
            if name != f"{root}/{record}":
                new.writestr(name, old.read(name))
        new.writestr(f"{root}/{record}", content)
    return target


def test_an_archive_that_could_run_code_is_refused(folder: Path, tmp_path: Path) -> None:
    import pickle

    import torch

    good = folder / "data" / "model.pt2"
    check(good)
    graph = zipfile.ZipFile(good).read("model/models/model.json").decode()
    pickled = io.BytesIO()
    torch.save(Evil(), pickled)
    crafted = {
        "data/sample_inputs/model.pt": pickled.getvalue(),
        "data/constants/opaque_obj_0": pickle.dumps(Evil()),
        "data/aotinductor/model/code.so": b"\x7fELF",
        "models/model.json": graph.replace("torch.ops.aten.relu.default", "torch.hub.load").encode(),
        "models/second.json": graph.replace("torch.ops.aten.relu.default", "torch.ops.aten._dir.append").encode(),
        "models/third.json": graph.replace('"as_tensor"', '"as_operator": "torch.hub.load", "as_tensor"').encode(),
        "models/other.json": graph.replace("positive=True", "positive=open('x')").encode(),
    }
    for number, (record, content) in enumerate(crafted.items()):
        spoiled = spoil(good, tmp_path / f"{number}.pt2", record, content)
        with pytest.raises(BadModelFolder, match="could run code"):
            check(spoiled)


@pytest.mark.parametrize(
    ("path", "entries"),
    [
        ("weight_0", [("weight_0", False), ("weight_0", True)]),
        ("weight_0", [("weight_0", True)]),
        ("weight_0", [("weight_0", None)]),
        ("weight_m.pt", [("weight_m.pt", False)]),
        ("opaque_obj_0", [("opaque_obj_0", False)]),
        ("weight_0", "not an object"),
    ],
)
def test_no_entry_makes_a_pickle_pass_for_a_tensor(
    folder: Path, tmp_path: Path, path: str, entries: list[tuple[str, bool | None]] | str
) -> None:
    import torch

    pickled = io.BytesIO()
    torch.save(Evil(), pickled)
    config = {
        f"w{number}": {"path_name": name} | ({} if pickle is None else {"use_pickle": pickle})
        for number, (name, pickle) in enumerate(entries if isinstance(entries, list) else ())
    }
    listed = json.dumps({"config": config or entries}).encode()
    spoiled = spoil(
        folder / "data" / "model.pt2", tmp_path / "1.pt2", "data/weights/model_weights_config.json", listed
    )
    spoiled = spoil(spoiled, tmp_path / "2.pt2", f"data/weights/{path}", pickled.getvalue())
    with pytest.raises(BadModelFolder, match="could run code"):
        check(spoiled)


def test_a_second_folder_in_an_archive_is_refused(folder: Path, tmp_path: Path) -> None:
    spoiled = spoil(folder / "data" / "model.pt2", tmp_path / "1.pt2", "version", b"1")
    with zipfile.ZipFile(spoiled, "a") as archive:
        archive.writestr("other/data/weights/weight_0", b"")
    with pytest.raises(BadModelFolder, match="one folder"):
        check(spoiled)

"""Our MLflow client against the real MLflow, on its socket, with the rights people have there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dure.errors import NotAllowed, NotFound, NotReady
from dure_hub.mlflowapi import PREFIX, MlflowApi, MlflowRefused, MlflowSession, header_name, mapping
from dure_hub.operations.models import Models
from dure_hub.operations.people import Person
from dure_hub.settings import Settings
from dure_hub.store import Store, system_clock
from tests.support.mlflow import mlflow_settings, raw, running_mlflow, save_model

# httpcore 1.0 leaves the socket of a refused Unix connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A real MLflow server in its own process."""
    with running_mlflow(mlflow_settings(tmp_path_factory.mktemp("mlflow"))) as settings:
        yield settings


@pytest.fixture
async def api(server: Settings) -> AsyncIterator[MlflowApi]:
    """The client under test."""
    made = MlflowApi(server)
    yield made
    await made.close()


async def finished_run(settings: Settings, ann: MlflowSession, files: dict[str, bytes]) -> tuple[str, str]:
    """A run of ann's with a metric and a saved model: its id and the model's."""
    experiment = await ann.experiment("ann/default")
    run_id = await ann.create_run(experiment, "digits", {"dure.job_id": "J1", "mlflow.user": "ann"}, 1000)
    with raw(settings, "ann") as client:
        body = {"run_id": run_id, "key": "accuracy", "value": 0.97, "timestamp": 1500}
        assert client.post(f"{PREFIX}/api/2.0/mlflow/runs/log-metric", json=body).status_code == 200
    model_id = save_model(settings, "ann", experiment, run_id, files)
    await ann.end_run(run_id, "FINISHED", 2000)
    return run_id, model_id


async def test_a_run_is_made_found_again_and_ended(server: Settings, api: MlflowApi) -> None:
    ann = api.acting("ann")
    run_id, model_id = await finished_run(server, ann, {"MLmodel": b"flavors: {}"})
    experiment = await ann.experiment("ann/default")
    assert await ann.find_run(experiment, "dure.job_id", "none") is None
    assert await ann.find_run(experiment, "dure.job_id", "J1") is not None
    run = await ann.run(run_id)
    assert (run.status, run.metrics, run.models) == ("FINISHED", {"accuracy": 0.97}, (model_id,))
    assert run.tags["mlflow.user"] == "ann"


async def test_many_at_once_make_one_experiment(api: MlflowApi) -> None:
    ann = api.acting("ann")
    for number in range(3):
        found = await asyncio.gather(*(ann.experiment(f"ann/at once {number}") for _ in range(8)))
        assert len(set(found)) == 1


async def test_many_at_once_make_one_model(api: MlflowApi) -> None:
    people = [api.acting("ann"), api.acting("ben")] * 4
    for number in range(3):
        name = f"at once {number}"
        found = await asyncio.gather(*(one.ensure_model(name, {"dure.owner": one.user}) for one in people))
        assert {model["name"] for model in found} == {name}
        assert len({mapping(model["tags"])["dure.owner"] for model in found}) == 1, "all see whose it became"


async def test_a_version_is_registered_named_and_downloaded(
    server: Settings, api: MlflowApi, tmp_path: Path
) -> None:
    ann = api.acting("ann")
    files = {"MLmodel": b"flavors: {}", "data/model.pt2": b"\x00weights", "data/a name with 공백.txt": b"x"}
    run_id, model_id = await finished_run(server, ann, files)
    await ann.ensure_model("digits", {"dure.owner": "ann"})
    await ann.ensure_model("digits", {"dure.owner": "ann"})
    made = await ann.create_version("digits", model_id, run_id, {"dure.job": "digits"})
    version = int(made["version"])
    assert [int(v["version"]) for v in await ann.versions("digits", run_id)] == [version]
    await ann.set_alias("digits", "champion", version)
    assert (await ann.version("digits", version))["aliases"] == ["champion"]
    await ann.delete_alias("digits", "champion")
    await ann.delete_alias("digits", "champion")
    assert [m["name"] for m in await ann.models() if not m["name"].startswith("at once")] == ["digits"]

    folder = await ann.download("digits", version, tmp_path / "digits" / "1")
    assert {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == files
    assert [p.name for p in folder.parent.iterdir()] == ["1"], "nothing half-made stays beside it"
    (folder / "mark").write_text("kept")
    assert await ann.download("digits", version, folder) == folder
    assert (folder / "mark").exists()


@pytest.mark.parametrize("name", ["김민수", "o'brien"])
async def test_the_portal_and_envoy_are_one_person_to_mlflow(server: Settings, api: MlflowApi, name: str) -> None:
    person = api.acting(name)
    run_id = await person.create_run(await person.experiment(f"{name}/default"), "theirs", {}, 1000)
    with raw(server, header_name(name)) as client:  # as Envoy sends it, with the name from the check
        tag = {"run_id": run_id, "key": "note", "value": "mine"}
        assert client.post(f"{PREFIX}/api/2.0/mlflow/runs/set-tag", json=tag).status_code == 200
    assert (await person.run(run_id)).tags["note"] == "mine"


async def test_the_list_of_models_asks_for_metrics_only_where_somebody_sees_them(
    server: Settings, api: MlflowApi, tmp_path: Path
) -> None:
    ann = api.acting("ann")
    run_id, model_id = await finished_run(server, ann, {"MLmodel": b"x"})
    await ann.ensure_model("seen", {"dure.owner": "ann"})
    await ann.create_version("seen", model_id, run_id, {"dure.owner": "ann"})
    store = Store(f"sqlite:///{tmp_path / 'dure.sqlite'}")
    try:
        models = Models(store, system_clock(), api)
        found = {model.name: model for model in await models.list(Person("ben"))}
        assert (found["seen"].metrics, found["seen"].owner) == ({"accuracy": 0.97}, "ann")
        found = {model.name: model for model in await models.list(Person("ben"), metrics=False)}
        assert (found["seen"].metrics, found["seen"].owner) == ({}, "ann")
    finally:
        store.close()


async def test_others_read_and_do_not_write(server: Settings, api: MlflowApi) -> None:
    ann, ben, admin = api.acting("ann"), api.acting("ben"), api.acting("root-of-it", admin=True)
    run_id, model_id = await finished_run(server, ann, {"MLmodel": b"x"})
    await ann.ensure_model("anns", {})
    version = int((await ann.create_version("anns", model_id, run_id, {}))["version"])
    assert (await ben.run(run_id)).metrics == {"accuracy": 0.97}
    assert (await ben.versions("anns"))[0]["run_id"] == run_id
    with pytest.raises(NotAllowed):
        await ben.end_run(run_id, "KILLED", 3000)
    with pytest.raises(NotAllowed):
        await ben.create_version("anns", model_id, run_id, {})
    with pytest.raises(NotAllowed):
        await ben.set_alias("anns", "champion", version)
    await admin.set_alias("anns", "champion", version)


async def test_a_missing_thing_is_not_found_and_a_bad_one_is_refused(api: MlflowApi, tmp_path: Path) -> None:
    ann = api.acting("ann")
    with pytest.raises(NotFound):
        await ann.model("nothing")
    with pytest.raises(NotFound):
        await ann.version("nothing", 3)
    with pytest.raises(NotFound):
        await ann.run("0" * 32)
    with pytest.raises(NotFound):
        await ann.download("nothing", 1, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(MlflowRefused):
        await ann.experiment("x" * 5000)


async def test_an_absent_mlflow_is_not_ready(tmp_path: Path) -> None:
    api = MlflowApi(Settings.model_validate({"data": tmp_path}))
    with pytest.raises(NotReady, match="MLflow does not answer"):
        await api.acting("ann").models()
    await api.close()

"""What `dure doctor` says of a cluster: whether it answers, what the portal may do there, and what servers need.

It asks as the portal does, with the portal's own account, and makes nothing: what an API server would make of a
pod or of a home it says in a dry run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from dure.errors import DureError
from dure.errors import reader_language as language
from dure.wire.ids import new_id
from dure_hub.backends.base import Device, Inventory, ServerWork
from dure_hub.backends.chosen import Backends
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.errors import ClusterAway, ClusterRefused, PrometheusAway
from dure_hub.backends.kubernetes.kueue import API as KUEUE
from dure_hub.backends.kubernetes.pods import make_home_claim, make_pod
from dure_hub.backends.kubernetes.prometheus import Prometheus
from dure_hub.backends.kubernetes.rights import Right, lacking, needed, needed_for_kueue
from dure_hub.backends.kubernetes.specs import server_spec
from dure_hub.catalogue import gpus
from dure_hub.commands.clusterwords import WORDS
from dure_hub.commands.findings import BAD, LIMITED, OK, Finding
from dure_hub.queue_book import QueueBook
from dure_hub.settings import Settings, load_settings
from dure_hub.spawners import options
from dure_hub.store import Store, database_url

SHOWN = 5
"""Names of a list that are shown."""
PULLED_BY = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg")


class Seen(NamedTuple):
    """What was found, and the inventory where it could be looked at."""

    findings: list[Finding]
    inventory: Inventory | None


async def examine(settings: Settings, backends: Backends) -> Seen:
    """All of it. An API server that does not answer is a finding, and ends nothing else."""
    cluster, found = backends.cluster, list(_options(settings))
    if cluster is None:  # no portal of these settings has one
        return Seen(found, None)
    try:
        version = str(((await cluster.get("/version")) or {}).get("gitVersion", "?"))
        missing = await lacking(cluster, needed(settings))
    except DureError as error:
        return Seen([_of(error, "cluster", BAD), *found], None)
    try:
        seen = None if any(not one.namespace for one in missing) else await backends.inventory.look()
        told = [one async for one in _looks(settings, cluster, missing, seen)]
    except ClusterAway as error:
        return Seen([_of(error, "cluster", BAD), *found], None)
    key = "cluster_unseen" if seen is None else "cluster"
    first = Finding("cluster", OK, _word(key, version=version, nodes=len(seen.nodes) if seen else 0))
    return Seen([first, *(_gpus(seen) if seen else ()), *told, *found], seen)


async def _looks(
    settings: Settings, cluster: Cluster, missing: Sequence[Right], seen: Inventory | None
) -> AsyncIterator[Finding]:
    for one in _rights(missing):
        yield one
    async for one in _namespaces(settings, cluster):
        yield one
    if not any(one.namespace == settings.namespace_dev for one in missing):
        yield await _server_pod(settings, cluster)
        yield await _home(settings, cluster)
        async for one in _pull_secrets(settings, cluster):
            yield one
    for one in await _prometheus(settings, has_gpus=bool(seen and seen.devices)):
        yield one
    async for one in _kueue(settings, cluster):
        yield one


def _gpus(seen: Inventory) -> Iterator[Finding]:
    """By model, since a cluster may have ten thousand."""
    if not seen.devices:
        why = seen.why_no_gpu or {"en": "?"}
        yield Finding("gpu", LIMITED, why.get(language(), why["en"]), _word("no_gpu_todo"))
        return
    for name in sorted({device.name for device in seen.devices}):
        yield _model([device for device in seen.devices if device.name == name])
    instances = Counter(one.profile for device in seen.devices for one in device.instances if one.profile)
    if instances:
        listed = ", ".join(f"{name} ×{count}" for name, count in sorted(instances.items()))
        yield Finding("mig", OK, _word("instances", list=listed))
    drivers = sorted({device.driver for device in seen.devices if device.driver})
    yield Finding("driver", OK, ", ".join(drivers) or "?")


def _model(devices: Sequence[Device]) -> Finding:
    nodes = len({device.node for device in devices})
    text, known = _word("gpus", name=devices[0].name, count=len(devices), nodes=nodes), devices[0].key
    closed = Counter(device.health.get(language(), device.health["en"]) for device in devices if device.health)
    for why, count in closed.items():
        text += _word("gpus_closed", count=count, why=why)
    if not (known and gpus.by_key(known)):
        return Finding("gpu", LIMITED, text + _word("gpus_no_price"))
    return Finding("gpu", LIMITED if closed else OK, text)


def _rights(missing: Sequence[Right]) -> Iterator[Finding]:
    """One line for what it may not do with one kind of object in one place."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for one in missing:
        grouped.setdefault((one.namespace, one.said), []).append(one.verb)
    for (namespace, what), verbs in grouped.items():
        where = _word("in_one", namespace=namespace) if namespace else _word("everywhere")
        text = _word("rights_missing", verbs=", ".join(verbs), what=what, where=where)
        yield Finding("rights", BAD, text, _word("rights_todo"))
    if not grouped:
        yield Finding("rights", OK, _word("rights"))


async def _namespaces(settings: Settings, cluster: Cluster) -> AsyncIterator[Finding]:
    """Only those that are known not to be there: most accounts may not look, and rights say as much."""
    for name in ("namespace_dev", "namespace_training", "namespace_serving"):
        try:
            found = await cluster.get(f"/api/v1/namespaces/{getattr(settings, name)}")
        except ClusterRefused:
            continue
        if found is None:
            text = _word("namespace_missing", name=getattr(settings, name))
            yield Finding("namespace", BAD, text, _word("namespace_todo", setting=name))


async def _server_pod(settings: Settings, cluster: Cluster) -> Finding:
    """A small server's, without what `kubespawner` adds."""
    work = ServerWork(lease=new_id(), owner="doctor", folder=Path("/"), environment={}, cores=0.1, memory_mb=256)
    body, namespace = make_pod(server_spec(settings, work)), settings.namespace_dev
    try:
        await cluster.answer(f"/api/v1/namespaces/{namespace}/pods", body, dry=True)
    except ClusterRefused as error:
        why = str(error.facts["why"])
        state = LIMITED if "exceeded quota" in why else BAD
        return Finding("server_pod", state, _word("pod_refused", namespace=namespace, why=why), _word("pod_todo"))
    return Finding("server_pod", OK, _word("pod_fine", namespace=namespace))


async def _home(settings: Settings, cluster: Cluster) -> Finding:
    """Which StorageClass makes it: where none is named, the API server puts its default into the claim."""
    size, named = settings.home_size_gb, settings.storage_class
    if not size:
        return Finding("home", OK, _word("home_none"))
    where, access = settings.namespace_dev, settings.home_access
    claim = make_home_claim(f"doctor-{new_id().lower()}", where, {}, size, named or None, access)
    try:
        made = await cluster.answer(f"/api/v1/namespaces/{where}/persistentvolumeclaims", claim, dry=True)
    except ClusterRefused as error:
        return Finding("home", BAD, _word("home_refused", why=error.facts["why"]), _word("home_todo"))
    default = made["spec"].get("storageClassName")
    if not default:
        return Finding("home", LIMITED, _word("home_no_default"), _word("home_todo"))
    if not named:
        return Finding("home", OK, _word("home_default", size=size, name=default))
    try:
        found = await cluster.get(f"/apis/storage.k8s.io/v1/storageclasses/{named}")
    except ClusterRefused:
        return Finding("home", OK, _word("home_unknown", size=size, name=named))
    if found is None:
        return Finding("home", BAD, _word("home_no_class", name=named), _word("home_todo"))
    return Finding("home", OK, _word("home_named", size=size, name=named))


async def _pull_secrets(settings: Settings, cluster: Cluster) -> AsyncIterator[Finding]:
    namespace = settings.namespace_dev
    for name in settings.image_pull_secrets:
        found = await cluster.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        facts, todo = (
            {"name": name, "namespace": namespace},
            _word("pull_secret_todo", name=name, namespace=namespace),
        )
        if found is None:
            yield Finding("pull_secret", LIMITED, _word("pull_secret_missing", **facts), todo)
        elif found.get("type") not in PULLED_BY:
            text = _word("pull_secret_kind", **facts, kind=found.get("type"))
            yield Finding("pull_secret", LIMITED, text, todo)
        else:
            yield Finding("pull_secret", OK, _word("pull_secret", **facts))


async def _prometheus(settings: Settings, *, has_gpus: bool) -> list[Finding]:
    url = settings.prometheus_url
    if not url:
        text, todo = _word("prometheus_none"), _word("prometheus_none_todo")
        return [Finding("prometheus", LIMITED, text, todo)] if has_gpus else []
    try:
        found = await Prometheus(url, settings.prometheus_token_file).ask()
    except PrometheusAway as error:
        return [_of(error, "prometheus", LIMITED)]
    if not found:
        return [Finding("prometheus", LIMITED, _word("prometheus_empty", url=url), _word("prometheus_empty_todo"))]
    return [Finding("prometheus", OK, _word("prometheus", url=url, count=len(found)))]


async def _kueue(settings: Settings, cluster: Cluster) -> AsyncIterator[Finding]:
    if await cluster.get(KUEUE) is None:
        yield Finding("kueue", OK, _word("kueue_none"))
        return
    missing = await lacking(cluster, needed_for_kueue(settings))
    for one in _rights(missing) if missing else ():
        yield Finding("rights", LIMITED, one.text, one.to_do)
    yield await _drift(settings, cluster)


async def _drift(settings: Settings, cluster: Cluster) -> Finding:
    """Against the quotas in the portal's database, where a portal has been."""
    todo = _word("kueue_todo")
    if not settings.folder.resolved.exists():
        return Finding("kueue", OK, _word("kueue_unused"))
    store = None
    try:
        settings = settings.model_copy(update={"instance": load_settings(settings.folder.root).instance})
        store = Store(database_url(settings))
        store.check_revision()
        found = await QueueBook(settings, store, cluster).drift()
    except (DureError, ValueError, OSError, SQLAlchemyError) as error:
        why = error.text(language()) if isinstance(error, DureError) else type(error).__name__
        return Finding("kueue", LIMITED, _word("kueue_unknown", why=why), todo)
    finally:
        if store is not None:
            store.close()
    if found is None:
        return Finding("kueue", OK, _word("kueue_unused"))
    if not found.all:
        return Finding("kueue", OK, _word("kueue_fine"))
    names = [at.rpartition("/")[2] for at in found.all]
    shown = ", ".join([*names[:SHOWN], *(["…"] if len(names) > SHOWN else [])])
    return Finding("kueue", LIMITED, _word("kueue_drift", count=len(names), names=shown), todo)


def _options(settings: Settings) -> Iterator[Finding]:
    """What `kubespawner` says: what cannot be meant, what counts, and what does not."""
    given = settings.kubespawner
    try:
        options.check(given)
    except options.BadOption as error:
        yield _of(error, "kubespawner", BAD)
        return
    idle = options.without_effect(given)
    if idle:
        text = _word("options_idle", names=", ".join(idle))
        yield Finding("kubespawner", LIMITED, text, _word("options_todo"))
    elif given:
        yield Finding("kubespawner", OK, _word("options_fine", names=", ".join(sorted(given))))


def _of(error: DureError, topic: str, state: str) -> Finding:
    return Finding(topic, state, error.text(language()), error.advice(language()))


def _word(key: str, **facts: object) -> str:
    return WORDS[key][language() == "ko"].format(**facts)

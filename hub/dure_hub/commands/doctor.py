"""`dure doctor`: what this machine has, which features are limited here, why, and what to do. Needs no portal."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import importlib.metadata
import json
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dure.errors import DureError
from dure.errors import reader_language as language
from dure_hub.backends.base import Device, Feature, Inventory
from dure_hub.catalogue import gpus
from dure_hub.catalogue.rates import BadRates
from dure_hub.commands import clusterwords, gpucheck, reachcheck
from dure_hub.commands.findings import BAD, LIMITED, OK, Finding
from dure_hub.isolation import ground, shared
from dure_hub.operations import live_profiles
from dure_hub.policies.naming import person_label
from dure_hub.settings import Settings
from dure_hub.store.clock import system_clock
from dure_hub.supervisor import checks, lock, prepare

if TYPE_CHECKING:
    from dure_hub.backends.chosen import Backends

_RESOLVING_S = 5.0
SIGNS = {OK: "+", LIMITED: "~", BAD: "!"}
NAMES: Mapping[str, tuple[str, str]] = {
    "gpu": ("GPU", "GPU"),
    "driver": ("driver", "드라이버"),
    "mig": ("MIG", "MIG"),
    "kernel": ("kernel", "커널"),
    "cpu": ("CPU", "CPU"),
    "memory": ("memory", "메모리"),
    "disk": ("disk", "디스크"),
    "rates": ("rates", "요금표"),
    "profiles": ("profiles", "프로필"),
    "port": ("port", "포트"),
    "encryption": ("encryption", "암호화"),
    "certificate": ("certificate", "인증서"),
    "hosts": ("hosts", "호스트"),
    "isolation": ("isolation", "격리"),
    "shared": ("shared folder", "공유 폴더"),
    "python": ("Python", "파이썬"),
    "torch": ("PyTorch", "PyTorch"),
    "memory_limit": ("memory limit", "메모리 제한"),
    "cpu_limit": ("CPU limit", "CPU 제한"),
    "user_isolation": ("isolation", "격리"),
    "gpu_sharing": ("GPU sharing", "GPU 공유"),
    "training": ("training", "학습"),
    "serving": ("serving", "서빙"),
    "multi_node": ("several machines", "여러 머신"),
    "schedules": ("schedules", "예약 실행"),
    "own_tmp": ("own /tmp", "개별 /tmp"),
    "own_python": ("own packages", "개인 패키지"),
    "shared_folders": ("shared folders", "공유 폴더"),
    "volumes": ("volumes", "볼륨"),
    "container_images": ("container images", "컨테이너 이미지"),
    **clusterwords.NAMES,
}
TO_DO: Mapping[Feature, tuple[str, str]] = {
    Feature.GPU: (
        "Install NVIDIA's driver and start the portal again; until then it offers CPU profiles.",
        "NVIDIA 드라이버를 설치하고 포털을 다시 시작하세요. 그동안은 CPU 프로필을 제공합니다.",
    ),
    Feature.USER_ISOLATION: (
        "Give accounts only to people who may see each other's files.",
        "서로의 파일을 보아도 되는 사람에게만 계정을 주세요.",
    ),
    Feature.MEMORY_LIMIT: ("Choose profiles with room to spare.", "여유 있는 프로필을 고르세요."),
    Feature.CPU_LIMIT: ("Lower DURE_CPU_OVERCOMMIT if it gets slow.", "느려지면 DURE_CPU_OVERCOMMIT을 낮추세요."),
}
WORDS = {
    "cores": ("{cores} cores", "코어 {cores}개"),
    "memory": ("{total} MiB for all", "전체 {total} MiB"),
    "free_disk": (
        "{free} MiB free at {folder} ({kind}); `up` wants {needed} MiB",
        "{folder}에 {free} MiB 남음({kind}). 시작에 필요한 양: {needed} MiB",
    ),
    "port_free": ("{host}:{port} is free", "{host}:{port} 사용 가능"),
    "port_ours": ("{host}:{port} is this portal's", "{host}:{port}은(는) 이 포털이 사용 중"),
    "hosts_found": (
        "{shared} and *.{shared} are found: each person's servers have a host of their own",
        "{shared}와 *.{shared}의 주소를 찾았습니다. 서버마다 사람별 호스트를 씁니다",
    ),
    "hosts_missing": (
        "no address is found for {name}: people's servers do not open there",
        "{name}의 주소를 찾을 수 없습니다. 그 주소에서는 서버가 열리지 않습니다",
    ),
    "hosts_todo": (
        "Add DNS records for {shared} and *.{shared} (a wildcard) that lead to this machine or the proxy in front "
        "of it; with https, a certificate for both.",
        "이 머신이나 앞단 프록시를 가리키는 {shared}와 *.{shared}(와일드카드) DNS 레코드를 추가하세요. "
        "https를 쓰면 둘 다에 맞는 인증서도 필요합니다.",
    ),
    "apart": (
        "each person is an operating-system user of their own",
        "사람마다 운영체제 사용자가 따로 있습니다",
    ),
    "pods": ("each server is a pod of its own", "서버마다 파드가 따로 있습니다"),
    "together": (
        "one trusting team: everybody's servers run as {user}, since {why}",
        "서로 신뢰하는 한 팀: 모든 서버가 {user}(으)로 실행됩니다. 이유: {why}",
    ),
    "shared_by_trust": (
        "{name}: nothing keeps people from writing into it, or other teams from it; here all are one user",
        "{name}: 읽기 전용이나 팀 제한이 강제되지 않습니다. 여기서는 모두가 한 사용자입니다",
    ),
    "shared_written": (
        "{name}: nothing keeps people from writing into it but its own rights; this kernel allows no mounts",
        "{name}: 폴더 권한 외에는 쓰기를 막지 못합니다. 이 커널에서는 읽기 전용 마운트를 쓸 수 없습니다",
    ),
    "shared_no_acls": (
        "{name}: the file system keeps no ACLs, so new files there are their owner's alone",
        "{name}: 파일 시스템이 ACL을 지원하지 않아 새 파일은 만든 사람만 볼 수 있습니다",
    ),
    "shared": ("{name}: {path}", "{name}: {path}"),
    "no_torch": ("not installed", "설치되지 않음"),
    "model": (
        "{architecture}, compute capability {capability}, {sms} SMs",
        "{architecture}, 연산 능력 {capability}, SM {sms}개",
    ),
    "no_model": (
        "not in the catalogue (PCI device {number}), so without a price",
        "카탈로그에 없어(PCI 장치 {number}) 요금을 알 수 없음",
    ),
    "mig_on": ("on", "켜짐"),
    "mig_off": ("off", "꺼짐"),
    "unknown": ("unknown", "알 수 없음"),
    "simulated": (
        "simulated ({fleet}): {count} GPUs on {nodes} nodes, none of them real",
        "시뮬레이션({fleet}): 노드 {nodes}개에 GPU {count}개, 실제 GPU가 아닙니다",
    ),
    "title": ("What this machine has", "이 머신의 구성"),
    "title_cluster": ("What this cluster has for the portal", "이 클러스터가 포털에 제공하는 것"),
    "limits": ("What is limited here, and why", "제한되는 기능과 이유"),
    "nothing": ("Nothing.", "없습니다."),
    "legend_cluster": (
        "+ fine   ~ limited   ! in the way of people's servers",
        "+ 정상   ~ 제한   ! 서버 시작을 막음",
    ),
    "legend": ("+ fine   ~ limited   ! in the way of `dure up`", "+ 정상   ~ 제한   ! `dure up`을 막음"),
}


def run(arguments: argparse.Namespace) -> int:
    """0 when nothing stands in the way of `up`, 1 when something does."""
    settings = prepare.settle(data=arguments.data)
    machine, gaps = asyncio.run(examine(settings))
    if arguments.json:
        print(json.dumps({"machine": [asdict(f) for f in machine], "limits": [asdict(f) for f in gaps]}, indent=2))
    else:
        _print(machine, gaps, "_cluster" if settings.on_cluster else "")
    return 1 if any(found.state == BAD for found in machine) else 0


async def examine(settings: Settings) -> tuple[list[Finding], list[Finding]]:
    """The machine or cluster, and what is limited on it."""
    from dure_hub.backends.chosen import backends_of

    asked, why_one = settings, None if settings.on_cluster else ground.why_off(settings)
    accounts = "off" if why_one or settings.on_cluster else "on"
    settings = settings.model_copy(update={"system_accounts": accounts})
    backends = backends_of(settings, system_clock(settings.clock_file))
    try:
        place, seen = await _place(settings, backends)
        gaps = backends.gaps()
    finally:
        await backends.close()
    machine = [*place, *_sizes(settings, seen), *_rates(settings), *_profiles(settings)]
    machine += [*_port(settings), *_reach(settings), *await _hosts(settings)]
    if settings.on_cluster:
        machine += [Finding("isolation", OK, _word("pods")), _python()]
    else:
        machine += [*_shared(settings), _isolation(asked, why_one), _python(), _torch(), *await _kernels(seen)]
    limits = [
        Finding(str(feature), LIMITED, why.get(language(), why["en"]), _pick(TO_DO.get(feature)))
        for feature, why in gaps.items()
        if feature is not Feature.GPU  # the machine's own list says it already
    ]
    return machine, limits


async def _place(settings: Settings, backends: Backends) -> tuple[list[Finding], Inventory | None]:
    """What is there to run on; no inventory where it could not be looked at."""
    if settings.on_cluster:
        from dure_hub.commands import clustercheck  # with libraries that one machine has no need of

        return await clustercheck.examine(settings, backends)
    seen = await backends.inventory.look()
    return list(_gpus(seen, settings)), seen


def _gpus(seen: Inventory, settings: Settings) -> Iterator[Finding]:
    if seen.simulated:  # ten thousand lines would say no more
        facts = {"count": len(seen.devices), "nodes": len(seen.by_node())}
        yield Finding("gpu", LIMITED, _word("simulated", fleet=settings.simulated_fleet, **facts))
        return
    if not seen.devices:
        why = seen.why_no_gpu or {"en": WORDS["unknown"][0], "ko": WORDS["unknown"][1]}
        yield Finding("gpu", LIMITED, why.get(language(), why["en"]), _pick(TO_DO[Feature.GPU]))
        return
    for device in seen.devices:
        memory = f"{device.memory_mb} MiB" if device.memory_mb is not None else _word("unknown")
        text = f"{device.name}, {memory}, {_model(device)} ({device.uuid})"
        if device.health is None:
            yield Finding("gpu", OK, text)
        else:
            yield Finding("gpu", LIMITED, f"{text}: {device.health[language()]}")
    yield Finding("driver", OK, seen.devices[0].driver or _word("unknown"))
    modes = {None: "unknown", True: "mig_on", False: "mig_off"}
    yield Finding("mig", OK, ", ".join(sorted({_word(modes[device.mig_mode]) for device in seen.devices})))


async def _kernels(seen: Inventory | None) -> list[Finding]:
    """A real kernel on each GPU, one after the other; without a GPU the list says so already."""
    if seen is None or seen.simulated or not seen.devices:
        return []
    found = []
    for device in seen.devices:
        checked = await gpucheck.check(device)
        text = f"{device.name} ({device.uuid}): {_pick(checked.text)}"
        found.append(Finding("kernel", OK if checked.fine else LIMITED, text, _pick(checked.to_do)))
    return found


def _model(device: Device) -> str:
    """What the catalogue knows of it; else by which number to add it there."""
    model = gpus.by_key(device.key) if device.key else None
    if model is not None:
        return _word("model", architecture=model.architecture, capability=model.compute_capability, sms=model.sms)
    number = _word("unknown") if device.pci_device is None else f"{device.pci_device:#06x}"
    return _word("no_model", number=number)


def _sizes(settings: Settings, seen: Inventory | None) -> Iterator[Finding]:
    if seen is not None:
        yield Finding("cpu", OK, _word("cores", cores=seen.cpu_cores))
        yield Finding("memory", OK, _word("memory", total=seen.memory_mb))
    folder = _existing(settings.folder.db)
    kind = checks.file_system(folder)
    free = shutil.disk_usage(folder).free // 2**20
    bad = free < settings.disk_minimum_mb or kind in checks.NETWORK_KINDS
    text = _word("free_disk", free=free, folder=folder, kind=kind, needed=settings.disk_minimum_mb)
    yield Finding("disk", BAD if bad else OK, text)


def _rates(settings: Settings) -> Iterator[Finding]:
    """Only where the rate card is in the way."""
    try:
        checks.rates_usable(settings.folder)
    except BadRates as error:
        yield Finding("rates", BAD, error.text(language()), error.advice(language()))


def _profiles(settings: Settings) -> Iterator[Finding]:
    """Only where profiles.yaml is not what counts: in the way of `up` where nothing else is known."""
    problem = live_profiles.problem_of(settings.folder)
    if problem is not None:
        state = LIMITED if settings.folder.good_profiles.exists() else BAD
        yield Finding("profiles", state, problem.text(language()), problem.advice(language()))


def _port(settings: Settings) -> Iterator[Finding]:
    """Nothing where Envoy is elsewhere: nobody listens at the front port here."""
    if settings.xds_port:
        return
    host, port = settings.host, settings.port
    at = str(lock.holder(settings.folder.run).get("url", ""))
    if lock.is_held(settings.folder.run) and urlsplit(at).port == port:
        yield Finding("port", OK, _word("port_ours", host=host, port=port))
        return
    try:
        checks.port_free(host, port)
    except DureError as error:
        yield Finding("port", BAD, error.text(language()), error.advice(language()))
    else:
        yield Finding("port", OK, _word("port_free", host=host, port=port))


def _reach(settings: Settings) -> Iterator[Finding]:
    """The way to the front port: encrypted or not, and by what."""
    for found in reachcheck.check(settings, language(), datetime.now(UTC)):
        state = BAD if found.worst else OK if found.fine else LIMITED
        yield Finding(found.topic, state, found.text, found.to_do)


async def _hosts(settings: Settings) -> list[Finding]:
    """Only where people have hosts of their own: the names that must be found, and whether they are."""
    host = urlsplit(settings.subdomain_host).hostname
    if host is None:
        return []
    for name in (host, f"{person_label('doctor')}.{host}"):
        if not await _is_found(name):
            todo = _word("hosts_todo", shared=host)
            return [Finding("hosts", LIMITED, _word("hosts_missing", name=name), todo)]
    return [Finding("hosts", OK, _word("hosts_found", shared=host))]


async def _is_found(name: str) -> bool:
    try:
        async with asyncio.timeout(_RESOLVING_S):
            return bool(await asyncio.get_running_loop().getaddrinfo(name, None))
    except (OSError, TimeoutError):
        return False


def _isolation(settings: Settings, why: ground.Why | None) -> Finding:
    """Whether people are kept apart, and if not, why. Asked for and impossible, it is in the way of `up`."""
    if why is None:
        return Finding("isolation", OK, _word("apart"))
    state = BAD if settings.system_accounts == "on" else OK
    return Finding("isolation", state, _word("together", user=getpass.getuser(), why=why[language()]))


def _shared(settings: Settings) -> Iterator[Finding]:
    """Each shared folder: whether it can be given, and what of its rules is not enforced."""
    apart = settings.system_accounts == "on"
    for folder in settings.shared_folders:
        try:
            checks.shared_folder_fits(settings, folder)
        except DureError as error:
            yield Finding("shared", BAD, error.text(language()), error.advice(language()))
            continue
        if not apart and (folder.teams or not folder.write):
            yield Finding("shared", LIMITED, _word("shared_by_trust", name=folder.name))
        elif apart and not folder.write and not ground.own_tmp():
            yield Finding("shared", LIMITED, _word("shared_written", name=folder.name))
        elif apart and folder.write and not shared.keeps_acls(folder):
            yield Finding("shared", LIMITED, _word("shared_no_acls", name=folder.name))
        else:
            yield Finding("shared", OK, _word("shared", name=folder.name, path=folder.path))


def _python() -> Finding:
    return Finding("python", OK, f"{platform.python_version()} ({platform.system()} {platform.release()})")


def _torch() -> Finding:
    try:
        return Finding("torch", OK, importlib.metadata.version("torch"))
    except importlib.metadata.PackageNotFoundError:
        return Finding("torch", LIMITED, _word("no_torch"))


def _existing(path: Path) -> Path:
    """The nearest folder that is there already."""
    return path if path.exists() else _existing(path.parent)


def _word(key: str, **facts: object) -> str:
    return _pick(WORDS[key]).format(**facts)


def _pick(pair: tuple[str, str] | None) -> str:
    return "" if pair is None else pair[language() == "ko"]


def _print(machine: list[Finding], gaps: list[Finding], place: str) -> None:
    for title, findings in ((f"title{place}", machine), ("limits", gaps)):
        print(_word(title))
        for found in findings:
            print(f"  {SIGNS[found.state]} {_pick(NAMES[found.topic])}: {found.text}")
            if found.to_do:
                print(f"      → {found.to_do}")
        if not findings:
            print(f"  {_word('nothing')}")
    print(_word(f"legend{place}"))

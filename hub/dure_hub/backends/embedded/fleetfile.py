"""Simulated fleets as YAML: nodes with their GPUs. What is wrong in a file is named by line, value and rule.

nodes:
  - name: train-{n}          # with a count above 1, {n} is each node's number
    count: 2
    pool: training           # development, training, inference; may be left out
    cpu_cores: 64
    memory_gb: 512
    gpus:
      - {model: h100-sxm-80, count: 4, nvlink: true}
      - {model: h100-sxm-80, mig: [3g.40gb@4, 1g.10gb@0]}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dure_hub import catalogue
from dure_hub.backends.embedded.errors import BadFleet
from dure_hub.catalogue import gpus
from dure_hub.catalogue.gpus import GpuModel
from dure_hub.catalogue.mig import MigGrid, MigProfile
from dure_hub.settings import FLEETS

PRESETS = Path(catalogue.__file__).with_name("fleets")
POOLS = ("development", "training", "inference")
MOST = 100_000
"""GPUs of one fleet at most: a typing error in a count must not fill the memory."""


@dataclass(frozen=True)
class GpuSpec:
    """Some GPUs of one kind in a node. `mig` is None where MIG is off, else the instances as (profile, start)."""

    model: GpuModel
    count: int
    nvlink: bool
    mig: tuple[tuple[MigProfile, int], ...] | None


@dataclass(frozen=True)
class NodeSpec:
    """One node."""

    name: str
    pool: str
    cpu_cores: int
    memory_mb: int
    gpus: tuple[GpuSpec, ...]


def load(name: str) -> tuple[NodeSpec, ...]:
    """The nodes of a preset, or of the file at this path. Raises `BadFleet`."""
    path = PRESETS / f"{name}.yaml" if name in FLEETS else Path(name)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        presets = ", ".join(FLEETS)
        raise BadFleet(
            file=str(path),
            line=0,
            value=why,
            rule={"en": f"it is a file, or one of {presets}", "ko": f"파일이거나 {presets} 중 하나여야 합니다"},
        ) from error
    return read(text, str(path))


def read(text: str, file: str) -> tuple[NodeSpec, ...]:
    """The nodes that this text describes. Raises `BadFleet`."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            raise BadFleet(file=file, line=1, value="", rule=_a("mapping"))
        return tuple(_nodes(_At(root, loader, file)))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = str(getattr(error, "problem", None) or error)
        rule = {"en": "it is YAML", "ko": "YAML 형식이어야 합니다"}
        raise BadFleet(file=file, line=mark.line + 1 if mark else 1, value=problem, rule=rule) from error
    finally:
        loader.dispose()


class _At:
    """One place of the file: its value, and how to say what is wrong with it."""

    def __init__(self, node: yaml.Node, loader: yaml.SafeLoader, file: str) -> None:
        self._node, self._loader, self._file = node, loader, file

    def wrong(self, en: str, ko: str) -> BadFleet:
        return self._bad(self._node, {"en": en, "ko": ko})

    def _bad(self, node: yaml.Node, rule: Mapping[str, str]) -> BadFleet:
        kind = "list" if isinstance(node, yaml.SequenceNode) else "mapping"
        value = node.value if isinstance(node, yaml.ScalarNode) else kind
        return BadFleet(file=self._file, line=node.start_mark.line + 1, value=value, rule=rule)

    def fields(self, needed: tuple[str, ...], others: tuple[str, ...] = ()) -> dict[str, _At]:
        if not isinstance(self._node, yaml.MappingNode):
            raise self._bad(self._node, _a("mapping"))
        found: dict[str, _At] = {}
        known = ", ".join((*needed, *others))
        for key, value in self._node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value not in (*needed, *others) or key.value in found:
                rule = {"en": f"each of {known} stands here once, and nothing else"}
                rule["ko"] = f"{known}만 한 번씩 쓸 수 있습니다"
                raise self._bad(key, rule)
            found[key.value] = _At(value, self._loader, self._file)
        for name in needed:
            if name not in found:
                raise self.wrong(f"it has {name}", f"{name}이(가) 있어야 합니다")
        return found

    def items(self) -> list[_At]:
        if not isinstance(self._node, yaml.SequenceNode):
            raise self._bad(self._node, _a("list"))
        return [_At(node, self._loader, self._file) for node in self._node.value]

    def _scalar(self) -> Any:
        return self._loader.construct_object(self._node) if isinstance(self._node, yaml.ScalarNode) else None

    def text(self) -> str:
        if not isinstance(self._node, yaml.ScalarNode) or not self._node.value:
            raise self._bad(self._node, _a("text"))
        return str(self._node.value)

    def number(self, most: int) -> int:
        value = self._scalar()
        if type(value) is not int or not 1 <= value <= most:
            raise self.wrong(f"it is a whole number from 1 to {most}", f"1부터 {most}까지의 정수여야 합니다")
        return value

    def flag(self) -> bool:
        value = self._scalar()
        if not isinstance(value, bool):
            raise self.wrong("it is true or false", "true 또는 false여야 합니다")
        return value


def _nodes(root: _At) -> Iterator[NodeSpec]:
    names: set[str] = set()
    total = 0
    for item in root.fields(("nodes",))["nodes"].items():
        at = item.fields(("name", "cpu_cores", "memory_gb"), ("count", "pool", "gpus"))
        count = at["count"].number(MOST) if "count" in at else 1
        cards = tuple(_gpu(card) for card in at["gpus"].items()) if "gpus" in at else ()
        total += count * sum(card.count for card in cards)
        if total > MOST:
            raise item.wrong(f"a fleet has at most {MOST} GPUs", f"GPU는 모두 {MOST}개 이하여야 합니다")
        cores, memory_mb = at["cpu_cores"].number(4096), at["memory_gb"].number(1 << 20) << 10
        pool, template = _pool(at.get("pool")), at["name"].text()
        if count > 1 and "{n}" not in template:
            raise at["name"].wrong(
                "the name of several nodes has {n} in it", "노드가 여럿이면 이름에 {n}이 있어야 합니다"
            )
        for number in range(1, count + 1):
            name = template.replace("{n}", str(number))
            if name in names:
                raise at["name"].wrong("each node has its own name", "노드 이름은 서로 달라야 합니다")
            names.add(name)
            yield NodeSpec(name, pool, cores, memory_mb, cards)


def _pool(at: _At | None) -> str:
    if at is None:
        return ""
    if at.text() not in POOLS:
        known = ", ".join(POOLS)
        raise at.wrong(f"a pool is one of {known}", f"pool은 {known} 중 하나여야 합니다")
    return at.text()


def _gpu(item: _At) -> GpuSpec:
    at = item.fields(("model",), ("count", "nvlink", "mig"))
    model = gpus.by_key(at["model"].text())
    if model is None:
        known = ", ".join(gpus.keys())
        raise at["model"].wrong(f"the catalogue's GPUs are {known}", f"카탈로그의 GPU: {known}")
    mig = None
    if "mig" in at:
        if model.grid is None:
            raise at["mig"].wrong(
                f"a {model.key} cannot be cut by MIG", f"{model.key}은(는) MIG로 나눌 수 없습니다"
            )
        mig = _instances(at["mig"].items(), model.grid)
    count = at["count"].number(MOST) if "count" in at else 1
    return GpuSpec(model, count, at["nvlink"].flag() if "nvlink" in at else False, mig)


def _instances(items: list[_At], grid: MigGrid) -> tuple[tuple[MigProfile, int], ...]:
    made: list[tuple[MigProfile, int]] = []
    for at in items:
        name, _, place = at.text().rpartition("@")
        profile = grid.named(name)
        if profile is None:
            known = ", ".join(one.name for one in grid.profiles)
            raise at.wrong(
                f"it is MIG profile@start, with one of {known}", f"MIG프로필@시작 형식이며 프로필은 {known}"
            )
        if not place.isdigit() or int(place) not in profile.starts:
            starts = ", ".join(map(str, profile.starts))
            raise at.wrong(f"{name} may start at {starts}", f"{name}의 시작 위치는 {starts}입니다")
        why = refusal(grid, made, profile, int(place))
        if why is not None:
            raise at.wrong(why["en"].rstrip("."), why["ko"].rstrip("."))
        made.append((profile, int(place)))
    return tuple(made)


def refusal(
    grid: MigGrid, there: list[tuple[MigProfile, int]], profile: MigProfile, start: int
) -> Mapping[str, str] | None:
    """Why this MIG profile cannot be made at `start` beside what is `there`; None if it can."""
    for other, begin in there:
        if grid.overlap((other.name, begin), (profile.name, start)):
            return {
                "en": f"Memory units {begin} to {begin + other.size - 1} are taken by {other.name}.",
                "ko": f"메모리 단위 {begin}~{begin + other.size - 1}은(는) {other.name}이(가) 쓰고 있습니다.",
            }
    limit = grid.caps().get(profile.kind)
    if limit is not None and sum(other.kind == profile.kind for other, _ in there) >= limit:
        return {
            "en": f"A GPU takes at most {limit} of {profile.name}.",
            "ko": f"GPU 하나에 {profile.name}은(는) 최대 {limit}개입니다.",
        }
    return None


def _a(kind: str) -> Mapping[str, str]:
    korean = {"mapping": "이름: 값 형식", "list": "목록", "text": "빈칸이 아닌 글"}[kind]
    return {"en": f"it is a {kind}", "ko": f"{korean}이어야 합니다"}

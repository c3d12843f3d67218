"""The rate card: what a GPU of each model costs an hour, from which day on. Money is whole micro-units.

A part of a GPU costs the larger of its shares of processors and of memory: a MIG instance takes both from
everybody else, and neither "1 of 7" nor the memory alone says how much. What no rate is known for costs null,
never zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, DecimalException
from typing import Any, ClassVar

import yaml

from dure.errors import DureError, Text
from dure_hub.catalogue import gpus
from dure_hub.catalogue.mig import MigGrid, MigProfile

MICRO = 1_000_000
CPU = "cpu"
"""The key of one promised core in the card."""
_MOST = Decimal(1_000_000)
_SHOWN = 200
"""So many characters of a bad value are shown: enough to find it."""
_LIST = {
    "en": "it is a list of entries with gpu, rate and since",
    "ko": "gpu, rate, since가 있는 항목의 목록이어야 합니다",
}
_ENTRY = {"en": "it has gpu, rate and since", "ko": "gpu, rate, since가 있어야 합니다"}
_ONCE = {"en": "each of gpu, rate and since stands there once", "ko": "gpu, rate, since는 한 번씩만 씁니다"}
_RATE = {
    "en": "rate is a number from 0 to a million, with six digits behind the point at most",
    "ko": "rate는 0부터 백만까지의 수이며 소수점 아래는 여섯 자리 이하여야 합니다",
}
_SINCE = {"en": "since is a day, as in 2026-01-31", "ko": "since는 2026-01-31 같은 날짜여야 합니다"}
_YAML = {"en": "it is YAML", "ko": "YAML 형식이어야 합니다"}
_ONE_A_DAY = {"en": "a GPU has one rate from one day on", "ko": "GPU의 요금은 하루에 하나만 시작할 수 있습니다"}


class BadRates(DureError):
    """A rate card that cannot be used: the entry (from 1; 0 is the whole), what is wrong with it, and the rule in
    each language. `line` is that of the file, 0 where it has none.
    """

    code, status = "bad_rates", 400
    message: ClassVar[Text] = {
        "en": "rates.yaml, {place}: {shown} is not possible: {rule}.",
        "ko": "rates.yaml {place}: {shown}은(는) 쓸 수 없습니다. 규칙: {rule}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Correct rates.yaml in the data folder. Without the file, the portal's own rates count.",
        "ko": "데이터 폴더의 rates.yaml을 고치세요. 파일이 없으면 포털의 기본 요금을 씁니다.",
    }

    def __init__(self, entry: int, value: object, rule: Text, line: int = 0, **shown: object) -> None:
        self.entry, self.value, self.rule, self.line = entry, value, rule, line
        place = {"en": f"line {line}", "ko": f"{line}번째 줄"}
        if not line:
            place = {"en": f"entry {entry}", "ko": f"{entry}번째 항목"}
        text = str(value)
        facts = {"place": place, "shown": text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"}
        super().__init__(entry=entry, value=value, rule=rule, line=line, **{**facts, **shown})


@dataclass(frozen=True)
class Rate:
    """From `since` on, an hour of this model (or of one core, `cpu`) costs so many micro-units."""

    key: str
    micro: int
    since: date


@dataclass(frozen=True)
class RateCard:
    """Every rate there is or was. A lease keeps the one of its grant: a new entry never reprices the past."""

    rates: tuple[Rate, ...]
    currency: str = "credits"

    def at(self, key: str | None, when: datetime) -> int | None:
        """Micro-units an hour of a model as of a moment (days are UTC's); None if it has no rate then."""
        known = [rate for rate in self.rates if rate.key == key and rate.since <= when.date()]
        return max(known, key=lambda rate: rate.since).micro if known else None


GIVEN = RateCard(
    (
        Rate("h100-sxm-80", 8 * MICRO, date(2026, 1, 1)),
        Rate("h100-pcie-80", 8 * MICRO, date(2026, 1, 1)),
        Rate("a100-sxm-80", 6 * MICRO, date(2026, 1, 1)),
        Rate("a100-pcie-80", 6 * MICRO, date(2026, 1, 1)),
        Rate("a100-sxm-40", 6 * MICRO, date(2026, 1, 1)),
        Rate("a100-pcie-40", 6 * MICRO, date(2026, 1, 1)),
        Rate("rtx-4090", 2 * MICRO, date(2026, 1, 1)),
    )
)
"""What a new portal starts with: H100 8, A100 6, RTX 4090 2 an hour. All else is unknown until somebody says."""


def part_of(grid: MigGrid, profile: MigProfile) -> tuple[int, int]:
    """The price of an instance as a fraction of its GPU's: the larger of its shares of processors and memory.

    Processors are SMs where the whole instance's and its own are known, else compute slices.
    """
    largest = max(grid.profiles, key=lambda one: (one.compute, one.sms or 0))
    processors = (profile.compute, largest.compute)
    if profile.sms is not None and largest.sms:
        processors = (profile.sms, largest.sms)
    memory = (profile.size, grid.units)
    return max(processors, memory, key=lambda part: part[0] / part[1])


def price_of_part(rate: int | None, part: tuple[int, int]) -> int | None:
    """So much of an hour's rate, rounded half up to a whole micro-unit."""
    numerator, denominator = part
    return None if rate is None else (2 * rate * numerator + denominator) // (2 * denominator)


def parse(text: str, currency: str = "credits") -> RateCard:
    """The card that the text of a rates.yaml says; of an empty one, a card without rates. Raises `BadRates`, which
    names the line.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = str(getattr(error, "problem", None) or error)
        raise BadRates(0, problem, _YAML, mark.line + 1 if mark else 1) from error
    if root is None:
        return RateCard((), currency)
    if not isinstance(root, yaml.SequenceNode):
        raise BadRates(0, _text(root), _LIST, root.start_mark.line + 1)
    entries: list[yaml.Node] = root.value
    try:
        return read([_built(number, node) for number, node in enumerate(entries, 1)], currency)
    except BadRates as wrong:
        line = entries[wrong.entry - 1].start_mark.line + 1
        raise BadRates(wrong.entry, wrong.value, wrong.rule, line) from wrong


def read(entries: Any, currency: str = "credits") -> RateCard:
    """The card that a parsed rates.yaml says: a list of {gpu, rate, since}. Raises `BadRates`."""
    if not isinstance(entries, list):
        raise BadRates(0, entries, _LIST)
    rates = [_rate(number, entry) for number, entry in enumerate(entries, 1)]
    seen: set[tuple[str, date]] = set()
    for number, rate in enumerate(rates, 1):
        if (rate.key, rate.since) in seen:
            raise BadRates(number, f"{rate.key} {rate.since}", _ONE_A_DAY)
        seen.add((rate.key, rate.since))
    return RateCard(tuple(rates), currency)


def written(card: RateCard) -> str:
    """The card as rates.yaml, to be edited by people."""
    lines = [
        "# What a GPU of each model costs an hour, in any unit of money you like. A new price is a new entry with",
        "# the day it begins: what was granted before keeps its rate. A model without an entry costs 'unknown'.",
        f"# Models: {', '.join((*gpus.keys(), CPU))} ({CPU}: one core).",
    ]
    for rate in card.rates:
        # format(…, "f") of a normalised decimal is exact and has no exponent
        amount = format((Decimal(rate.micro) / MICRO).normalize(), "f")
        lines.append(f"- {{gpu: {rate.key}, rate: {amount}, since: {rate.since.isoformat()}}}")
    return "\n".join(lines) + "\n"


def _built(number: int, node: yaml.Node) -> Any:
    """An entry's values. YAML itself lets a field stand twice, and fails on a day that no month has."""
    if not isinstance(node, yaml.MappingNode):
        return _text(node)
    found: dict[str, Any] = {}
    for key, value in node.value:
        name = _text(key)
        if name in found:
            raise BadRates(number, name, _ONCE)
        try:
            found[name] = yaml.SafeLoader("").construct_document(value)
        except (yaml.YAMLError, ValueError) as error:
            raise BadRates(number, _text(value), _SINCE if name == "since" else _RATE) from error
    return found


def _text(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _rate(number: int, entry: Any) -> Rate:
    if not isinstance(entry, Mapping):
        raise BadRates(number, entry, _ENTRY)
    _only(number, entry, ("gpu", "rate", "since"))
    key = entry["gpu"]
    if not isinstance(key, str) or (key != CPU and gpus.by_key(key) is None):
        known = ", ".join((*gpus.keys(), CPU))
        raise BadRates(number, key, {"en": f"gpu is one of {known}", "ko": f"gpu는 {known} 중 하나여야 합니다"})
    since = entry["since"]
    if not isinstance(since, date) or isinstance(since, datetime):
        raise BadRates(number, since, _SINCE)
    return Rate(key, _micro(number, entry["rate"]), since)


def _only(number: int, entry: Mapping[Any, Any], needed: Iterable[str]) -> None:
    for name in needed:
        if name not in entry:
            raise BadRates(number, dict(entry), {"en": f"it has {name}", "ko": f"{name}이(가) 있어야 합니다"})
    for name in entry:
        if name not in needed:
            known = ", ".join(needed)
            rule = {"en": f"it has {known} and nothing else", "ko": f"{known}만 쓸 수 있습니다"}
            raise BadRates(number, name, rule)


def _micro(number: int, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadRates(number, value, _RATE)
    try:
        amount = Decimal(str(value)) * MICRO
    except DecimalException as error:
        raise BadRates(number, value, _RATE) from error
    if not amount.is_finite() or not 0 <= amount <= _MOST * MICRO or amount != amount.to_integral_value():
        raise BadRates(number, value, _RATE)
    return int(amount)

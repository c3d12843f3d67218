"""What an organisation file changes: merged with what there is, checked, and told as differences.

An organisation is a tree: kind of thing, its name, its fields. A kind that nothing is said of is not touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from dure.errors import Text
from dure_hub.policies.naming import PERSON_PATTERN, is_person

Fields = Mapping[str, Any]
Section = Mapping[str, Fields]
Tree = Mapping[str, Section]
Path = tuple[str | int, ...]

USER, TEAM, QUOTA, BUDGET, RATE, PROFILE, DEVICES = "user", "team", "quota", "budget", "rate", "profile", "devices"
KINDS = (USER, TEAM, QUOTA, BUDGET, RATE, PROFILE, DEVICES)

_PROVIDER: Text = {
    "en": "the login provider says who may log in here; leave users out",
    "ko": "이 포털에서는 로그인 제공자가 사용자를 정합니다. users를 빼세요",
}
_MANAGED: Text = {
    "en": "the login provider says who is in which team here; leave members out",
    "ko": "이 포털에서는 로그인 제공자가 팀원을 정합니다. members를 빼세요",
}
_PERSON: Text = {
    "en": f"a person's name matches {PERSON_PATTERN}",
    "ko": f"사용자 이름은 {PERSON_PATTERN} 형식이어야 합니다",
}
_MEMBER: Text = {
    "en": "JupyterHub knows nobody whose name has a slash, or a space at its beginning or end",
    "ko": "JupyterHub에서는 이름에 슬래시를 쓰거나 앞뒤에 공백을 둘 수 없습니다",
}
_ADMIN: Text = {
    "en": "one administrator who is not disabled stays, or nobody could change this again",
    "ko": "사용 중지되지 않은 관리자가 한 명은 남아야 합니다. 없으면 아무도 다시 바꿀 수 없습니다",
}
_ONCE: Text = {"en": "each name stands there once", "ko": "이름은 한 번씩만 씁니다"}
_LEAD: Text = {"en": "a lead is one of the members", "ko": "리드는 members 중 한 명이어야 합니다"}
_ACCOUNT: Text = {
    "en": "there is no account of this name; name it under users, too",
    "ko": "이 이름의 계정이 없습니다. users에도 쓰세요",
}
_BEGUN: Text = {
    "en": "this rate has begun, and the past is never priced anew; add an entry with since today or later",
    "ko": "이미 시작된 요금입니다. 지난 요금은 바꿀 수 없으니 since를 오늘이나 그 이후로 한 항목을 추가하세요",
}
_ONE_A_DAY: Text = {
    "en": "a GPU has one rate from one day on",
    "ko": "GPU의 요금은 하루에 하나만 시작할 수 있습니다",
}


class Problem(Exception):
    """A place of what is asked for that is not possible, with the rule in each language."""

    def __init__(self, path: Path, value: object, rule: Text) -> None:
        super().__init__(path, value, rule["en"])
        self.path, self.value, self.rule = path, value, rule


@dataclass(frozen=True)
class Change:
    """One difference; without a `field` of the whole thing, new (`before` is None) or gone (`after` is None)."""

    kind: str
    name: str
    field: str | None
    before: Any
    after: Any


@dataclass(frozen=True)
class DatedRate:
    """Micro-units an hour from a day on; without a day from today, unless it is so already."""

    gpu: str
    micro: int
    since: date | None


def merged(before: Tree, asked: Tree, rates: Sequence[DatedRate] | None, today: date) -> dict[str, Section]:
    """The organisation afterwards. People and begun rates stay where they are not named. Raises `Problem`."""
    after = {kind: asked.get(kind, before.get(kind, {})) for kind in KINDS}
    after[USER] = {**before.get(USER, {}), **asked.get(USER, {})}
    after[RATE] = before.get(RATE, {}) if rates is None else _rates(before.get(RATE, {}), rates, today)
    return after


def check(before: Tree, asked: Tree, after: Tree, *, by_password: bool, groups_managed: bool) -> None:
    """Refuse what cannot be. Raises `Problem`."""
    if asked.get(USER):
        if not by_password:
            raise Problem(("users",), ", ".join(asked[USER]), _PROVIDER)
        for name in asked[USER]:
            if not is_person(name):
                raise Problem(("users", name), name, _PERSON)
        if not any(one["administrator"] and not one["disabled"] for one in after[USER].values()):
            raise Problem(("users",), ", ".join(asked[USER]), _ADMIN)
    for team, fields in asked.get(TEAM, {}).items():
        _check_team(team, fields, before, after, by_password=by_password, groups_managed=groups_managed)


def _check_team(
    team: str, fields: Fields, before: Tree, after: Tree, *, by_password: bool, groups_managed: bool
) -> None:
    known = before.get(TEAM, {}).get(team, {})
    if groups_managed and fields["members"]:
        raise Problem(("teams", team, "members"), ", ".join(fields["members"]), _MANAGED)
    for field in ("members", "leads", "projects"):
        for number, name in enumerate(fields[field]):
            if name in fields[field][:number]:
                raise Problem(("teams", team, field, number), name, _ONCE)
    for number, name in enumerate(fields["members"]):
        if "/" in name or name != name.strip():
            raise Problem(("teams", team, "members", number), name, _MEMBER)
        # who was made a member at the hub itself may have none, and stays one
        if by_password and name not in after[USER] and name not in known.get("members", ()):
            raise Problem(("teams", team, "members", number), name, _ACCOUNT)
    for number, name in enumerate(fields["leads"]):
        if not groups_managed and name not in fields["members"]:
            raise Problem(("teams", team, "leads", number), name, _LEAD)


def _rates(before: Section, asked: Sequence[DatedRate], today: date) -> Section:
    found: dict[str, dict[str, int]] = {
        gpu: {day: micro for day, micro in days.items() if day <= today.isoformat()}
        for gpu, days in before.items()
    }
    seen: set[tuple[str, str]] = set()
    for number, rate in enumerate(asked):
        days = found.setdefault(rate.gpu, {})
        day = (rate.since or today).isoformat()
        if (rate.gpu, day) in seen:
            raise Problem(("rates", number), rate.gpu, _ONE_A_DAY)
        seen.add((rate.gpu, day))
        in_force = _at(before.get(rate.gpu, {}), day)
        if rate.since is None and in_force == rate.micro:
            continue
        if day < today.isoformat() and in_force is not None and days.get(day) != rate.micro:
            raise Problem(("rates", number), f"{rate.gpu} {day}", _BEGUN)
        days[day] = rate.micro
    return {gpu: dict(sorted(days.items())) for gpu, days in sorted(found.items()) if days}


def _at(days: Mapping[str, int], day: str) -> int | None:
    begun = [one for one in days if one <= day]
    return days[max(begun)] if begun else None


def changes(before: Tree, after: Tree) -> list[Change]:
    """Every difference, in the order of kinds and names. None where both say the same."""
    return [one for kind in KINDS for one in _of_kind(kind, before.get(kind, {}), after.get(kind, {}))]


def _of_kind(kind: str, before: Section, after: Section) -> Iterator[Change]:
    for name in sorted(before.keys() | after.keys()):
        was, will = before.get(name), after.get(name)
        if was is None or will is None:
            yield Change(
                kind, name, None, None if was is None else dict(was), None if will is None else dict(will)
            )
            continue
        for field in dict.fromkeys([*was, *will]):
            if was.get(field) != will.get(field):
                yield Change(kind, name, field, was.get(field), will.get(field))

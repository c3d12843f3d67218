"""The organisation file: read into the tree that policies compare, and written from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from hashlib import sha256
from typing import Any

import yaml

from dure.wire.organisation import DevicePolicy, OrganisationFile, ProfileEntry
from dure_hub.catalogue.profilefile import plain
from dure_hub.catalogue.rates import MICRO
from dure_hub.policies.organisation import (
    BUDGET,
    DEVICES,
    PROFILE,
    QUOTA,
    RATE,
    TEAM,
    USER,
    DatedRate,
    Section,
    Tree,
)

FILE = "the organisation file"
HEAD = """\
# The organisation of this portal: `dure apply -f FILE --dry-run` shows what it would change, `dure apply -f FILE`
# changes it. A section that is left out is not touched; of one that is here, what it does not name is taken away,
# but for users (say `disabled: true`) and rates that have begun. Money is in whole units; a budget is for a month.
"""
_ALL = ""
"""The one name of the section of devices."""


def tree_of(file: OrganisationFile) -> Tree:
    """What the file says of each kind that it names, but for rates."""
    found: dict[str, Section] = {}
    if file.users is not None:
        found[USER] = {name: one.model_dump() for name, one in file.users.items()}
    if file.teams is not None:
        found[TEAM] = {name: one.model_dump() for name, one in file.teams.items()}
    if file.quotas is not None:
        said = (("user", file.quotas.users), ("team", file.quotas.teams))
        quotas = {
            f"{kind}/{name}": plain_quota(one.model_dump()) for kind, all_ in said for name, one in all_.items()
        }
        found[QUOTA] = {name: limits for name, limits in quotas.items() if limits}
    if file.budgets is not None:
        kinds = (("team", file.budgets.teams), ("project", file.budgets.projects))
        found[BUDGET] = {
            f"{kind}/{name}": {"amount": int(amount * MICRO)}
            for kind, all_ in kinds
            for name, amount in all_.items()
        }
    if file.profiles is not None:
        found[PROFILE] = profile_tree(file.profiles)
    if file.devices is not None:
        found[DEVICES] = device_tree(file.devices)
    return found


def rates_of(file: OrganisationFile) -> list[DatedRate] | None:
    """The rates of the file; None where it does not speak of them."""
    if file.rates is None:
        return None
    return [DatedRate(one.gpu, int(one.rate * MICRO), one.since) for one in file.rates]


def profile_tree(profiles: Mapping[str, ProfileEntry]) -> Section:
    """Profiles as far as something is set of them: an entry that sets nothing is as good as none."""
    said = {name: plain(entry) for name, entry in profiles.items()}
    return {
        name: {**entry, "groups": sorted(entry["groups"])} if "groups" in entry else entry
        for name, entry in sorted(said.items())
        if entry
    }


def device_tree(devices: DevicePolicy) -> Section:
    """The same of how GPUs are given."""
    said = plain(devices)
    return {_ALL: said} if said else {}


def plain_quota(limits: Mapping[str, int | None]) -> dict[str, int]:
    """The limits that there are."""
    return {name: limit for name, limit in limits.items() if limit is not None}


def normal(tree: Tree) -> dict[str, dict[str, dict[str, Any]]]:
    """The same tree with the names in teams in order: their order says nothing."""
    found = {kind: {name: dict(fields) for name, fields in section.items()} for kind, section in tree.items()}
    for fields in found.get(TEAM, {}).values():
        for field in ("members", "leads", "projects"):
            fields[field] = sorted(fields[field])
    return found


def revision_of(tree: Tree) -> str:
    """A short mark of this very organisation."""
    return sha256(json.dumps(tree, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def values_of(tree: Tree, *, by_password: bool, groups_managed: bool) -> dict[str, Any]:
    """The tree as the file's values: to apply them changes nothing."""
    found: dict[str, Any] = {}
    if by_password:
        found["users"] = {
            name: {field: True for field in ("administrator", "disabled") if one[field]}
            for name, one in sorted(tree[USER].items())
        }
    left_out = ("members",) if groups_managed else ()
    found["teams"] = {
        name: {field: value for field, value in one.items() if value and field not in left_out}
        for name, one in sorted(tree[TEAM].items())
    }
    found["quotas"] = {f"{kind}s": _of(tree[QUOTA], kind) for kind in ("user", "team")}
    found["budgets"] = {
        f"{kind}s": {name: money(one["amount"]) for name, one in _of(tree[BUDGET], kind).items()}
        for kind in ("team", "project")
    }
    found["rates"] = [
        {"gpu": gpu, "rate": money(micro), "since": date.fromisoformat(day)}
        for gpu, days in tree[RATE].items()
        for day, micro in days.items()
    ]
    found["profiles"] = {name: dict(fields) for name, fields in tree[PROFILE].items()}
    found["devices"] = dict(tree[DEVICES].get(_ALL, {}))
    return found


class _Plain(yaml.SafeDumper):
    """Writes what stands twice twice: nobody can edit what says "as above"."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always."""
        return True


_Plain.add_representer(
    Decimal, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:float", format(value, "f"))
)


def written(values: Mapping[str, Any]) -> str:
    """The file's text."""
    parts = [
        yaml.dump(
            {section: value},
            Dumper=_Plain,
            default_flow_style=None,
            sort_keys=False,
            allow_unicode=True,
            width=110,
        )
        for section, value in values.items()
    ]
    return HEAD + "\n" + "\n".join(parts)


def money(micro: int) -> int | Decimal:
    """Micro-units as whole units, exactly."""
    whole = (Decimal(micro) / MICRO).normalize()
    return int(whole) if whole == whole.to_integral_value() else whole


def _of(section: Section, kind: str) -> dict[str, Any]:
    return {
        name.partition("/")[2]: dict(fields)
        for name, fields in sorted(section.items())
        if name.partition("/")[0] == kind
    }

"""Envoy's statistics as requests and errors of one cluster: pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dure_hub.dataplane.fragments import PRECEDENCE, Fragment
from dure_hub.dataplane.render import full_name, with_fallback

Counts = tuple[int | None, int | None]
"""Requests and errors; None is unknown."""

Latency = tuple[float | None, float | None]
"""Median and 95th percentile in milliseconds; None is unknown."""

_COUNTED = ("completed", "5xx", "total", "active", "rx_reset", "tx_reset")


def find_cluster(name: str, fragments: Mapping[str, Fragment]) -> str | None:
    """The full name of a cluster, looked for among endpoints before anything else."""
    for owner in ("endpoints", *PRECEDENCE, *sorted(fragments)):
        for cluster in fragments.get(owner, Fragment()).clusters:
            if cluster.name == name:
                full = full_name(owner, name)
                return with_fallback(full) if cluster.fallback is not None else full
    return None


def counted(names: Sequence[str]) -> str:
    """The pattern of all statistics that `count` reads for these clusters or pairs."""
    bases = {name for full in names for name in (full, full.removesuffix(with_fallback("")))}
    wanted = "|".join(re.escape(_statistic(name)) for name in sorted(bases))
    return rf"^cluster\.({wanted})\.upstream_rq_({'|'.join(_COUNTED)})$"


def count(name: str, seen: Mapping[str, str]) -> tuple[int, int]:
    """Requests meant for a cluster, and those that it answered with 5xx or, paired, did not answer itself.

    A pair counts what reached the user. Its first member's own figures say how many of those it answered; the
    fallback answered the rest, while Envoy had left the member out as well as after a broken connection.
    """

    def number(cluster: str, what: str) -> int:
        return int(seen.get(f"cluster.{_statistic(cluster)}.upstream_rq_{what}", "0"))

    requests, failed = number(name, "completed"), number(name, "5xx")
    member = name.removesuffix(with_fallback(""))
    if member == name:
        return requests, failed
    unanswered = number(member, "active") + number(member, "rx_reset") + number(member, "tx_reset")
    elsewhere = max(requests - (number(member, "total") - unanswered), 0)
    return requests, min(failed + elsewhere, requests)


def summed(told: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What several Envoys have counted, as if it were one."""
    names = {name for one in told for name in one}
    return {name: str(sum(int(one.get(name, "0")) for one in told)) for name in names}


def slowest(told: Sequence[Mapping[str, Mapping[float, float]]]) -> dict[str, dict[float, float]]:
    """The highest of several Envoys' quantiles: that of all their requests together is never above it."""
    seen: dict[str, dict[float, float]] = {}
    for one in told:
        for name, quantiles in one.items():
            for quantile, value in quantiles.items():
                mine = seen.setdefault(name, {})
                mine[quantile] = max(value, mine.get(quantile, value))
    return seen


def timed(names: Sequence[str]) -> str:
    """The pattern of all histograms that `latency` reads for these clusters or pairs."""
    wanted = "|".join(re.escape(_statistic(name)) for name in sorted(set(names)))
    return rf"^cluster\.({wanted})\.upstream_rq_time$"


def latency(name: str, seen: Mapping[str, Mapping[float, float]]) -> Latency:
    """How long the requests meant for a cluster took. A pair's are those that reached the user, as its counts."""
    quantiles = seen.get(f"cluster.{_statistic(name)}.upstream_rq_time", {})
    return quantiles.get(50), quantiles.get(95)


def _statistic(name: str) -> str:
    """Envoy writes colons of a cluster's name as underscores in its statistics' names."""
    return name.replace(":", "_")

"""What Envoy counted, as requests and errors of a cluster."""

from __future__ import annotations

import re

from dure_hub.dataplane.counting import count, counted, find_cluster, latency, timed
from dure_hub.dataplane.fragments import Cluster, Fragment

FRAGMENTS = {
    "endpoints": Fragment((Cluster("champion", "h:1"), Cluster("canary", "h:2", fallback="champion"))),
    "hub": Fragment((Cluster("champion", "h:3"), Cluster("h:4", "h:4"))),
}


def statistics(cluster: str, **values: int) -> dict[str, str]:
    return {f"cluster.{cluster}.upstream_rq_{name.lstrip('_')}": str(value) for name, value in values.items()}


def test_a_cluster_is_looked_for_among_endpoints_first() -> None:
    found = [find_cluster(name, FRAGMENTS) for name in ("champion", "canary", "h:4", "nobody")]
    assert found == ["endpoints/champion", "endpoints/canary|fallback", "hub/h:4", None]


def test_a_plain_cluster_counts_what_it_completed() -> None:
    # More was sent to it than was meant for it: it is somebody's fallback too.
    seen = statistics("endpoints/champion", completed=10, _5xx=2, total=25)
    assert count("endpoints/champion", seen) == (10, 2)


def test_a_cluster_without_traffic_counts_zero() -> None:
    assert count("endpoints/champion", {}) == (0, 0)


def test_a_pair_counts_as_errors_what_its_first_member_did_not_answer() -> None:
    seen = statistics("endpoints/canary|fallback", completed=100, _5xx=3) | statistics(
        "endpoints/canary", total=85, active=1, rx_reset=2, tx_reset=2
    )
    assert count("endpoints/canary|fallback", seen) == (100, 3 + 20)


def test_a_dead_member_counts_every_request_once() -> None:
    # The fallback's own 5xx are among those that the member did not answer.
    seen = statistics("endpoints/canary|fallback", completed=10, _5xx=4)
    assert count("endpoints/canary|fallback", seen) == (10, 10)


def test_requests_under_way_are_no_errors() -> None:
    seen = statistics("endpoints/canary|fallback", completed=10) | statistics(
        "endpoints/canary", total=15, active=5
    )
    assert count("endpoints/canary|fallback", seen) == (10, 0)


def test_the_pattern_matches_pair_and_member_and_no_other_name() -> None:
    pattern = counted(["endpoints/canary|fallback", "hub/h:4"])
    named = [
        "cluster.endpoints/canary|fallback.upstream_rq_5xx",
        "cluster.endpoints/canary.upstream_rq_total",
        "cluster.hub/h_4.upstream_rq_completed",
    ]
    others = ["cluster.endpoints/canary2.upstream_rq_total", "cluster.endpoints/canary.external.upstream_rq_5xx"]
    assert all(re.search(pattern, name) for name in named)
    assert not any(re.search(pattern, name) for name in others)


def test_a_pairs_latency_is_what_reached_the_user() -> None:
    seen: dict[str, dict[float, float]] = {
        "cluster.endpoints/canary|fallback.upstream_rq_time": {50: 7.5, 95: 31.0, 99: 40.0},
        "cluster.hub/h_4.upstream_rq_time": {50: 1.0},
    }
    assert latency("endpoints/canary|fallback", seen) == (7.5, 31.0)
    assert latency("hub/h:4", seen) == (1.0, None)
    assert latency("endpoints/champion", seen) == (None, None)


def test_the_pattern_of_latencies_matches_the_names_and_nothing_beside_them() -> None:
    pattern = timed(["endpoints/canary|fallback", "hub/h:4"])
    assert re.search(pattern, "cluster.endpoints/canary|fallback.upstream_rq_time")
    assert re.search(pattern, "cluster.hub/h_4.upstream_rq_time")
    for other in ("endpoints/canary", "endpoints/canary|fallback.external", "endpoints/canary|fallback2"):
        assert not re.search(pattern, f"cluster.{other}.upstream_rq_time")

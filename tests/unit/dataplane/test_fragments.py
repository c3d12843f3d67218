"""A wrong fragment is refused with the value and the rule; a right one survives being stored."""

from __future__ import annotations

import json

import pytest

from dure.errors import BadRequest
from dure_hub.dataplane.fragments import Cluster, Fragment, Route, split_address

A = Cluster("a", "127.0.0.1:1")
TO_A = (("a", 1),)


def test_a_fragment_survives_json() -> None:
    fragment = Fragment(
        (A, Cluster("b", "unix:/b", fallback="a")),
        (
            Route("/", TO_A),
            Route(
                "/x/",
                (("a", 9), ("b", 1)),
                auth=True,
                rewrite="/",
                strip=("cookie",),
                host="h",
                data={"user": "ann"},
            ),
        ),
    )
    fragment.check()
    assert Fragment.from_json(json.loads(json.dumps(fragment.to_json()))) == fragment


@pytest.mark.parametrize(
    ("fragment", "rule"),
    [
        (Fragment((A, A)), "each name occurs once"),
        (Fragment((A,), (Route("/x/", TO_A), Route("/x/", TO_A))), "each prefix occurs once"),
        (Fragment((A,), (Route("/x/", TO_A, domain="a.b"), Route("/x/", TO_A, domain="a.b"))), "occurs once"),
        (Fragment((A,), (Route("/x/", TO_A, domain="a.b:80"),)), "a host without a port"),
        (Fragment((A,), (Route("/x/", TO_A, domain="*"),)), "a host without a port"),
        (Fragment((A,), (Route("/x/", (), redirect="//a"),)), "http://host:port"),
        (Fragment((A,), (Route("/x/", (), redirect="http://a/b"),)), "http://host:port"),
        (Fragment((A,), (Route("/x/", TO_A, redirect="http://a"),)), "has none"),
        (Fragment((A,), (Route("/x", TO_A),)), "begins and ends with one slash"),
        (Fragment((A,), (Route("x/", TO_A),)), "begins and ends with one slash"),
        (Fragment((A,), (Route("/x//", TO_A),)), "begins and ends with one slash"),
        (Fragment((A,), (Route("/x?/", TO_A),)), "begins and ends with one slash"),
        (Fragment((A,), (Route("/x/", (("b", 1),)),)), "a cluster of the fragment"),
        (Fragment((A,), (Route("/x/", (("a", 0),)),)), "add up to more than 0"),
        (Fragment((A,), (Route("/x/", ()),)), "add up to more than 0"),
        (Fragment((A,), (Route("/x/", (("a", -1),)),)), "0 or more"),
        (Fragment((A,), (Route("/x/", TO_A, rewrite="y"),)), "begins and ends with a slash"),
        (Fragment((Cluster("a", "127.0.0.1"),)), "host:port or unix:/path"),
        (Fragment((Cluster("a", "127.0.0.1:99999"),)), "host:port or unix:/path"),
        (Fragment((Cluster("a", "http://127.0.0.1:1"),)), "host:port or unix:/path"),
        (Fragment((Cluster("a", "unix:b"),)), "absolute"),
        (Fragment((Cluster("a", "unix:/" + "b" * 107),)), "107 bytes"),
        (Fragment((Cluster("a", "127.0.0.1:1", fallback="b"),)), "another cluster"),
        (Fragment((Cluster("a", "127.0.0.1:1", fallback="a"),)), "another cluster"),
    ],
)
def test_what_cannot_be_routed_is_refused_by_its_rule(fragment: Fragment, rule: str) -> None:
    with pytest.raises(BadRequest, match=rule):
        fragment.check()


def test_what_an_older_version_has_kept_is_read() -> None:
    route = Route("/x/", TO_A, add=(("x-shown", "key"),))
    kept = json.loads(json.dumps(Fragment((A,), (route,)).to_json()))
    assert Fragment.from_json(kept).routes == (route,)
    del kept["routes"][0]["add"]
    assert Fragment.from_json(kept).routes == (Route("/x/", TO_A),)


def test_an_address_is_host_and_port() -> None:
    assert split_address("127.0.0.1:80") == ("127.0.0.1", 80)
    assert split_address("[::1]:80") == ("::1", 80)


def test_without_some_routes_their_clusters_go_too_but_not_what_others_fall_back_to() -> None:
    clusters = (A, Cluster("b", "127.0.0.1:2", fallback="a"), Cluster("c", "127.0.0.1:3"))
    fragment = Fragment(clusters, (Route("/x/", (("b", 1),), domain="a.b"), Route("/y/", (("c", 1),))))
    fragment.check()
    left = fragment.without(lambda route: not route.domain)
    assert left == Fragment(clusters[:2], fragment.routes[:1])
    assert Fragment.from_json(json.loads(json.dumps(left.to_json()))) == left

"""Fragments become exactly these clusters and routes."""

from __future__ import annotations

from typing import Any

from dure_hub.dataplane.fragments import Cluster, Fragment, Route
from dure_hub.dataplane.render import document, make_cluster, make_clusters, make_route, make_routes, merged

ROUTE = "type.googleapis.com/envoy.config.route.v3.Route"
INPUT = {
    "name": "path",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
        "header_name": ":path",
    },
}
PLAIN_RETRIES = {
    "retry_on": "connect-failure,refused-stream",
    "num_retries": 5,
    "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"},
}
BREAKERS = {
    "thresholds": [
        {"max_connections": 65535, "max_pending_requests": 65535, "max_requests": 65535, "max_retries": 1024}
    ]
}


def plain(prefix: str, cluster: str) -> dict[str, Any]:
    route = {"cluster": cluster, "timeout": "0s", "retry_policy": PLAIN_RETRIES}
    return {
        "action": {
            "name": "route",
            "typed_config": {"@type": ROUTE, "match": {"prefix": prefix}, "route": route},
        }
    }


def test_a_cluster_is_one_address() -> None:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    assert make_cluster("hub/ann", "127.0.0.1:80") == {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": "hub/ann",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "hub/ann",
            "endpoints": [
                {
                    "lb_endpoints": [
                        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 80}}}}
                    ]
                }
            ],
        },
        "circuit_breakers": BREAKERS,
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": {
            options: {
                "@type": f"type.googleapis.com/{options}",
                "common_http_protocol_options": {"idle_timeout": "4s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def test_an_address_may_be_a_socket_or_a_name() -> None:
    socket, name = make_cluster("a", "unix:/run/a.sock"), make_cluster("b", "gpu-1:80")
    assert socket["type"] == "STATIC"
    assert socket["load_assignment"]["endpoints"][0]["lb_endpoints"][0] == {
        "endpoint": {"address": {"pipe": {"path": "/run/a.sock"}}}
    }
    assert (name["type"], name["dns_lookup_family"]) == ("STRICT_DNS", "V4_PREFERRED")


def test_a_fallback_is_a_pair_and_its_first_member_may_be_left_out() -> None:
    clusters = (Cluster("champion", "127.0.0.1:1"), Cluster("canary", "127.0.0.1:2", fallback="champion"))
    made = make_clusters({"endpoints": Fragment(clusters)}, "127.0.0.1:99")
    assert set(made) == {"check", "endpoints/champion", "endpoints/canary", "endpoints/canary|fallback"}
    assert "outlier_detection" not in made["endpoints/champion"]
    assert made["endpoints/canary"]["outlier_detection"]["max_ejection_percent"] == 100
    assert made["endpoints/canary|fallback"] == {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": "endpoints/canary|fallback",
        "connect_timeout": "5s",
        "lb_policy": "CLUSTER_PROVIDED",
        "circuit_breakers": BREAKERS,
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig",
                "clusters": ["endpoints/canary", "endpoints/champion"],
            },
        },
    }


def test_a_route_with_everything() -> None:
    fragment = Fragment((Cluster("a", "h:1"), Cluster("b", "h:2", fallback="a")))
    route = Route(
        "/serve/x/",
        (("a", 90), ("b", 10)),
        auth=True,
        rewrite="/",
        strip=("cookie", "authorization"),
        host="localhost",
    )
    assert make_route("endpoints", fragment, route) == {
        "match": {"prefix": "/serve/x/"},
        "route": {
            "timeout": "0s",
            "weighted_clusters": {
                "clusters": [
                    {"name": "endpoints/a", "weight": 90},
                    {"name": "endpoints/b|fallback", "weight": 10},
                ]
            },
            "retry_policy": {
                "retry_on": "connect-failure,refused-stream,reset",
                "num_retries": 3,
                "retry_priority": {
                    "name": "envoy.retry_priorities.previous_priorities",
                    "typed_config": {
                        "@type": "type.googleapis.com/"
                        "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                        "update_frequency": 1,
                    },
                },
            },
            "prefix_rewrite": "/",
            "host_rewrite_literal": "localhost",
        },
        "request_headers_to_remove": ["cookie", "authorization"],
        "typed_per_filter_config": {
            "envoy.filters.http.ext_authz": {
                "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
                "config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
                    "check_settings": {},
                },
            }
        },
    }


def test_headers_are_set_towards_the_upstream() -> None:
    route = Route("/x/", (("a", 1),), add=(("x-shown", "key"),))
    assert make_route("services", Fragment((Cluster("a", "h:1"),), (route,)), route)["request_headers_to_add"] == [
        {"header": {"key": "x-shown", "value": "key"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    ]


def test_the_table_is_two_flat_maps_and_a_default() -> None:
    hub = Fragment(
        (Cluster("h", "h:1"), Cluster("s", "h:2")),
        (Route("/", (("h", 1),)), Route("/user/ann/", (("s", 1),))),
    )
    slash = {"prefix": "/user/ann"}
    redirect = {"path_redirect": "/user/ann/", "response_code": "TEMPORARY_REDIRECT"}
    add = {
        "action": {"name": "route", "typed_config": {"@type": ROUTE, "match": slash, "redirect": redirect}},
    }
    prefixes = {"/user/ann/": plain("/user/ann/", "hub/s"), "/user/ann?": add}
    assert make_routes({"hub": hub}) == {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": "routes",
        "response_headers_to_remove": ["service-worker-allowed"],
        "virtual_hosts": [
            {
                "name": "front",
                "domains": ["*"],
                "matcher": {
                    "matcher_tree": {"input": INPUT, "exact_match_map": {"map": {"/user/ann": add}}},
                    "on_no_match": {
                        "matcher": {
                            "matcher_tree": {"input": INPUT, "prefix_match_map": {"map": prefixes}},
                            "on_no_match": plain("/", "hub/h"),
                        }
                    },
                },
            }
        ],
    }


def test_no_routes_and_only_a_default_are_tables_too() -> None:
    assert make_routes({})["virtual_hosts"] == [{"name": "front", "domains": ["*"]}]
    only = Fragment((Cluster("h", "h:1"),), (Route("/", (("h", 1),)),))
    (host,) = make_routes({"services": only})["virtual_hosts"]
    default = plain("/", "services/h")
    tree = {"input": INPUT, "prefix_match_map": {"map": {"/": default}}}
    assert host["matcher"] == {"matcher_tree": tree, "on_no_match": default}


def test_services_win_then_endpoints_then_the_hub_then_others() -> None:
    def one(name: str, *prefixes: str) -> Fragment:
        return Fragment((Cluster(name, "h:1"),), tuple(Route(prefix, ((name, 1),)) for prefix in prefixes))

    fragments = {
        "another": one("another", "/a/", "/b/", "/c/", "/d/"),
        "hub": one("hub", "/a/", "/b/", "/c/"),
        "endpoints": one("endpoints", "/a/", "/b/"),
        "services": one("services", "/a/"),
    }
    assert {prefix: owner for prefix, (owner, _) in merged(fragments).items()} == {
        "/a/": "services",
        "/b/": "endpoints",
        "/c/": "hub",
        "/d/": "another",
    }


def test_a_version_is_of_the_content() -> None:
    assert document([{"a": 1}]) == document([{"a": 1}])
    assert document([{"a": 1}])[1] != document([{"a": 2}])[1]


ELSEWHERE = {
    "action": {
        "name": "route",
        "typed_config": {
            "@type": ROUTE,
            "match": {"prefix": "/"},
            "redirect": {
                "scheme_redirect": "http",
                "host_redirect": "dure.test",
                "port_redirect": 8000,
                "response_code": "TEMPORARY_REDIRECT",
            },
        },
    }
}


def test_a_persons_host_has_their_routes_and_leads_to_the_shared_one_else() -> None:
    services = Fragment(
        (Cluster("h", "h:1"),),
        (
            Route("/", (("h", 1),)),
            Route("/services/", (("h", 1),)),
            Route("/", (), domain="*.dure.test", redirect="http://dure.test:8000"),
        ),
    )
    hub = Fragment((Cluster("s", "h:2"),), (Route("/user/ana/", (("s", 1),), domain="a.dure.test"),))
    table = make_routes({"services": services, "hub": hub})
    assert table["ignore_port_in_host_matching"] is True
    found = {host["name"]: host for host in table["virtual_hosts"]}
    assert {name: host["domains"] for name, host in found.items()} == {
        "front": ["*"],
        "*.dure.test": ["*.dure.test"],
        "a.dure.test": ["a.dure.test"],
    }
    own = found["a.dure.test"]["matcher"]["on_no_match"]["matcher"]
    assert own["on_no_match"] == ELSEWHERE
    assert set(own["matcher_tree"]["prefix_match_map"]["map"]) == {"/user/ana/", "/user/ana?"}
    assert found["*.dure.test"]["matcher"]["on_no_match"] == ELSEWHERE
    shared = found["front"]["matcher"]["on_no_match"]["matcher"]["matcher_tree"]["prefix_match_map"]["map"]
    assert set(shared) == {"/services/", "/services?"}

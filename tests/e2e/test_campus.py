"""A campus that is simulated, in a whole portal: who is given which GPU, who waits for one, and that it is said.

The servers are small real processes; the GPUs that their environment names do not exist.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, expect

from dure.wire.ids import new_id
from tests.e2e.portal import Portal, make_portal, until
from tests.e2e.test_dashboards import FLEET, cookies, leave
from tests.e2e.test_pages import HOME, window

pytestmark = pytest.mark.timeout(300)
STUB = Path(__file__).parents[1] / "support" / "stub_server.py"
WHOLE, SLICE, SMALL = "gpu-full-a100-sxm-80", "mig-1g.10gb-a100-sxm-80", "gpu-full-rtx-4090"
TRAINS = "gpu-full-h100-sxm-80"
"""Only on nodes for training: servers of people are not given it."""
NAMES = ("one", "two", "three", "four")
"""Of servers; the hub keeps eight of a person, the stopped ones too."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal of the campus with ana, ben and the administrator."""
    made = make_portal(
        tmp_path_factory.mktemp("campus"),
        DURE_SIMULATED_FLEET="campus",
        DURE_LOOK_INTERVAL_S="0.3",
        DURE_SERVER_COMMAND=json.dumps([sys.executable, "-I", "-S", str(STUB)]),
    )
    try:
        made.up()
        made.add_user("ana")
        made.add_user("ben")
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def ana(site: Portal) -> Iterator[httpx.Client]:
    """The API as ana."""
    with site.client("ana") as client:
        yield client


@pytest.fixture(scope="module")
def ben(site: Portal) -> Iterator[httpx.Client]:
    """The API as ben."""
    with site.client("ben") as client:
        yield client


@pytest.fixture(scope="module")
def root(site: Portal) -> Iterator[httpx.Client]:
    """The API as the administrator."""
    with site.client("admin") as client:
        yield client


@pytest.fixture(autouse=True)
def cleared(ana: httpx.Client, ben: httpx.Client) -> Iterator[None]:
    """After each test no server is left."""
    yield
    for api in (ana, ben):
        for name in left(api):
            api.delete(f"/environments/{name}").raise_for_status()
    until(lambda: not left(ana) + left(ben), lambda: f"every server to be stopped: {left(ana) + left(ben)}")


def left(api: httpx.Client) -> list[str]:
    """Servers that are not over."""
    return [one["name"] for one in api.get("/environments").json() if one["phase"] not in ("stopped", "failed")]


def seen(api: httpx.Client, name: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/environments/{name}").raise_for_status().json()
    return found


def gpu(api: httpx.Client, uuid: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/gpu/devices/{uuid}").raise_for_status().json()
    return found


def ask(api: httpx.Client, name: str, profile: str) -> dict[str, Any]:
    """Ask for a server of this profile; what is said of it at once."""
    answer = api.post("/environments", json={"id": new_id(), "name": name, "profile": profile, "lifetime_s": 3600})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def running(api: httpx.Client, name: str) -> dict[str, Any]:
    """The server of this name, once it runs."""
    until(lambda: seen(api, name)["phase"] == "running", lambda: f"{name} to run: {seen(api, name)}")
    return seen(api, name)


def visible(site: Portal, server: dict[str, Any]) -> str:
    """What its process is told it may see."""
    lease = server["lease"]["id"]
    (found,) = [one for one in site.processes() if is_server(one) and one.environ().get("DURE_LEASE") == lease]
    return found.environ()["CUDA_VISIBLE_DEVICES"]


def is_server(process: psutil.Process) -> bool:
    return str(STUB) in process.cmdline() and "keeper" not in " ".join(process.cmdline())


def test_it_says_what_there_is_and_that_none_of_it_is(ana: httpx.Client) -> None:
    overview = ana.get("/gpu/overview").json()
    assert (overview["totalGpuDevices"], overview["simulated"]) == (24, True)
    assert sum(overview["devicesByModel"].values()) == 24
    assert ana.get("/about").json()["simulated"] is True
    assert {WHOLE, SLICE, SMALL, TRAINS} <= {one["name"] for one in ana.get("/profiles").json()}


def test_each_server_sees_the_devices_of_its_lease_and_no_others(site: Portal, ana: httpx.Client) -> None:
    kinds = {"whole": WHOLE, "slice": SLICE, "small": SMALL}
    for name, (_, profile) in zip(NAMES, kinds.items(), strict=False):
        ask(ana, name, profile)
    servers = {kind: running(ana, name) for name, kind in zip(NAMES, kinds, strict=False)}
    devices = {name: [piece["device"] for piece in one["lease"]["slices"]] for name, one in servers.items()}
    assert len({uuid for own in devices.values() for uuid in own}) == 3
    for name in ("whole", "small"):
        assert visible(site, servers[name]) == ",".join(devices[name])
    (piece,) = servers["slice"]["lease"]["slices"]

    def own() -> dict[str, Any]:
        instances = gpu(ana, piece["device"])["migInstances"]
        place = piece["mig"], piece["start"]
        (found,) = [one for one in instances if (one["profile"], one["start"]) == place]
        return dict(found)

    until(lambda: own()["held"], "a look that is younger than the lease")
    assert visible(site, servers["slice"]) == own()["uuid"]
    for kind, model in {"whole": "A100", "slice": "A100", "small": "RTX 4090"}.items():
        assert model in gpu(ana, devices[kind][0])["model"]


def test_what_is_for_training_is_given_to_training_alone(ana: httpx.Client) -> None:
    body = {"id": new_id(), "name": "big", "profile": TRAINS}
    refused = ana.post("/environments", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "not_in_pool")
    pod = {"namespace": "lab", "podName": "train", "workloadType": "training", "requiredMemoryGb": 80}
    given = ana.post("/gpu/allocations", json=pod).raise_for_status().json()
    assert (given["state"], given["profile"], len(given["devices"])) == ("active", TRAINS, 1)
    until(lambda: gpu(ana, given["devices"][0])["holders"] == 1, "its holder to be shown")
    assert gpu(ana, given["devices"][0])["nodeName"] == "train-1"
    ana.delete(f"/gpu/allocations/{given['id']}").raise_for_status()


def test_who_finds_no_room_waits_in_the_queue_and_starts_when_it_is_there(
    site: Portal, ana: httpx.Client, ben: httpx.Client
) -> None:
    for name in NAMES:
        ask(ben, name, SMALL)
    held = [running(ben, name) for name in NAMES]
    assert len({visible(site, one) for one in held}) == 4
    assert ask(ana, "late", SMALL)["phase"] == "waiting"
    (entry,) = ana.get("/queue").json()
    ends = [one["lease"]["until"] for one in held]
    assert (entry["profile"], entry["position"], entry["code"]) == (SMALL, 1, "no_gpu_free")
    assert entry["expected_start"] > min(ends), "when the first of them ends, and what a promise allows for"
    assert {one["name"]: one for one in ana.get("/profiles").json()}[entry["next_best"]]["free"] > 0
    freed = visible(site, held[2])
    ben.delete(f"/environments/{NAMES[2]}").raise_for_status()
    assert visible(site, running(ana, "late")) == freed
    assert ana.get("/queue").json() == []


def test_an_administrator_cuts_what_is_idle_and_not_what_is_held(ana: httpx.Client, root: httpx.Client) -> None:
    gpus = root.get("/gpu/devices", params={"nodeName": "train-2"}).json()["devices"]
    bare = next(one for one in gpus if one["migEnabled"] and not one["migInstances"])
    cut = root.post(f"/gpu/devices/{bare['id']}/mig", json={"profiles": ["3g.40gb@4", "1g.10gb"]})
    assert cut.status_code == 200, cut.text
    made = {one["profile"]: one["start"] for one in cut.json()["migInstances"]}
    assert (made["3g.40gb"], set(made)) == (4, {"3g.40gb", "1g.10gb"})
    assert gpu(root, bare["id"])["migInstances"] == cut.json()["migInstances"]

    ask(ana, NAMES[0], SLICE)
    server = running(ana, NAMES[0])
    (piece,) = server["lease"]["slices"]
    refused = root.post(f"/gpu/devices/{piece['device']}/mig", json={"profiles": []})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "mig_held")
    assert f"held by ana (lease {server['lease']['id']})" in refused.json()["error"]["message"]
    assert ana.post(f"/gpu/devices/{bare['id']}/mig", json={"profiles": []}).status_code == 403


def test_monitoring_reads_what_each_gpu_does(site: Portal, ana: httpx.Client) -> None:
    token = site.dure("token", "--user", "admin", "--metrics").strip().splitlines()[-1]
    headers = {"Authorization": f"Bearer {token}"}
    read = httpx.get(f"{site.url}/api/v1/metrics", headers=headers).raise_for_status().text
    found = re.findall(r"^gpu_utilization\{([^}]*)\} (\S+)$", read, re.MULTILINE)
    # a GPU in instances has none of its own: its instances have
    known = {one["id"] for one in ana.get("/gpu/devices").json()["devices"] if one["utilization"] is not None}
    assert len(known) >= 16, "those that are not cut"
    assert {re.findall(r'uuid="([^"]*)"', labels)[0] for labels, _ in found} == known
    assert all(0 <= float(value) <= 1 for _, value in found)
    assert httpx.get(f"{site.url}/api/v1/queue", headers=headers).status_code == 403
    assert ana.get("/metrics").status_code == 403


def test_the_pages_say_that_it_is_simulated(chromium: Browser, site: Portal, ana: httpx.Client) -> None:
    ask(ana, NAMES[0], WHOLE)
    running(ana, NAMES[0])
    logins = {name: cookies(chromium, site, name) for name in ("ana", "admin")}
    for colours in ("light", "dark"):
        with window(chromium, site, logins["ana"], colours, 1280) as shown:
            shown.open(f"{HOME}spawn", 200)
            expect(shown.page.get_by_role("note")).to_contain_text("Simulated: none of these GPUs is really there")
            expect(shown.page.locator(f"[data-profile='{WHOLE}']")).to_contain_text("A100")
            assert shown.fits(1280)
            shown.keep(f"campus-spawn-1280-{colours}")
        with window(chromium, site, logins["admin"], colours, 1280) as shown:
            shown.open(FLEET, 200)
            expect(shown.page.locator(".dure-tag", has_text="simulated")).to_be_visible(timeout=60_000)
            expect(shown.page.locator(".dure-devices > li")).to_have_count(24)
            expect(shown.page.locator(".dure-person", has_text="ana")).to_contain_text(
                f"server {NAMES[0]} · {WHOLE}"
            )
            shown.keep(f"campus-fleet-1280-{colours}")
            leave(shown)

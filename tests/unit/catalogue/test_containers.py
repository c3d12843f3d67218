"""What only containers have: names of images, and a profile's volumes, image and shared memory."""

from __future__ import annotations

import pytest

from dure.wire.containers import LONGEST, RESERVED, is_reference, means_container
from dure_hub.backends.kubernetes.spec import HOME, SECRETS, SHM
from dure_hub.catalogue.machine import Machine
from dure_hub.catalogue.marked import BadFile
from dure_hub.catalogue.profilefile import edited, parse, written
from dure_hub.catalogue.profiles import ProfileSpec, Volume, profiles
from dure_hub.settings import Settings

SHA = "a" * 64


def made() -> dict[str, ProfileSpec]:
    return profiles((Machine(8.0, 16 * 1024),), Settings())


@pytest.mark.parametrize(
    "name",
    [
        "python:3.12",
        "library/python",
        "registry.example.com/team/tool:1.2",
        "registry:5000/tool",
        "localhost/dure/singleuser-code:0.1.0",
        "[fd00::1]:5000/tool:v1",
        "a/b__c/d--e.f_g:_Tag.1-x",
        f"registry.example.com/team/tool@sha256:{SHA}",
        f"registry.example.com/team/tool:1.2@sha256:{SHA}",
        f"tool@sha512:{SHA}{SHA}",
    ],
)
def test_what_runtimes_fetch_is_a_reference(name: str) -> None:
    assert is_reference(name)
    assert means_container(name), "so it is never one of the portal's own names"


@pytest.mark.parametrize(
    "name",
    [
        "python",  # one of the portal's own names may be that
        "",
        "Team/tool:1",
        "registry.example.com/Team/tool:1",
        "registry.example.com/team/tool:",
        "registry.example.com/team/tool: 1",
        "registry.example.com//tool:1",
        "/tool:1",
        "tool/",
        "a___b/c",
        "-a/b",
        "a-/b",
        "tool@sha256:abc",
        f"tool@md5:{SHA}",
        f"tool:{'a' * 129}",
        "https://registry.example.com/tool:1",
        "tool:1;rm",
        "tool:1\n",
        f"{'a/' * (LONGEST // 2)}tool:1",
    ],
)
def test_what_no_runtime_fetches_is_none(name: str) -> None:
    assert not is_reference(name)


def test_no_volume_may_hide_what_every_pod_has() -> None:
    for place in (HOME, SECRETS, SHM):
        assert any(place == one or place.startswith(f"{one}/") for one in RESERVED), place


def test_a_profile_brings_its_volumes_its_image_and_its_shared_memory() -> None:
    text = """
profiles:
  cpu:
    volumes:
    - {claim: imagenet, path: /data/imagenet}
    - {claim: scratch.team, path: /mnt/scratch, read_only: false}
    shm_mb: 512
    any_image_groups: [vision]
  code: {like: cpu, image: "registry.example.com/dure/singleuser-code:0.1.0", shm_mb: 999999}
"""
    file = parse(text)
    found = edited(made(), file.profiles)
    cpu, code = found["cpu"], found["code"]
    assert cpu.volumes == (Volume("imagenet", "/data/imagenet"), Volume("scratch.team", "/mnt/scratch", False))
    assert (cpu.shm_mb, cpu.image, cpu.any_image_groups) == (512, None, frozenset({"vision"}))
    assert (code.image, code.volumes) == ("registry.example.com/dure/singleuser-code:0.1.0", ())
    assert code.shm_mb == code.memory_mb, "it is a part of that"
    again = parse(written(file, made()))
    assert edited(made(), again.profiles) == found, "what is written is read as the same"


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("volumes: [{claim: ImageNet, path: /data/x}]", "ImageNet is not possible: a claim has small letters"),
        ("volumes: [{claim: x, path: data/x}]", "data/x is not possible: a path is absolute"),
        ("volumes: [{claim: x, path: /data/../etc}]", "a path is absolute"),
        ("volumes: [{claim: x, path: /data/}]", "a path is absolute"),
        ("volumes: [{claim: x, path: /}]", "a path is absolute"),
        ('volumes: [{claim: x, path: "/data:x"}]', "a path is absolute"),
        ("volumes: [{claim: x, path: /home/jovyan}]", "no volume is at, above or below /home/jovyan"),
        ("volumes: [{claim: x, path: /home/jovyan/data}]", "no volume is at, above or below /home/jovyan"),
        ("volumes: [{claim: x, path: /home}]", "no volume is at, above or below /home/jovyan"),
        ("volumes: [{claim: x, path: /dev/shm}]", "no volume is at, above or below /dev"),
        ("volumes: [{claim: x, path: /var/run/secrets/x}]", "no volume is at, above or below /var/run"),
        ("volumes: [{claim: x, path: /a}, {claim: x, path: /b}]", "x at /b is against that"),
        ("volumes: [{claim: x, path: /a}, {claim: y, path: /a}]", "y at /a is against that"),
        ("volumes: [{claim: x, path: /a/b}, {claim: y, path: /a}]", "y at /a is against that"),
        ("volumes: [{claim: x, path: /a, size: 1}]", "the fields here are claim, path, read_only"),
        ("memory_mb: 1024\n    shm_mb: 2048", "shm_mb is a part of memory_mb"),
        ("shm_mb: 0", "it is at least 1"),
        ("image: Team/tool:1", "an image is a name of `images`, or a reference"),
        ("image: code\n    any_image_groups: [vision]", "with an image of its own, nobody may name another"),
    ],
)
def test_what_cannot_be_is_named_with_its_line_and_rule(entry: str, says: str) -> None:
    with pytest.raises(BadFile) as caught:
        parse(f"profiles:\n  cpu:\n    {entry}\n")
    assert says in caught.value.text("en")
    assert caught.value.facts["line"] >= 3
    assert caught.value.text("ko") != caught.value.text("en")


def test_paths_that_only_begin_alike_are_apart() -> None:
    volumes = "[{claim: x, path: /data}, {claim: y, path: /database}, {claim: z, path: /device}]"
    assert len(parse(f"profiles:\n  cpu: {{volumes: {volumes}}}\n").profiles["cpu"].volumes) == 3

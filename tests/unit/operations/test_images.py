"""Who may start which image: of the list, the profile's own, or any that is typed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dure import wire
from dure.wire.ids import new_id
from dure_hub.backends.base import Feature
from dure_hub.backends.embedded import EmbeddedServers, gaps
from dure_hub.operations.errors import ProfileNotForYou, ProfileNotHere
from dure_hub.operations.images import ImageIsTheProfiles, ImageNotForYou, NoSuchImage, NotAnImage, command_of
from dure_hub.operations.people import Person
from dure_hub.settings import Image, Settings
from tests.support.world import World

ANN, ROOT = Person("ann", teams=frozenset({"vision"})), Person("root", admin=True)
BEN = Person("ben", teams=frozenset({"speech"}))
TYPED, OWN = "registry.example.com/ann/tool:1.2", "registry.example.com/dure/singleuser-code:0.1.0"
PROFILES = f"""
profiles:
  cpu: {{any_image_groups: [vision]}}
  code: {{like: cpu, image: "{OWN}"}}
  torch: {{like: cpu, image: torch}}
  gone: {{like: cpu, image: tensor}}
  data: {{like: cpu, volumes: [{{claim: imagenet, path: /data/imagenet}}], shm_mb: 256}}
  team: {{like: cpu, volumes: [{{claim: imagenet, path: /data/imagenet}}], groups: [vision]}}
"""
IMAGES = [
    Image(name="usual", container="registry.example.com/usual:1"),
    Image(name="torch", container="registry.example.com/torch:1", command=["start-torch"]),
]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A cluster's portal, as far as images go."""
    made = World(tmp_path, backend="kubernetes", server_image="registry.example.com/first:1", images=IMAGES)
    made.settings.folder.profiles.write_text(PROFILES)
    yield made
    await made.close()


def ask(name: str = "default", **more: Any) -> wire.EnvironmentRequest:
    return wire.EnvironmentRequest(**{"id": new_id(), "name": name, "profile": "cpu", **more})


async def test_who_is_in_the_group_starts_any_image_and_finds_it_again(world: World) -> None:
    assert (await world.environments.request(ANN, ask(image=TYPED))).image == TYPED
    granted = await world.environments.claim("ann", "", None, None, ["vision"])
    assert (granted.container, granted.command) == (TYPED, ())
    assert (await world.offers.last(ANN, "default")).image == TYPED
    await world.environments.ended(granted.lease, "stopped")
    assert (await world.turns.again(ANN, "default", new_id())).image == TYPED


@pytest.mark.parametrize("person", [BEN, ROOT, Person("eve")])
async def test_nobody_else_does_and_nothing_is_started(world: World, person: Person) -> None:
    with pytest.raises(ImageNotForYou, match=r"teams choose any image: vision\.") as refused:
        await world.environments.request(person, ask(image=TYPED))
    assert "usual, torch" in refused.value.advice("en")
    assert await world.environments.list(ROOT, everyone=True) == []
    shown = {one.name: one.any_image for one in await world.profiles.list(person)}
    assert not any(shown.values())


async def test_profiles_say_who_may_type_what_they_bring_and_what_they_are_made_from(world: World) -> None:
    shown = {one.name: one for one in await world.profiles.list(ANN)}
    assert [name for name, one in shown.items() if one.any_image] == ["cpu"]
    assert (shown["code"].image, shown["torch"].image, shown["cpu"].image) == (OWN, "torch", None)
    (volume,) = shown["data"].volumes
    assert (volume.claim, volume.path, volume.read_only) == ("imagenet", "/data/imagenet", True)
    with pytest.raises(ImageNotForYou, match="any image: -"):
        await world.environments.request(ANN, ask(profile="data", image=TYPED))


async def test_the_group_is_asked_again_when_the_hub_starts_it(world: World) -> None:
    """Whoever left the team while a request waited starts nothing of their own any more."""
    both = Person("ann", teams=frozenset({"vision", "speech"}))
    answer = await world.environments.request(both, ask(image=TYPED, team="speech"))
    assert answer.lease is not None
    with pytest.raises(ImageNotForYou):
        await world.environments.claim("ann", "", answer.lease.id, "cpu", ["speech"])
    granted = await world.environments.claim("ann", "", answer.lease.id, "cpu", ["vision"])
    await world.environments.ended(granted.lease, "stopped")
    with pytest.raises(ImageNotForYou):  # straight through the hub: as the last one was
        await world.environments.claim("ann", "", None, None, ["speech"])
    with pytest.raises(ImageNotForYou):
        await world.turns.again(Person("ann", teams=frozenset({"speech"})), "default", new_id())


async def test_data_of_a_team_is_mounted_for_nobody_who_has_left_it(world: World) -> None:
    both = Person("ann", teams=frozenset({"vision", "speech"}))
    answer = await world.environments.request(both, ask(profile="team", team="speech"))
    assert answer.lease is not None
    with pytest.raises(ProfileNotForYou):
        await world.environments.claim("ann", "", answer.lease.id, "team", ["speech"])
    granted = await world.environments.claim("ann", "", answer.lease.id, "team", ["vision"])
    assert [one.claim for one in granted.volumes] == ["imagenet"]


@pytest.mark.parametrize(
    ("typed", "error"),
    [("Team/tool:1", NotAnImage), ("tool:", NotAnImage), ("python", NotAnImage), ("https://a.b/c:1", NotAnImage)],
)
async def test_what_is_no_reference_is_refused_with_the_rule(
    world: World, typed: str, error: type[NotAnImage]
) -> None:
    with pytest.raises(error, match="a path in small letters"):
        await world.environments.request(ANN, ask(image=typed))
    with pytest.raises((NoSuchImage, ImageNotForYou)):
        await world.environments.request(BEN, ask(image=typed))


async def test_a_profiles_own_image_is_what_its_servers_are_made_from(world: World) -> None:
    assert (await world.environments.request(ANN, ask(profile="code"))).image == OWN
    granted = await world.environments.claim("ann", "", None, None, ["vision"])
    assert (granted.container, granted.command) == (OWN, ())
    await world.environments.request(ANN, ask("listed", profile="torch"))
    granted = await world.environments.claim("ann", "listed", None, None, ["vision"])
    assert (granted.container, granted.command) == ("registry.example.com/torch:1", ("start-torch",))
    with pytest.raises(ImageIsTheProfiles, match=f"made from {OWN}, not from torch"):
        await world.environments.request(ANN, ask("other", profile="code", image="torch"))
    with pytest.raises(NoSuchImage, match="no image named tensor"):
        await world.environments.request(ANN, ask("other", profile="gone"))


async def test_volumes_and_shared_memory_reach_the_spawner(world: World) -> None:
    await world.environments.request(ANN, ask(profile="data"))
    granted = await world.environments.claim("ann", "", None, None, ["vision"])
    assert [(one.claim, one.path, one.read_only) for one in granted.volumes] == [
        ("imagenet", "/data/imagenet", True)
    ]
    assert granted.shm_mb == 256


async def test_where_servers_are_no_containers_it_is_said_before_anything_starts(
    world: World, tmp_path: Path
) -> None:
    world.profiles.lacks = EmbeddedServers(Settings(data=tmp_path / "other")).unsupported
    assert {Feature.VOLUMES, Feature.CONTAINER_IMAGES} <= set(world.profiles.lacks)
    for profile, feature in (("data", Feature.VOLUMES), ("code", Feature.CONTAINER_IMAGES)):
        with pytest.raises(ProfileNotHere) as refused:
            await world.environments.request(ANN, ask(profile=profile))
        for language in ("en", "ko"):
            assert gaps.NO_CONTAINERS[feature][language] in refused.value.text(language)
    with pytest.raises(ProfileNotHere):
        await world.environments.request(ANN, ask(image=TYPED))
    offers = {one.name: one for one in await world.offers.list(ANN)}
    assert not offers["cpu"].any_image
    assert offers["cpu"].refusal is None
    assert "shared_folders" in (offers["data"].refusal or {})["en"]


def test_what_is_typed_runs_its_own_command_and_never_the_first_ones() -> None:
    settings = Settings(images=[Image(name="usual", command=["mine"])])
    assert command_of(settings, "gone") == ("mine",)
    assert command_of(settings, TYPED) == ()

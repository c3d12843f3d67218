"""profiles.yaml: written from a machine, edited by people, read back as the same."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dure.wire.organisation import DevicePolicy, OrganisationFile, ProfileEntry, ProfilesFile
from dure_hub.catalogue.machine import Gpu, Machine
from dure_hub.catalogue.marked import BadFile, Marked
from dure_hub.catalogue.profilefile import away, edited, parse, settled, written
from dure_hub.catalogue.profiles import ProfileSpec, profiles
from dure_hub.catalogue.rates import GIVEN, MICRO
from dure_hub.settings import Settings
from dure_hub.supervisor import prepare

SETTINGS = Settings()
GPUS = tuple(Gpu(f"g{number}", "NVIDIA H100", 81920, "h100-sxm-80") for number in range(2))


def made() -> dict[str, ProfileSpec]:
    """What a machine with two GPUs is made into."""
    return profiles((Machine(64.0, 512 * 1024, GPUS, "a"),), SETTINGS, GIVEN, datetime(2026, 6, 1, tzinfo=UTC))


def test_what_is_written_from_a_machine_sets_nothing_yet() -> None:
    text = written(ProfilesFile(), made())
    assert edited(made(), parse(text).profiles) == made()
    for line in (
        "  gpu-full:  # One NVIDIA H100",
        "    # price: 8",
        "    # max_lifetime_s: 43200",
        "    groups: []",
    ):
        assert f"\n{line}\n" in text
    assert parse(text.replace("    # price: 8", "    price: 3.5", 1)).profiles["gpu-full"].price is not None


def test_what_is_set_reads_back_and_the_rest_stays_as_the_machine_makes_it() -> None:
    entry = ProfileEntry.model_validate({"price": "3.5", "groups": ["a b", "팀"], "cpu_cores": 2, "title": "Big"})
    own = ProfileEntry.model_validate({"like": "cpu", "memory_mb": 4096})
    devices = DevicePolicy(gpu_sharing="mps", pools={"a": "training"})
    file = ProfilesFile(profiles={"gpu-full": entry, "more": own}, devices=devices)
    again = parse(written(file, made()))
    said = {name: one for name, one in again.profiles.items() if one != ProfileEntry()}
    assert ProfilesFile(profiles=said, devices=again.devices) == file
    found = edited(made(), again.profiles)
    assert list(found) == ["gpu-full", "gpu-full-x2", "cpu", "more"]
    big, before = found["gpu-full"], made()["gpu-full"]
    assert (big.rate, sorted(big.groups), big.cpu_cores) == (3_500_000, ["a b", "팀"], 2.0)
    assert (big.title["ko"], big.memory_mb, big.max_lifetime_s) == ("Big", before.memory_mb, before.max_lifetime_s)
    assert "2 cores promised" in big.description["en"]
    assert "4 GiB" in found["more"].description["en"]
    assert found["gpu-full-x2"] == made()["gpu-full-x2"]
    assert settled(SETTINGS, devices).gpu_sharing == "mps"


def test_a_profile_that_the_machine_has_not_now_is_no_error() -> None:
    entries = {"gpu-gone": ProfileEntry(price=None, groups=["a"]), "mine": ProfileEntry(like="gpu-gone")}
    assert edited(made(), entries) == made()
    assert away(made(), entries) == ["gpu-gone", "mine"]


@pytest.mark.parametrize(
    ("entry", "usual", "longest"),
    [
        ({"default_lifetime_s": 600}, 600, 43200),
        ({"max_lifetime_s": 600}, 600, 600),
        ({"default_lifetime_s": 90000}, 90000, 90000),
        ({"default_lifetime_s": 600, "max_lifetime_s": 900}, 600, 900),
    ],
)
def test_lifetimes_never_contradict_each_other(entry: dict[str, int], usual: int, longest: int) -> None:
    found = edited(made(), {"gpu-full": ProfileEntry.model_validate(entry)})["gpu-full"]
    assert (found.default_lifetime_s, found.max_lifetime_s) == (usual, longest)


def test_cores_without_a_gpu_cost_by_the_core() -> None:
    rates = GIVEN.__class__((*GIVEN.rates, GIVEN.rates[0].__class__("cpu", MICRO, GIVEN.rates[0].since)))
    spec = profiles((Machine(64.0, 512 * 1024),), SETTINGS, rates, datetime(2026, 6, 1, tzinfo=UTC))
    assert spec["cpu"].rate == MICRO // 2
    assert edited(spec, {"cpu": ProfileEntry(cpu_cores=3)})["cpu"].rate == 3 * MICRO


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("profiles:\n  cpu: {cores: 2}\n", 2),
        ("profiles:\n  cpu:\n    max_lifetime_s: 600\n    default_lifetime_s: 900\n", 4),
        ("devices:\n  gpu_sharing: often\n", 2),
        ("devices:\n  pools:\n    a: research\n", 3),
    ],
)
def test_a_bad_line_is_named(text: str, line: int) -> None:
    with pytest.raises(BadFile) as caught:
        parse(text)
    assert (caught.value.facts["file"], caught.value.facts["line"]) == ("profiles.yaml", line)


@pytest.mark.parametrize(
    ("kind", "text", "fields"),
    [
        (ProfilesFile, "profiles:\n  cpu: {grups: [vision]}\n", "like, title, "),
        (OrganisationFile, "team: {}\n", "users, teams, "),
        (OrganisationFile, "teams:\n  vision: {lead: ben}\n", "members, leads, projects"),
        (
            OrganisationFile,
            "rates:\n- {gpu: a100-sxm-80, rate: 1, since: 2026-01-01, price: 2}\n",
            "gpu, rate, since",
        ),
        (OrganisationFile, "quotas:\n  users:\n    ana: {gpu: 1}\n", "gpus, "),
    ],
)
def test_where_a_field_is_unknown_those_there_are_are_named(
    kind: type[ProfilesFile | OrganisationFile], text: str, fields: str
) -> None:
    with pytest.raises(BadFile) as caught:
        Marked(text, "a.yaml").read(kind)
    assert f"the fields here are {fields}" in caught.value.text("en")
    assert fields in caught.value.text("ko")


async def test_the_first_start_writes_it_and_no_later_one_does(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, simulated_fleet="dgx-a100")
    settings.folder.create()
    await prepare.write_profiles(settings)
    file = settings.folder.profiles
    text = file.read_text()
    assert "\n  mig-1g.10gb:" in text or "\n  gpu-full:" in text
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("profiles: {}\n")
    await prepare.write_profiles(settings)
    assert file.read_text() == "profiles: {}\n"

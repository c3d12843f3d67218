"""The organisation: who is in it, in which teams, with which limits, at which rates, on which profiles.

In the file and here, money is in whole units with at most six digits behind the point; a section that is left out
is not touched.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from dure.wire.base import Answer, Ask, Name, TeamName
from dure.wire.containers import ImageName, Volumes
from dure.wire.money import LARGEST, Limit, Subject, in_team

LONGEST_S = 30 * 86400


def _plain(amount: Decimal) -> int | float | str:
    """A number where JSON can say it exactly, else its digits."""
    if amount == amount.to_integral_value():
        return int(amount)
    return float(amount) if Decimal(repr(float(amount))) == amount else format(amount, "f")


Amount = Annotated[
    Decimal,
    Field(ge=0, le=Decimal(LARGEST) / 10**6, decimal_places=6),
    PlainSerializer(_plain, return_type=int | float | str, when_used="json"),
]
"""Money, exact to a millionth."""
Rate = Annotated[
    Decimal,
    Field(ge=0, le=1_000_000, decimal_places=6),
    PlainSerializer(_plain, return_type=int | float | str, when_used="json"),
]
"""Money an hour."""
Person = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
ProfileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9](?:[.+_-]?[A-Za-z0-9])*$", max_length=60)]
Seconds = Annotated[int, Field(ge=300, le=LONGEST_S)]
Sentence = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]


def _in_a_team(name: str) -> str:
    if in_team(name) is None:
        raise PydanticCustomError("project_in_team", "a project is named with its team: vision/segmentation")
    return name


ProjectName = Annotated[Subject, AfterValidator(_in_a_team)]


class UserEntry(Ask):
    """Somebody who logs in by password. The password never stands here: `dure user reset NAME` sets it."""

    administrator: bool = False
    disabled: bool = False


class TeamEntry(Ask):
    """A team. `leads` see what is charged to it and may end that; `projects` are names in it."""

    members: list[Person] = Field(default=[], max_length=10_000)
    leads: list[Person] = Field(default=[], max_length=1000)
    projects: list[Name] = Field(default=[], max_length=1000)


class QuotaEntry(Ask):
    """Limits of one user or team, each as in `QuotaRequest`; one at least."""

    gpus: Limit | None = None
    gpu_hours_month: Limit | None = None
    api_calls_day: Limit | None = None
    upload_mb_month: Limit | None = None
    max_lifetime_s: Seconds | None = None


class Quotas(Ask):
    """By name; `*` is everybody of that kind who has none of their own."""

    users: dict[Subject, QuotaEntry] = Field(default={}, max_length=10_000)
    teams: dict[Subject, QuotaEntry] = Field(default={}, max_length=10_000)


class Budgets(Ask):
    """Money a month, of teams and of projects in them (`vision/segmentation`)."""

    teams: dict[Subject, Annotated[Amount, Field(gt=0)]] = Field(default={}, max_length=1000)
    projects: dict[ProjectName, Annotated[Amount, Field(gt=0)]] = Field(default={}, max_length=1000)


class RateEntry(Ask):
    """An hour of this GPU (or of one core: `cpu`) costs `rate` from `since` on (UTC); without it, from today."""

    gpu: str = Field(max_length=60)
    rate: Rate
    since: date | None = None


class ProfileEntry(Ask):
    """What is other about a profile than the machine and the settings make it; null is as they make it.

    A profile of a new name is `like` one that there is. `price` is money an hour, in place of the rate card's.
    `groups` are the teams that may pick it, none is everybody; `offered: false` takes it away from all.

    What only containers have: `image` is what its servers are made from, whoever asks; members of
    `any_image_groups` may name any instead (none is nobody). `volumes` are there in each of its servers, and
    `shm_mb` is their shared memory (MiB), at most their memory; null is half of that.
    """

    like: ProfileName | None = None
    title: Sentence | dict[Literal["en", "ko"], Sentence] | None = None
    description: Sentence | dict[Literal["en", "ko"], Sentence] | None = None
    cpu_cores: float | None = Field(default=None, gt=0, le=512, allow_inf_nan=False)
    memory_mb: int | None = Field(default=None, ge=64, le=2**31 - 1)
    price: Rate | None = None
    default_lifetime_s: Seconds | None = None
    max_lifetime_s: Seconds | None = None
    groups: list[TeamName] = Field(default=[], max_length=1000)
    image: ImageName | None = None
    any_image_groups: list[TeamName] = Field(default=[], max_length=1000)
    volumes: Volumes = []
    shm_mb: int | None = Field(default=None, ge=1, le=2**31 - 1)
    offered: bool = True


class DevicePolicy(Ask):
    """How GPUs are given, each as the setting of its name in place of it; null is as the setting says.

    `pools` says what a node is for: development, training, inference, or "" for anything.
    """

    gpu_sharing: Literal["none", "time-slice", "mps", "memory"] | None = None
    gpu_replicas: int | None = Field(default=None, ge=2, le=48)
    share_across_teams: bool | None = None
    team_borrowing: bool | None = None
    mig_dynamic: bool | None = None
    pools: dict[Subject, Literal["", "development", "training", "inference"]] = Field(
        default={}, max_length=10_000
    )


class ProfilesFile(Ask):
    """profiles.yaml of the data folder."""

    profiles: dict[ProfileName, ProfileEntry] = Field(default={}, max_length=1000)
    devices: DevicePolicy = DevicePolicy()


class OrganisationFile(Ask):
    """The whole organisation. A section that is left out is not touched; of one that is there, what it does not
    name is taken away, but for users (who are never deleted) and for rates that have begun."""

    users: dict[Person, UserEntry] | None = Field(default=None, max_length=10_000)
    teams: dict[TeamName, TeamEntry] | None = Field(default=None, max_length=1000)
    quotas: Quotas | None = None
    budgets: Budgets | None = None
    rates: list[RateEntry] | None = Field(default=None, max_length=1000)
    profiles: dict[ProfileName, ProfileEntry] | None = Field(default=None, max_length=1000)
    devices: DevicePolicy | None = None


class OrganisationRequest(Ask):
    """Bring the organisation to what is said: as `text` (YAML; what is wrong is named by its line) or as values.

    With `dry_run` nothing is changed. With `base` it is refused where the organisation is another by now than the
    one of that revision.
    """

    text: str | None = Field(default=None, max_length=900_000)
    organisation: OrganisationFile | None = None
    dry_run: bool = False
    base: str | None = Field(default=None, max_length=64)


class OrganisationChange(Answer):
    """One difference: of a `field` of the thing, or of the whole thing where `field` is null.

    `before` is null for what is new, `after` for what is taken away.
    """

    kind: str
    name: str
    field: str | None = None
    before: Any = None
    after: Any = None


class OrganisationDiff(Answer):
    """What was changed, or would be where `applied` is false. `notes` say in each language what is left to do.

    `revision` is that of the organisation afterwards. `waiting` are changes that are recorded and not yet carried
    out, since a part of the portal does not answer now; they are, once it does.
    """

    changes: list[OrganisationChange] = []
    notes: list[dict[str, str]] = []
    applied: bool
    revision: str
    waiting: list[dict[str, str]] = []


class Organisation(Answer):
    """The organisation as it is, and as the file that says so: to apply that changes nothing."""

    revision: str
    organisation: OrganisationFile
    text: str
    groups_managed: bool = False


class Team(Answer):
    """A team as its members see it. `lead` is whether the reader leads it."""

    name: str
    members: list[str] = []
    leads: list[str] = []
    projects: list[str] = []
    lead: bool = False


class TeamRequest(TeamEntry):
    """A whole team, as it stands in the file under its name."""

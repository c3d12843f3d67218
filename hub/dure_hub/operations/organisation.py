"""The organisation as one: looked at, and brought to what a file says, all of it or nothing."""

from __future__ import annotations

import asyncio
import builtins
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import LANGUAGES, DureError, NotFound
from dure.wire.organisation import OrganisationFile, ProfilesFile, TeamEntry
from dure_hub.catalogue import profilefile, rates
from dure_hub.catalogue.marked import BadFile, Marked
from dure_hub.catalogue.rates import BadRates
from dure_hub.operations import live_profiles
from dure_hub.operations import organisation_file as files
from dure_hub.operations import organisation_rows as rows
from dure_hub.operations.groups import TeamGroups
from dure_hub.operations.organisation_errors import OrganisationChanged, TextOrValues
from dure_hub.operations.people import Person
from dure_hub.operations.profiles import Profiles
from dure_hub.operations.rates import RateCards, load
from dure_hub.policies import organisation as policy
from dure_hub.policies.organisation import DEVICES, PROFILE, RATE, TEAM, USER, Change, DatedRate, Problem, Section
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import record
from dure_hub.store.models import Errand

log = logging.getLogger(__name__)
_SENT = "organisation"
_PASSWORD = {
    "en": "{name} has no password that anybody knows: run `dure user reset {name}` on the portal's machine.",
    "ko": "{name}의 비밀번호는 아직 아무도 모릅니다. 포털 머신에서 `dure user reset {name}`을 실행하세요.",
}
_BUSY = {
    "en": "The portal's database could not be written right now; what is left follows by itself.",
    "ko": "포털 데이터베이스에 지금 쓸 수 없습니다. 남은 변경은 자동으로 이어서 적용됩니다.",
}


class People(Protocol):
    """The accounts of people who log in by password; app.py gives it."""

    def listed(self) -> Mapping[str, Mapping[str, bool]]:
        """Of each account, whether it is an `administrator` and `disabled`."""

    def bring(self, name: str, administrator: bool, disabled: bool) -> None:
        """Make it so; twice is once."""


class Nobody:
    """No accounts: the login provider has them."""

    def listed(self) -> Mapping[str, Mapping[str, bool]]:
        """None."""
        return {}

    def bring(self, name: str, administrator: bool, disabled: bool) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class _Asked:
    """What is asked for: the tree of what was named, the rates apart, and where in the text it stands."""

    tree: Mapping[str, Section]
    rates: Sequence[DatedRate] | None
    marked: Marked | None
    checked: Mapping[str, Section] | None = None
    """What of the tree is to be checked; None is all of it."""

    def wrong(self, problem: Problem) -> BadFile:
        if self.marked is not None:
            return self.marked.wrong(problem.path, problem.value, problem.rule)
        named = ".".join(str(part) for part in problem.path)
        return BadFile(_SENT, 0, named, problem.value, problem.rule)


class Organisation:
    """Reads it, applies it, and carries out what that leaves to do."""

    def __init__(
        self, settings: Settings, store: Store, clock: Clock, profiles: Profiles, groups: TeamGroups
    ) -> None:
        self._settings, self._store, self._clock = settings, store, clock
        self._profiles, self._groups = profiles, groups
        self._rates = RateCards(settings.folder.rates)
        self._file = live_profiles.LiveProfiles(settings.folder)
        self._carrying = asyncio.Lock()
        self.people: People = Nobody()

    async def get(self, person: Person) -> wire.Organisation:
        """The whole organisation with its file; for administrators."""
        person.need_admin()
        tree = await self._store.read(self._read)
        ways = {"by_password": self._by_password, "groups_managed": self._settings.groups_managed}
        values = files.values_of(tree, **ways)
        return wire.Organisation(
            revision=files.revision_of(tree),
            organisation=OrganisationFile.model_validate(values),
            text=files.written(values),
            groups_managed=self._settings.groups_managed,
        )

    async def put(self, person: Person, ask: wire.OrganisationRequest) -> wire.OrganisationDiff:
        """Bring it to what is asked for, in one transaction; the differences. With `dry_run` nothing is changed.

        Raises `BadFile`, which names line and rule, `OrganisationChanged` and `TextOrValues`: nothing was changed.
        """
        person.need_admin()
        if (ask.text is None) == (ask.organisation is None):
            raise TextOrValues
        asked = await asyncio.to_thread(self._asked, ask)
        return await self._bring(person, asked, dry_run=ask.dry_run, base=ask.base)

    async def put_team(self, person: Person, name: str, ask: TeamEntry | None) -> wire.OrganisationDiff:
        """Make or change one team, or remove it (None), and leave all others, whatever is wrong with those.

        For administrators.
        """
        person.need_admin()

        def others(session: Session) -> _Asked:
            found: dict[str, Any] = rows.teams(session)
            if ask is None and found.pop(name, None) is None:
                raise NotFound(kind="team", name=name)
            this = {} if ask is None else {name: ask.model_dump(include=set(TeamEntry.model_fields))}
            return _Asked({TEAM: found | this}, None, None, checked={TEAM: this})

        return await self._bring(person, others, dry_run=False, base=None)

    async def teams(self, person: Person) -> builtins.list[wire.Team]:
        """The person's teams; all for administrators. Who is in them is known where the portal says so."""
        found = await self._store.read(rows.teams)
        if self._settings.groups_managed:  # what was once said here says nothing there
            found = {name: {**fields, "members": []} for name, fields in found.items()}
        names = sorted(found if person.admin else person.teams)
        nothing: dict[str, list[str]] = {}
        return [wire.Team(name=name, lead=name in person.leads, **found.get(name, nothing)) for name in names]

    async def carry_out(self) -> builtins.list[dict[str, str]]:
        """Do what is recorded and not yet done; a sentence for each part that could not be done now."""
        async with self._carrying:
            missing = []
            for errand in await self._store.read(rows.errands):
                try:
                    await asyncio.to_thread(self._do, errand)
                    await self._store.run(partial(_done, errand=errand))
                except (DureError, OSError, SQLAlchemyError) as error:
                    log.warning("not yet done: %s %s: %s", errand.kind, errand.name, error)
                    missing.append(_said(error))
                self._profiles.forget()
        try:
            return missing + await self._groups.bring()
        except (
            DureError,
            SQLAlchemyError,
        ) as error:  # the hub writes into the same database, and may hold it for long
            log.warning("not yet done: groups: %s", error)
            return [*missing, _said(error)]

    async def look(self) -> None:
        """The same, for a tick."""
        await self.carry_out()

    @property
    def _by_password(self) -> bool:
        return self._settings.auth == "password"

    def _do(self, errand: Errand) -> None:
        if errand.kind == rows.ACCOUNT:
            self.people.bring(errand.name, bool(errand.value["administrator"]), bool(errand.value["disabled"]))
        elif errand.name in (rows.RATES_FILE, rows.PROFILES_FILE):
            live_profiles.keep(self._settings.folder.root / errand.name, str(errand.value["text"]))

    def _asked(self, ask: wire.OrganisationRequest) -> _Asked:
        marked = Marked(ask.text, files.FILE) if ask.text is not None else None
        file = marked.read(OrganisationFile) if marked is not None else ask.organisation
        assert file is not None  # noqa: S101 - one of the two was sent
        where = marked or Marked("{}", _SENT)
        profilefile.check(file.profiles or {}, where, ())
        asked = _Asked(files.tree_of(file), files.rates_of(file), marked)
        try:
            for number, one in enumerate(file.rates or ()):
                _known_gpu(number, one.gpu)
        except Problem as problem:
            raise asked.wrong(problem) from problem
        return asked

    async def _bring(
        self, person: Person, what: _Asked | Callable[[Session], _Asked], *, dry_run: bool, base: str | None
    ) -> wire.OrganisationDiff:
        made = await self._profiles.fleet()
        now = self._clock()

        def change(session: Session) -> tuple[list[Change], Mapping[str, Section]]:
            asked = what if isinstance(what, _Asked) else what(session)
            before = self._read(session)
            after = self._after(asked, before, now)
            changes = policy.changes(before, after)
            if changes and base is not None and base != files.revision_of(before):
                raise OrganisationChanged(base=base, revision=files.revision_of(before))
            if changes and not dry_run:
                self._refuse_broken({one.kind for one in changes})
                rows.write(session, changes, after, person.name, now)
                self._send_files(session, changes, after, made.made, person.name, now)
                facts = {
                    "code": "applied",
                    "facts": {"changes": len(changes), "revision": files.revision_of(after)},
                }
                record(session, now, person.name, "organisation.apply", "organisation", facts)
            return changes, after

        run = self._store.read if dry_run else self._store.run
        changes, after = await run(change)
        waiting = [] if dry_run or not changes else await self.carry_out()
        return wire.OrganisationDiff(
            changes=[wire.OrganisationChange(**vars(one)) for one in changes],
            notes=_notes(changes),
            applied=not dry_run,
            revision=files.revision_of(after),
            waiting=waiting,
        )

    def _after(self, asked: _Asked, before: Mapping[str, Section], now: datetime) -> Mapping[str, Section]:
        managed = self._settings.groups_managed
        try:
            after = policy.merged(before, asked.tree, asked.rates, now.astimezone(UTC).date())
            checked = asked.tree if asked.checked is None else asked.checked
            policy.check(before, checked, after, by_password=self._by_password, groups_managed=managed)
        except Problem as problem:
            raise asked.wrong(problem) from problem
        found = files.normal(after)
        if managed:  # what the store once knew of members says nothing there, and is left alone
            for name, fields in found[TEAM].items():
                fields["members"] = before[TEAM].get(name, {}).get("members", [])
        return found

    def _read(self, session: Session) -> Mapping[str, Section]:
        """The organisation as it is once all errands are done."""
        known = self.people.listed() if self._by_password else {}
        text = rows.pending_text(session, rows.RATES_FILE)
        card = self._rates.card() if text is None else rates.parse(text)
        said = rows.pending_text(session, rows.PROFILES_FILE)
        file = self._file.current() if said is None else profilefile.parse(said)
        days: dict[str, dict[str, int]] = {}
        for rate in sorted(card.rates, key=lambda one: (one.key, one.since)):
            days.setdefault(rate.key, {})[rate.since.isoformat()] = rate.micro
        tree: dict[str, Any] = {
            USER: rows.accounts(session, known),
            TEAM: rows.teams(session),
            policy.QUOTA: rows.limits(session),
            policy.BUDGET: rows.budgets(session),
            RATE: days,
            PROFILE: files.profile_tree(file.profiles),
            DEVICES: files.device_tree(file.devices),
        }
        return files.normal(tree)

    def _refuse_broken(self, kinds: set[str]) -> None:
        """What somebody was editing by hand is not written over. Raises `BadRates`, `BadFile`."""
        folder = self._settings.folder
        if RATE in kinds and folder.rates.exists():
            load(folder.rates)
        if kinds & {PROFILE, DEVICES} and folder.profiles.exists():
            profilefile.parse(live_profiles.read(folder.profiles))

    def _send_files(
        self,
        session: Session,
        changes: Sequence[Change],
        after: Mapping[str, Section],
        made: Mapping[str, Any],
        actor: str,
        now: datetime,
    ) -> None:
        kinds = {one.kind for one in changes}
        if RATE in kinds:
            card = rates.RateCard(
                tuple(
                    rates.Rate(gpu, micro, datetime.fromisoformat(day).date())
                    for gpu, days in after[RATE].items()
                    for day, micro in days.items()
                )
            )
            rows.send(session, rows.FILE, rows.RATES_FILE, {"text": rates.written(card)}, actor, now)
        if kinds & {PROFILE, DEVICES}:
            file = ProfilesFile.model_validate({"profiles": after[PROFILE], "devices": after[DEVICES].get("", {})})
            text = profilefile.written(file, made)
            rows.send(session, rows.FILE, rows.PROFILES_FILE, {"text": text}, actor, now)


def _known_gpu(number: int, gpu: str) -> None:
    """Refuse a rate of what the catalogue does not have."""
    try:
        rates.read([{"gpu": gpu, "rate": 0, "since": datetime(2026, 1, 1, tzinfo=UTC).date()}])
    except BadRates as error:
        raise Problem(("rates", number, "gpu"), gpu, error.rule) from error


def _done(session: Session, errand: Errand) -> None:
    """Take an errand away that was done, if it is still the same."""
    row = session.get(Errand, (errand.kind, errand.name))
    if row is not None and row.value == errand.value and row.asked_at == errand.asked_at:
        session.delete(row)


def _notes(changes: Sequence[Change]) -> list[dict[str, str]]:
    """What is left to do for people: a password for each new account, and for each that is opened again."""
    names = [
        one.name
        for one in changes
        if one.kind == USER
        and ((one.field is None and not one.after["disabled"]) or (one.field == "disabled" and one.after is False))
    ]
    return [{language: text.format(name=name) for language, text in _PASSWORD.items()} for name in names]


def _said(error: Exception) -> dict[str, str]:
    if isinstance(error, DureError):
        return {language: error.text(language) for language in LANGUAGES}
    if isinstance(error, SQLAlchemyError):
        return dict(_BUSY)
    return dict.fromkeys(LANGUAGES, str(error))

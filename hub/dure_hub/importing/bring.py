"""Plans who comes over, and brings them: one person at a time, each whole or not at all.

A home is copied beside its place and moved there when it is whole; then account, person and teams are written in
one transaction. What was begun is on a row before, so that a run that was killed is gone on with by the next.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dure_hub.importing import rows
from dure_hub.importing.errors import HomeFailed, NoHubYet, NoRoom, PortalIsUp
from dure_hub.importing.homes import Copied, Home, copy_home, home_of, size_of
from dure_hub.policies.importing import REFUSED, TAKEN, Mapped, OldUser, map_people
from dure_hub.policies.naming import slug
from dure_hub.settings import Settings

ALREADY, BRING, EMPTY_HOME, NO_HOME, BROUGHT, FAILED = "already", "bring", "empty", "no_home", "brought", "failed"


@dataclass(frozen=True)
class Step:
    """One person: who they become, where their home is, and what happens or happened (`outcome`)."""

    mapped: Mapped
    home: Home
    outcome: str
    copied: Copied | None = None
    why: str | None = None


def plan(
    settings: Settings,
    users: Sequence[OldUser],
    pattern: str | None,
    allow_empty: Collection[str] = (),
    asked: Mapping[str, str] | None = None,
) -> list[Step]:
    """What would happen to everybody; changes nothing.

    Who has no home, or an empty one, is left out unless `allow_empty` names them by their old name: nobody who had
    files may find themselves without.
    """
    here = rows.look(settings)
    found = []
    for mapped in map_people(users, here.others, asked):
        home, outcome = home_of(pattern, mapped.old.name), BRING
        known = here.imported.get(mapped.name or "")
        if not mapped.refused and known is not None and known[0] != mapped.old.name:
            mapped = replace(mapped, why="taken", others=(known[0],))
        if mapped.refused:
            outcome = mapped.why
        elif known is not None and known[1] == rows.DONE:
            outcome = ALREADY
        elif _is_somebodys(settings, mapped, here):
            mapped, outcome = replace(mapped, why="taken"), TAKEN
        elif home.state != "found" and mapped.old.name not in allow_empty:
            outcome = EMPTY_HOME if home.state == "empty" else NO_HOME
        found.append(Step(mapped, home, outcome))
    return found


def bring(
    settings: Settings, steps: Sequence[Step], actor: str, told: Callable[[Step, Copied], None]
) -> list[Step]:
    """Do what the plan says. Raises `PortalIsUp`, `NoHubYet`, and `NoRoom` before anything is copied.

    A home that cannot be copied whole leaves out its person and nobody else.
    """
    with _portal_down(settings):
        here = rows.look(settings)
        if not here.ready:
            raise NoHubYet
        steps = [_looked_at_again(settings, step, here) for step in steps]
        _need_room(settings, steps)
        return [_one(settings, step, actor, told) if step.outcome == BRING else step for step in steps]


def _looked_at_again(settings: Settings, step: Step, here: rows.Here) -> Step:
    """Who has logged in since the plan was made is not taken for who comes over."""
    mapped = step.mapped
    if step.outcome == BRING and (mapped.name in here.others or _is_somebodys(settings, mapped, here)):
        return replace(step, mapped=replace(mapped, why="taken"), outcome=TAKEN)
    return step


def _is_somebodys(settings: Settings, mapped: Mapped, here: rows.Here) -> bool:
    """Whether there is a home that is no copy of ours: one that its owner's first login here made, or older."""
    target = _folder(settings, mapped)
    ours = here.imported.get(mapped.name or "", ("", ""))[1] == rows.PLACING and not _beside(target).exists()
    return target.exists() and not ours


def _one(settings: Settings, step: Step, actor: str, told: Callable[[Step, Copied], None]) -> Step:
    mapped, copied = step.mapped, Copied()
    rows.begin(settings, mapped)
    target = _folder(settings, mapped)
    if step.home.state == "found" and step.home.path is not None and not target.exists():
        try:
            beside = _beside(target)
            copied = copy_home(step.home.path, beside, lambda so_far: told(step, so_far))
            beside.chmod(0o700)
            rows.place(settings, mapped)
            beside.rename(target)
        except OSError as error:
            why = HomeFailed(name=mapped.old.name, why=error.strerror or str(error))
            return replace(step, outcome=FAILED, why=str(why))
    facts: dict[str, object] = {
        "old": mapped.old.name,
        "home": step.home.state,
        "files": copied.files,
        "bytes": copied.size,
        "teams": list(mapped.old.groups),
        "admin": mapped.old.admin,
    }
    rows.finish(settings, mapped, actor, facts)
    return replace(step, outcome=BROUGHT, copied=copied)


def _need_room(settings: Settings, steps: Sequence[Step]) -> None:
    due = [s.home.path for s in steps if s.outcome == BRING and s.home.state == "found" and s.home.path]
    needed = sum(size_of(home) for home in due)
    free = shutil.disk_usage(settings.folder.users).free - (settings.disk_minimum_mb << 20)
    if needed > free:
        raise NoRoom(needed_mb=(needed >> 20) + 1, free_mb=max(free >> 20, 0))


def _folder(settings: Settings, mapped: Mapped) -> Path:
    return settings.folder.users / slug(mapped.name or "")


def _beside(target: Path) -> Path:
    # No slug begins with a dot, so this is nobody's folder.
    return target.with_name(f".import-{target.name}")


@contextmanager
def _portal_down(settings: Settings):  # type: ignore[no-untyped-def]
    from dure_hub.supervisor import lock
    from dure_hub.supervisor.errors import AlreadyUp

    try:
        with lock.held(settings):
            yield
    except AlreadyUp:
        raise PortalIsUp from None


def refused(steps: Sequence[Step]) -> list[Step]:
    """Those who do not come over."""
    return [step for step in steps if step.outcome in REFUSED | {EMPTY_HOME, NO_HOME, FAILED}]

"""Makes a data folder ready: settings, secrets, ports, databases, routes. Nothing of the portal runs meanwhile."""

from __future__ import annotations

import getpass
import os
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dure.wire.organisation import ProfilesFile
from dure_hub.catalogue import profilefile
from dure_hub.catalogue.rates import GIVEN, written
from dure_hub.dataplane import certificate
from dure_hub.dataplane.files import Files
from dure_hub.isolation import ground
from dure_hub.isolation.errors import NoGroundForAccounts
from dure_hub.operations import live_profiles
from dure_hub.operations.profiles import fleet_of
from dure_hub.operations.rates import RateCards
from dure_hub.settings import Settings, load_settings, resolve_settings
from dure_hub.supervisor import checks, processes, restoring, swap
from dure_hub.supervisor.errors import BadSetting, FolderUnusable, NotUp
from dure_hub.supervisor.keeper import marked, record_path

SECRETS = {
    "portal-token": 32,
    "cookie-secret": 32,
    "session-key": 32,
    "notices-key": 32,
    "mlflow-flask-key": 32,
    "auth-state-key": 32,
    "xds-token": 32,
    "front-key": 32,
}
"""Name and number of random bytes; each is kept as hex digits."""


def settle(**flags: Any) -> Settings:
    """Resolve the settings from flags, variables, dure.yaml and defaults; a bad one is named."""
    try:
        return resolve_settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as why:
        first = why.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "dure.yaml"
        raise BadSetting(name=name, value=first.get("input"), rule=first["msg"]) from why
    except yaml.YAMLError as why:
        raise BadSetting(name="dure.yaml", value="its text", rule=" ".join(str(why).split())) from why


def settle_whole(say: Callable[..., None], **flags: Any) -> Settings:
    """The same, once a restore that was killed between its renames is carried on: it has a `dure.yaml`, too."""
    settings = settle(**flags)
    if not restoring.finish(settings.folder.root):
        return settings
    say("restore_finished", folder=settings.folder.root)
    return settle(**flags)


def last_settings(**flags: Any) -> Settings:
    """The settings of the portal that runs, or last ran, in the folder that flags and variables name."""
    data = settle(**flags).folder
    try:
        return load_settings(data.root)
    except (OSError, ValidationError):
        raise NotUp(folder=str(data.root)) from None


def make_folder(settings: Settings) -> bool:
    """Make and check the data folder. Returns whether it is new. One of a newer version stays untouched."""
    folder = settings.folder
    checks.path_short_enough(folder)
    swap.recover(folder.upgrading, folder.db)
    new = not folder.db.exists()
    try:
        if (folder.root / "version").exists():
            checks.layout_known(folder)
        folder.create()
        if folder.root.stat().st_mode & 0o067:  # people's own accounts may pass through it, and no more
            folder.root.chmod(0o700)
        folder.secrets.chmod(0o700)
        checks.layout_known(folder)
        if new and not folder.rates.exists():
            folder.rates.touch(mode=0o600)
            folder.rates.write_text(written(GIVEN))
    except OSError as why:
        raise FolderUnusable(folder=str(folder.root), reason=why.strerror or str(why)) from why
    return new


def make_secrets(settings: Settings) -> None:
    """Make the secrets that are missing, each in a file of mode 600 from its first byte on."""
    for name, size in SECRETS.items():
        path = settings.folder.secrets / name
        if path.exists():
            path.chmod(0o600)
            continue
        write_secret(path, secrets.token_hex(size))


def write_secret(path: Path, text: str) -> None:
    """Write a secret whole, into a file of mode 600 from its first byte on."""
    temporary = path.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
    temporary.replace(path)


def instance(settings: Settings) -> str:
    """The mark of this data folder's processes, made once."""
    path = settings.folder.root / "instance"
    if not path.exists():
        temporary = path.with_suffix(".new")
        temporary.write_text(secrets.token_hex(6))
        temporary.replace(path)
    return path.read_text().strip()


def with_instance(settings: Settings) -> Settings:
    """The same settings with the folder's mark and its absolute path."""
    return settings.model_copy(update={"data": settings.folder.root, "instance": instance(settings)})


def check(settings: Settings) -> None:
    """Raise what stands in the way, before anything is ended or changed."""
    from dure_hub.supervisor import upgrade

    checks.python_new_enough()
    checks.disk_enough(settings)
    checks.disk_local(settings.folder)
    checks.shared_folders_fit(settings)
    if settings.database_url:
        from dure_hub.supervisor import database

        database.check(settings)
    if settings.simulated_fleet:
        from dure_hub.backends.embedded import fleetfile

        fleetfile.load(settings.simulated_fleet)
    checks.rates_usable(settings.folder)
    upgrade.plan(settings)
    checks.profiles_usable(settings.folder)
    checks.reached_safely(settings)
    certificate.load(settings)
    _check_options(settings)
    if not settings.xds_port:
        checks.port_free(settings.host, settings.port, _envoys(settings))


def _check_options(settings: Settings) -> None:
    """Raises `BadOption`. KubeSpawner is in an extra that one machine has no need of."""
    if settings.on_cluster and settings.kubespawner:
        from dure_hub.spawners import options

        options.check(settings.kubespawner)


def _idle_options(settings: Settings) -> list[str]:
    """Those of `kubespawner` that change nothing."""
    if not settings.on_cluster or not settings.kubespawner:
        return []
    from dure_hub.spawners import options

    return options.without_effect(settings.kubespawner)


def _envoys(settings: Settings) -> set[int]:
    """Pids of this portal's Envoy, which may go on from one supervisor to the next."""
    envoy = processes.load_record(record_path(settings.folder, "envoy"))
    # One whose supervisor was killed between its start and its record is known by its mark alone.
    ours = {process.pid for process in marked(settings, "envoy")}
    if envoy is not None and envoy.process.alive():
        ours.add(envoy.process.pid)
    return ours


def with_accounts(settings: Settings) -> Settings:
    """Settle whether each person has an account of the system: `auto` is on where that is possible here.

    Raises `NoGroundForAccounts` where it is asked for and not possible.
    """
    if settings.system_accounts == "off":
        return settings
    if settings.on_cluster:  # there a pod is what keeps people apart
        return settings.model_copy(update={"system_accounts": "off"})
    why = ground.why_not(settings)
    if why is not None and settings.system_accounts == "on":
        raise NoGroundForAccounts(why=why)
    return settings.model_copy(update={"system_accounts": "off" if why else "on"})


def with_ports(settings: Settings) -> Settings:
    """Choose what was left to us, after the leftovers are gone: the last run's ports where they are still free.

    Servers that outlived their hub know it by its port.
    """
    try:
        last: Settings | None = load_settings(settings.folder.root)
    except (OSError, ValidationError):
        last = None
    avoid = {settings.port}
    hub = settings.hub_port or checks.own_port(last.hub_port if last else 0, avoid)
    avoid.add(hub)
    portal = settings.portal_port or checks.own_port(last.portal_port if last else 0, avoid)
    avoid.add(portal)
    inside = 0 if settings.tls_cert is None else settings.inside_port
    if settings.tls_cert is not None and not inside:
        # Envoy goes on with its port; another would be another listener, and end what is open through it.
        inside = checks.own_port(last.inside_port if last else 0, avoid, _envoys(settings))
    ports = {"hub_port": hub, "portal_port": portal, "inside_port": inside}
    return settings.model_copy(update={**ports, **_elsewhere_ports(settings, last, {*avoid, settings.xds_port})})


def _elsewhere_ports(settings: Settings, last: Settings | None, avoid: set[int]) -> dict[str, int]:
    """Where an Envoy elsewhere finds what are sockets to one of this machine."""
    if not settings.portal_host:
        return {}
    found: dict[str, int] = {}
    for name in ("mlflow_port", "voila_port"):
        found[name] = getattr(settings, name) or checks.own_port(getattr(last, name, 0), avoid)
        avoid.add(found[name])
    return found


async def prepare(settings: Settings, say: Callable[..., None]) -> Settings:
    """All of it but the folder and the leftovers; saves the settings that every other process will read."""
    from dure_hub.dataplane import Dataplane
    from dure_hub.supervisor import upgrade
    from dure_hub.supervisor.services import of_other_places, routes

    make_secrets(settings)
    if idle := _idle_options(settings):
        say("options_idle", names=", ".join(idle))
    Files(settings.folder).asked.unlink(missing_ok=True)  # nobody answers Envoys elsewhere until the portal is up
    for unfinished in settings.folder.uploads.iterdir():  # what a killed portal was still receiving
        unfinished.unlink()
    settings = with_ports(with_accounts(settings))
    settings.save()
    await write_profiles(settings)
    upgrade.upgrade(settings, say)
    plane = Dataplane(settings)
    await plane.publish("services", routes(settings))
    await plane.change("hub", lambda fragment: fragment.without(partial(of_other_places, settings)))
    return settings


async def write_profiles(settings: Settings) -> None:
    """Write profiles.yaml where there never was one: what this machine has, ready to be edited."""
    from dure_hub.backends.chosen import backends_of
    from dure_hub.store import system_clock

    folder, clock = settings.folder, system_clock(settings.clock_file)
    if folder.profiles.exists() or folder.good_profiles.exists():
        return
    backends, card = backends_of(settings, clock), RateCards(folder.rates).card()
    try:
        seen = await backends.inventory.look()
    finally:
        await backends.close()
    made = fleet_of(seen, settings, card, clock()).made
    live_profiles.keep(folder.profiles, profilefile.written(ProfilesFile(), made))


def add_first_admin(
    settings: Settings, name: str = "admin", password: str | None = None
) -> tuple[str, str] | None:
    """Make the first administrator where there is no user yet; returns name and password, to be shown once."""
    from dure_hub import authenticator

    if settings.auth != "password" or authenticator.list_users(settings):
        return None
    password = password or new_password()
    authenticator.add_user(settings, name, password, admin=True)
    return name, password


def who_types() -> str:
    """Who uses a command on this machine, as the audit names them; people's names have no colon."""
    try:
        return f"machine:{getpass.getuser()}"
    except (KeyError, OSError):  # an account without a name, as in some containers
        return f"machine:{os.getuid()}"


def new_password() -> str:
    """A password that can be read out: four groups of four from an alphabet without look-alikes (80 bits)."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(4)) for _ in range(4))

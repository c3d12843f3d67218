"""People's servers under leases: JupyterHub's shape around our operations and whatever backend runs them.

The spawner never waits for a slice: it claims a granted lease, or leaves a ticket and refuses with a sentence.
All it knows of a server is in the lease's record and in the backend's own, so a hub that was killed at any
moment finds the server again, or finds that there is none.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from jupyterhub import orm
from jupyterhub.spawner import Spawner

from dure.errors import BadRequest, DureError, NotReady
from dure.wire.base import NAME_PATTERN
from dure_hub.backends.base import Handle, HeldBack, Kind, Phase, Reason, Seen, ServerWork
from dure_hub.hubapi import portal_name
from dure_hub.hubpages import language_of
from dure_hub.operations.grant import Grant
from dure_hub.spawners.naming import is_server_name
from dure_hub.spawners.refusal import Refused, StartBroke
from dure_hub.spawners.steps import LOG_BYTES, Steps, why
from dure_hub.spawners.waiting import ServerEnded, until_answers

if TYPE_CHECKING:
    from typing import Self

    from dure_hub.operations import Operations

WHY_S = 2.0
"""Between two looks at what holds a start back."""


class LeasedSpawner(Spawner):  # type: ignore[misc]
    """One server of one person, under one lease. `prepare` and the operations' backend know where it runs."""

    operations: ClassVar[Operations]

    @classmethod
    def using(cls, operations: Operations) -> type[Self]:
        """The class to name in the hub's configuration, with the portal's operations in it.

        A class attribute and not a configured value, since configured values are copied deeply.
        """
        logging.getLogger("JupyterHub").addFilter(_plain_refusals)
        return type(cls.__name__, (cls,), {"operations": operations, "__module__": cls.__module__})

    def __init__(self, **kwargs: Any) -> None:
        self.lease: str | None = None
        self.handle: Handle | None = None
        self.grant: Grant | None = None
        self.exit_code: int | None = None
        self.end_seen: Seen | None = None
        self.ran_at: datetime | None = None
        self.claimed_here = False
        self.token_id: int | None = None
        self.steps = Steps()
        super().__init__(**kwargs)
        self.options_form = "profile"  # truthy: without a form, opening /hub/spawn would start a server at once
        self.apply_user_options = lambda spawner, options: None

    def options_from_form(self, form: Mapping[str, Any]) -> dict[str, str]:
        """Only a profile and a lease can be chosen, whatever else a form holds."""
        return _known_options({key: value[0] for key, value in form.items() if value})

    # -- starting

    async def run_pre_spawn_hook(self) -> None:
        """Claim a slice, or refuse. Here and not in `start`, so that no refusal sticks to the server's address."""
        options, self.steps = _known_options(self.user_options), Steps()
        try:
            if self.operations.settings.folder.closing.exists():
                raise NotReady(part="The portal")
            if not is_server_name(self.name):
                raise BadRequest(field="name", value=self.name, rule=f"it must match {NAME_PATTERN}")
            grant = await self.operations.environments.claim(
                self.user.name,
                self.name,
                options.get("lease"),
                options.get("profile"),
                [group.name for group in self.user.groups],
                admin=bool(self.user.admin),
            )
        except DureError as error:
            raise Refused(error, self._language()) from error
        self.lease, self.grant = grant.lease, grant
        self.exit_code = self.end_seen = self.ran_at = None
        self.claimed_here = True
        self.steps.add("placed")
        self._remember()

    async def start(self) -> tuple[str, int]:
        """Run the server and wait until it answers. What was started is ended again if that fails."""
        try:
            return await self._start()
        except asyncio.CancelledError:
            self._recall()  # so that the hub, which gave up, ends what had begun
            raise
        except DureError as error:
            await self._give_up(error)
            raise Refused(error, self._language()) from error
        except Exception as error:
            self.log.exception("%s could not be started", self._log_name)
            told = StartBroke.of(error)
            await self._give_up(told)
            raise Refused(told, self._language()) from error

    async def _start(self) -> tuple[str, int]:
        keeping: asyncio.Task[None] | None = None
        work = await self.prepare()
        self.steps.add("folder")
        telling = asyncio.create_task(self._keep_telling())
        try:
            async for handle in self.operations.servers.start(work):
                self.handle = handle
                if keeping is not None:
                    await keeping
                keeping = asyncio.create_task(self.operations.environments.save_handle(handle))
        finally:
            telling.cancel()
        await self._tell()
        self.steps.add("process")
        host, port = self.operations.servers.address(self._running())
        timeout_s = self.operations.settings.http_timeout_s
        path = f"{self.server.base_url}api"
        await until_answers(host, port, path, look=self._raise_if_ended, timeout_s=timeout_s, own=self._is_own)
        self.steps.add("answers")
        await self._look_at_guests()
        if keeping is not None:
            await keeping  # beside the wait, since the backend's own record is ahead of this one anyway
        return host, port

    async def _keep_telling(self) -> None:
        """A start may take minutes, of a queue beside the portal's or a large image: whoever looks reads why."""
        while True:
            await asyncio.sleep(WHY_S)
            await self._tell()

    async def _tell(self) -> None:
        """How far it is by now. What keeps us from knowing keeps nothing from starting."""
        if self.handle is None:
            return
        try:
            async with asyncio.timeout(WHY_S):
                if why := await self.operations.servers.held_back(self.handle):
                    self.steps.add("held_back", why)
                for code, what in await self.operations.servers.came_to(self.handle):
                    self.steps.add(code, what)
        except (DureError, TimeoutError) as error:
            self.log.info("How far %s is is not known: %s", self._log_name, error)
        except Exception:
            self.log.exception("How far %s is is not known", self._log_name)

    @abstractmethod
    async def prepare(self) -> ServerWork:
        """What it needs is made, and said as work for the backend. May raise any `DureError`."""

    async def _is_own(self) -> bool:
        return await self.operations.servers.is_own(self._running())

    async def _look_at_guests(self) -> None:
        """Have its shares end where it has no guard. What keeps us from that is no reason to fail a start."""
        try:
            await self.operations.shares.started(self.user.name, portal_name(self.name), self._running())
        except DureError:
            self.log.exception("Whether %s is shared without a guard is not known", self._log_name)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the start has come to, as it comes to it."""
        async for step in self.steps.follow(self.operations.settings.language):
            yield step

    async def _give_up(self, error: DureError) -> None:
        """Keep why the start failed while that is there; then end what there is.

        What keeps us from either is logged: its owner reads the sentence in any case, and the hub stops it again.
        """
        await self.keep_why(error)
        try:
            await self.stop(now=True)
        except Exception:
            self.log.exception("%s did not start and could not be ended", self._log_name)

    async def keep_why(self, error: DureError) -> None:
        """Keep why the start failed, with the last of its log; what a queue held back is to wait again.

        Before anything is ended, so that a hub that is killed meanwhile changes nothing. Never raises.
        """
        try:
            if isinstance(error, HeldBack):
                await self.operations.environments.put_back(self._leased(), error)
                return
            said = await self.operations.servers.tail(self.handle, LOG_BYTES) if self.handle is not None else ""
            reason = why(error, self.operations.settings.language)
            await self.operations.environments.start_failed(self._leased(), reason, said.strip())
        except Exception:
            self.log.exception("Why %s did not start could not be kept: %s", self._log_name, error.text("en"))

    async def _raise_if_ended(self) -> None:
        seen = await self.operations.servers.poll(self._running())
        if seen.phase is not Phase.RUNNING:
            said = await self.operations.servers.tail(self._running(), 1 << 12)
            raise ServerEnded(exit_code=seen.exit_code, last=said.strip()[-300:] or "-")

    # -- looking and stopping

    async def poll(self) -> int | None:
        """None while it runs, else its exit code. Never raises: the hub would read that as stopped."""
        if self.handle is None:
            return 0
        try:
            seen = await self.operations.servers.poll(self.handle)
        except Exception:  # whatever keeps us from looking does not end a server
            self.log.exception("Could not look at %s; taking it to be running", self._log_name)
            return None
        if seen.phase is Phase.RUNNING:
            self.ran_at = self.operations.clock()
            return None
        self.exit_code, self.end_seen = 1 if seen.exit_code is None else seen.exit_code, seen
        return self.exit_code

    async def stop(self, now: bool = False) -> None:
        """End the server and all it started. What is already gone is not an error."""
        if self.handle is not None and not now:
            await self.save_before_stop()
        if self.handle is not None:
            await self.operations.servers.stop(self.handle, 0 if now else self.operations.settings.stop_grace_s)

    async def save_before_stop(self) -> None:
        """Have a server that runs save, if nobody has yet. Nothing of this keeps it from its end."""
        try:
            if self.handle is not None and await self.poll() is None:
                await self.operations.environments.runs.hub_stops(self.handle)
        except Exception:  # the hub would take any error for a server that cannot be stopped
            self.log.exception("%s could not be asked to save, and is stopped", self._log_name)

    async def run_post_stop_hook(self) -> None:
        """The lease ends with the server, however that ended: the hub skips `stop` where it was gone already."""
        if self.lease is None:
            return
        self._revoke()
        reason = "stopped" if self.exit_code is None else "exited"
        self._recall()
        if not self.claimed_here and await self._never_started():
            # A hub before this one was killed between the claim and the start: the portal has it started anew.
            self.log.warning("%s was claimed and never started", self._log_name)
            return
        if self.handle is not None and await self.poll() is None:
            # The hub comes here also where `stop` failed: what still runs keeps its slice until it is ended.
            self.log.error("%s still runs; the reconciler ends it, and then its lease", self._log_name)
            return
        await self.operations.environments.ended(self.lease, reason, self.end_seen, self.ran_at)

    async def get_url(self) -> str:
        """Where the server is: a hub killed during a start has a made-up port in its database."""
        host, port = self.operations.servers.address(self._running())
        return f"http://{host}:{port}"

    async def located_url(self) -> str:
        """The same of one that the backend is asked about, where it may still be starting.

        Never raises: a hub that asks as it starts would not start. At what it knows it finds nobody, and ends it.
        """
        try:
            async with asyncio.timeout(self.operations.settings.pod_wait_s):
                found = await self.operations.servers.located(self._running())
            if found != self.handle:
                self.handle = found
                await self.operations.environments.save_handle(found)
            return await LeasedSpawner.get_url(self)
        except Exception as error:
            self.log.exception("Where %s is cannot be found out", self._log_name)
            if isinstance(error, HeldBack):
                await self.keep_why(error)
            return str(self.server.url) if self.server else ""

    # -- what survives the hub

    def get_state(self) -> dict[str, Any]:
        """The lease and what the backend needs."""
        state: dict[str, Any] = super().get_state()
        if self.lease is not None:
            state["lease"] = self.lease
        if self.handle is not None:
            state["where"] = dict(self.handle.where)
        if self.token_id is not None:
            state["token_id"] = self.token_id
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Find the server again. The backend's own record is ahead of the hub's, which may end inside a start."""
        super().load_state(state)
        self.lease, self.token_id = state.get("lease"), state.get("token_id")
        if self.lease is None:
            return
        if "where" in state:
            self.handle = Handle(self.lease, Kind.SERVER, state["where"])
        if recalled := self.operations.servers.recall(self.lease):
            found, token = recalled
            self.handle = Handle(self.lease, Kind.SERVER, {**state.get("where", {}), **found.where})
            if token:  # without its token here, the hub could not revoke it when the server stops
                self.api_token = token

    def clear_state(self) -> None:
        """Forget the server, which has ended."""
        super().clear_state()
        self.lease, self.handle, self.grant, self.claimed_here = None, None, None, False
        self.token_id = None

    def _remember(self) -> None:
        """Write the state now and not at the end of the start, so that a crash half-way finds it."""
        token = orm.APIToken.find(self.db, self.api_token)
        self.token_id = None if token is None else token.id
        self.orm_spawner.state = self.get_state()
        self.db.commit()

    def _revoke(self) -> None:
        """Its token dies with it, also where the hub has forgotten what it was, or could not stop the server."""
        token = self.db.get(orm.APIToken, self.token_id) if self.token_id is not None else None
        if token is not None:
            self.db.delete(token)
            self.db.commit()

    def _recall(self) -> None:
        """Find what a start had begun that was cancelled before it could say so."""
        if self.handle is None and (recalled := self.operations.servers.recall(self._leased())):
            self.handle = recalled[0]

    async def _never_started(self) -> bool:
        """Whether nothing but the record of a start, or not even that, is there."""
        if self.handle is None:
            return True
        return (await self.operations.servers.poll(self.handle)).reason == Reason.NEVER_STARTED

    def _leased(self) -> str:
        if self.lease is None:
            raise RuntimeError(f"{self._log_name} was started without a lease")
        return self.lease

    def _granted(self) -> Grant:
        if self.grant is None:
            raise RuntimeError(f"{self._log_name} was started without a claim")
        return self.grant

    def _running(self) -> Handle:
        if self.handle is None:
            raise RuntimeError(f"{self._log_name} has nothing running")
        return self.handle

    def _language(self) -> str:
        return language_of(self.handler) if self.handler else self.operations.settings.language


def _known_options(options: Mapping[str, Any]) -> dict[str, str]:
    return {key: options[key][:60] for key in ("lease", "profile") if isinstance(options.get(key), str)}


def _plain_refusals(record: logging.LogRecord) -> bool:
    """The hub logs a refused form with a traceback, as if it were a bug."""
    if record.exc_info and isinstance(record.exc_info[1], Refused):
        record.exc_info = None
    return True

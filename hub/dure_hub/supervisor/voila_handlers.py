"""Voila's own parts made ours: who asks comes from Envoy, a kernel serves its viewer alone, few paths answer."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.utils import ensure_async
from jupyter_server.auth.authorizer import Authorizer
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.base.handlers import FileFindHandler
from jupyter_server.services.kernels.handlers import KernelHandler
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from jupyterlab_server.themes_handler import ThemesHandler
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.web import GZipContentEncoding, HTTPError, RedirectHandler, RequestHandler, authenticated
from traitlets import default
from traitlets.config import Config
from voila.app import Voila
from voila.shutdown_kernel_handler import VoilaShutdownKernelHandler
from voila.static_file_handler import MultiStaticFileHandler, TemplateStaticFileHandler
from voila.tornado.handler import TornadoVoilaHandler
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler

from dure_hub import dashboards
from dure_hub.supervisor.fronted import FrontedServer, key
from dure_hub.supervisor.sockets import listen, listen_at

log = logging.getLogger("dure.voila")
KERNELS = 24
"""Most kernels at once, of 80 MB each; for a new one its viewer's oldest ends, or else the oldest of all. Voila
itself knows no limit."""

NEVER_FOR_KERNELS = ("DURE_DATA",)
KEPT = (
    KernelHandler,
    VoilaKernelWebsocketHandler,
    TemplateStaticFileHandler,
    MultiStaticFileHandler,
    ThemesHandler,
    FileFindHandler,
)
"""Handlers of Voila that stay as they are. Its tree, contents, files and the preheating socket are left out."""


class Viewer(IdentityProvider):
    """The person the portal's check has named; nobody logs in here."""

    def get_user(self, handler: Any) -> User | None:
        """Whoever Envoy says it is."""
        name = handler.request.headers.get("x-dure-user")
        return User(username=name) if name else None

    def get_handlers(self) -> list[Any]:
        """No login page."""
        return []


class OwnKernels(Authorizer):
    """A kernel acts with its viewer's rights, so it is that viewer's alone, also among administrators."""

    def is_authorized(self, handler: Any, user: User, action: str, resource: str) -> bool:
        """Whether the kernel in the request's path, if there is one, is the asker's."""
        kernel_id = handler.path_kwargs.get("kernel_id")
        return kernel_id is None or handler.kernel_manager.viewer_of(kernel_id) == user.username


class OwnPython(KernelSpecManager):
    """One kernel: the Python that runs the portal, whatever kernels the machine has."""

    @default("kernel_dirs")
    def _no_others(self) -> list[str]:
        return []


class ViewerKernels(AsyncMappingKernelManager):
    """Starts each kernel with its viewer's token as the SDK reads it, and remembers whose it is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self._viewers: dict[str, str] = {}
        # A kernel that starts is in no list yet, so they start one after the other, each after room was made.
        self._one_by_one = asyncio.Lock()

    def viewer_of(self, kernel_id: str) -> str | None:
        """Whose kernel this is; None where there is none."""
        return self._viewers.get(kernel_id) if kernel_id in self else None

    async def start_kernel(self, *, path: Any = None, **kwargs: Any) -> str:  # type: ignore[override]
        """Start one for the viewer that the request's headers name; 403 without a token of theirs."""
        found = dict(kwargs.pop("env"))
        viewer = found.pop("HTTP_X_DURE_USER", None)
        token = found.pop("HTTP_X_DURE_VIEWER_TOKEN", None)
        language = found.pop("HTTP_X_DURE_VIEWER_LANGUAGE", None)
        if not viewer or not token:
            raise HTTPError(403)
        voila: Any = self.parent
        settings = voila.tornado_settings["settings_of_portal"]
        kept = {name: text for name, text in found.items() if name not in NEVER_FOR_KERNELS}
        environment = kept | {
            "DURE_URL": settings.front_url,
            "DURE_TOKEN": token,
            "DURE_LANGUAGE": language or settings.language,
        }
        async with self._one_by_one:
            await self._make_room(viewer)
            started: str = await super()._async_start_kernel(path=path, env=environment, **kwargs)
            self._viewers = {name: who for name, who in self._viewers.items() if name in self} | {started: viewer}
        return started

    async def _make_room(self, viewer: str) -> None:
        while len(self) >= KERNELS:
            own = [one for one in self._kernels if self._viewers.get(one) == viewer]
            oldest = min(own or self._kernels, key=lambda one: self._kernels[one].last_activity)
            log.warning("kernel %s ends for a new one: %d run already", oldest, len(self))
            await ensure_async(self.shutdown_kernel(oldest))  # type: ignore[no-untyped-call]


class Failures:
    """A sentence in both languages in place of Jupyter's own error pages."""

    def write_error(self: Any, status_code: int, **kwargs: Any) -> None:
        """Say what there is not; a bug's text stays in the log."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        template = self.settings["voila_jinja2_env"].get_template("failed.html.j2")
        self.finish(template.render(status=status_code, root=self.settings["settings_of_portal"].at("")))


class Dashboard(Failures, TornadoVoilaHandler):  # type: ignore[misc]
    """Renders one dashboard in a kernel of its viewer's."""

    def redirect_to_file(self, path: str) -> None:
        """Nothing but notebooks is shown."""
        raise HTTPError(404)


class End(VoilaShutdownKernelHandler):  # type: ignore[misc]
    """Ends a kernel when its page is left; somebody else's, or one that is gone, is left alone."""

    @authenticated
    async def post(self, kernel_id: str) -> None:
        """204 either way."""
        if self.kernel_manager.viewer_of(kernel_id) == self.current_user.username:
            await ensure_async(self.kernel_manager.shutdown_kernel(kernel_id))
        self.set_status(204)
        self.finish()


class Health(RequestHandler):
    """Whether it answers."""

    def get(self) -> None:
        """It does."""
        self.finish("ok")


class Dashboards(Voila):  # type: ignore[misc]
    """Voila on its sockets, with the parts above."""

    socket: Path

    def init_settings(self) -> dict[str, Any]:
        """Voila's, with our identity and authorisation."""
        self.identity_provider_class, self.authorizer_class = Viewer, OwnKernels
        made: dict[str, Any] = super().init_settings()
        return made

    def init_handlers(self) -> list[Any]:
        """The few that a dashboard needs."""
        theirs: Sequence[Any] = super().init_handlers()
        base = self.server_url
        first = self.tornado_settings["settings_of_portal"].at(dashboards.address("fleet"))
        render = {
            "template_paths": self.template_paths,
            "config": self.config,
            "voila_configuration": self.voila_configuration,
        }
        return [
            *(handler for handler in theirs if handler[1] in KEPT),
            (f"{base}health", Health),
            (base, RedirectHandler, {"url": first, "permanent": False}),
            (rf"{base}voila/render/(.*)", Dashboard, render),
            (rf"{base}voila/api/shutdown/(.*)", End),
        ]

    def listen(self) -> None:
        """Serve until a signal comes; then no kernel is left."""
        self.app.add_transform(GZipContentEncoding)
        server = HTTPServer(self.app)
        bound = listen(self.socket)
        bound.setblocking(False)
        server.add_socket(bound)
        settings = self.tornado_settings["settings_of_portal"]
        if settings.portal_host:
            by_network = HTTPServer(FrontedServer(self.app, key(settings)))
            reached = listen_at(settings.own_host, settings.voila_port)
            reached.setblocking(False)
            by_network.add_socket(reached)
        self.ioloop = IOLoop.current()
        try:
            self.ioloop.start()
        finally:
            self.stop()


def serve(configuration: dict[str, Any], socket: Path) -> None:
    """Run until a signal ends it. What an ended one left of connection files goes first."""
    root = Path(configuration["Voila"]["connection_dir_root"])
    for left in root.glob("voila_*"):
        shutil.rmtree(left, ignore_errors=True)
    app = Dashboards.instance(config=Config(configuration), config_file_paths=[])
    app.socket = socket
    app.initialize([])
    app.start()

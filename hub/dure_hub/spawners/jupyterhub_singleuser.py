"""What a person's server runs: JupyterHub's single-user server, started with less to import.

It may be run in a fork of a process that has called `preload` (backends/embedded/forkserver.py). What Jupyter's
modules take from the environment when they are imported is then somebody else's, and `refresh` takes it again.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

NEVER_USED = ("rfc3987_syntax",)
"""Modules that jsonschema takes if they are there. This one compiles a grammar for international addresses each
time it is imported, half of a bare JupyterLab's whole start, and no schema of Jupyter's asks for that format."""

PRELOADED = (
    "jupyterhub.singleuser.extension",
    "jupyterlab.labapp",
    "jupyter_lsp.serverextension",
    "jupyter_server_terminals.app",
    "notebook_shim.nbserver",
    "tornado.platform.asyncio",
    "jupyter_server.nbconvert.handlers",
    "jupyter_server.services.api.handlers",
    "jupyter_server.services.config.handlers",
    "jupyter_server.services.contents.handlers",
    "jupyter_server.services.events.handlers",
    "jupyter_server.services.kernels.handlers",
    "jupyter_server.services.kernelspecs.handlers",
    "jupyter_server.services.nbconvert.handlers",
    "jupyter_server.services.security.handlers",
    "jupyter_server.services.sessions.handlers",
    "jupyter_server.services.shutdown",
    "jupyter_server.kernelspecs.handlers",
    "jupyter_server.view.handlers",
    "jupyter_lsp.virtual_documents_shadow",
    "jinja2.ext",
    "IPython",
)
"""What a server has imported when it answers, besides our own extensions; with all that these import. Not
`jupyterhub.singleuser.app` or `jupyterlab.labhubapp`: what they make of their environment at import keeps the
server from starting in another."""

IMPORTED_AGAIN = ("jupyterhub.services", "jupyterhub.singleuser", "dure_lab", "dure_hub.spawners")
"""Packages whose classes hold the hub's address and the server's prefix as they were at import, and ours, which
may be built upon them. They are small; what they import in turn stays."""

PERSONAL = frozenset(
    {
        "HOME", "USER", "PATH", "XDG_DATA_HOME", "DURE_DATA", "DURE_PORTAL", "DURE_SERVICE",
        "JUPYTERHUB_API_URL", "JUPYTERHUB_SERVICE_PREFIX",
        "JUPYTERHUB_SSL_KEYFILE", "JUPYTERHUB_SSL_CERTFILE", "JUPYTERHUB_SSL_CLIENT_CA",
        "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_NO_CONFIG",
    }
)  # fmt: skip
"""Variables that are read at import, and that `refresh` and `IMPORTED_AGAIN` see to."""


def main() -> None:
    """Be `jupyterhub-singleuser`."""
    leave_out()

    from jupyterhub.singleuser import main as singleuser

    from dure_hub.cookies import keep_apart_in_server

    keep_apart_in_server()
    singleuser()


def leave_out() -> None:
    """Have nobody find what is never used."""
    for name in NEVER_USED:
        sys.modules[name] = None  # type: ignore[assignment] # Python's own way to say that there is none


def preload() -> None:
    """Import what every server needs, and forget again what was made of this process's environment."""
    leave_out()
    for name in (*PRELOADED, *extensions()):
        importlib.import_module(name)
    for name in list(sys.modules):
        if name.startswith(IMPORTED_AGAIN):
            del sys.modules[name]
    if importlib.import_module("zmq").Context._instance is not None:
        raise RuntimeError("an import has made a ZeroMQ context, which no fork may share")


def extensions() -> list[str]:
    """Ours, as every server's configuration turns them on."""
    text = Path(__file__).with_name("lab").joinpath("jupyter_server_config.json").read_text()
    return [name for name, on in json.loads(text)["ServerApp"]["jpserver_extensions"].items() if on]


def refresh() -> None:
    """Take again from the environment, the home and the clock what imports took from those of another process."""
    from jupyter_client import session
    from jupyterlab import commands, labapp

    set_default(labapp.LabApp, "user_settings_dir", commands.get_user_settings_dir())
    set_default(labapp.LabApp, "workspaces_dir", commands.get_workspaces_dir())
    set_default(session.Session, "username", os.environ.get("USER", "username"))
    session.session_flags["secure"][0]["Session"]["key"] = session.new_id_bytes()
    if trash := sys.modules.get("send2trash.plat_other"):
        importlib.reload(trash)  # its functions look into the module for the home's trash
    if handlers := sys.modules.get("wsgiref.handlers"):
        handlers.BaseHandler.os_environ = handlers.read_environ()
    if rich := sys.modules.get("rich"):
        vars(rich)["_IMPORT_CWD"] = str(Path.cwd())


def set_default(owner: Any, trait: str, value: str) -> None:
    """Give a trait this default in the class and in all below it, which keep copies of simple ones."""
    getattr(owner, trait).default_value = value
    for kind in (owner, *_below(owner)):
        if trait in kind._static_immutable_initial_values:
            kind._static_immutable_initial_values[trait] = value


def _below(owner: Any) -> list[Any]:
    return [kind for child in owner.__subclasses__() for kind in (child, *_below(child))]


if __name__ == "__main__":
    main()

"""`dure dataplane bootstrap`: what an Envoy elsewhere starts from; with `--exec`, that Envoy itself."""

from __future__ import annotations

import argparse
import os
import socket
from ipaddress import ip_address
from pathlib import Path

from dure.errors import BadRequest
from dure_hub.dataplane.fragments import split_address
from dure_hub.dataplane.remote import Elsewhere, own_name, remote_command, write_remote_bootstrap

SOCKET_LIMIT = 107


def run(arguments: argparse.Namespace) -> int:
    """Write the bootstrap of mode 600 into the folder and say where it is; or become Envoy, and never return."""
    envoy = described(arguments)
    try:
        path = write_remote_bootstrap(envoy)
    except OSError as why:
        raise BadRequest(
            field="folder", value=str(envoy.folder), rule=f"it is a folder of yours alone: {why.strerror}"
        ) from why
    if arguments.exec:
        command = remote_command(envoy)
        os.execv(command[0], command)  # noqa: S606 - signals of whoever stops this are Envoy's
    print(path)
    return 0


def described(arguments: argparse.Namespace) -> Elsewhere:
    """The Envoy that was asked for. Raises `BadRequest` for what cannot be one."""
    chain, key = _absolute(arguments.tls_cert), _absolute(arguments.tls_key)
    _demand((chain is None) == (key is None), "tls_key", key, "tls_cert and tls_key are given both, or neither is")
    if chain is not None and key is not None:
        _demand(chain.parent == key.parent, "tls_key", key, "it lies in the folder of tls_cert, which is watched")
        for name, path in (("tls_cert", chain), ("tls_key", key)):
            _demand(path.exists(), name, path, "there is such a file")
    folder = Path(os.path.abspath(arguments.folder))  # noqa: PTH100 - links stay as they are
    rule = f"a socket in it has a path of at most {SOCKET_LIMIT} bytes"
    _demand(len(os.fsencode(folder / "admin.sock")) <= SOCKET_LIMIT, "folder", folder, rule)
    return Elsewhere(
        name=own_name(arguments.node or socket.gethostname()),
        xds=_address("xds", arguments.xds),
        token=_token(arguments.token_file),
        folder=folder,
        listen=_own("listen", arguments.listen),
        inside=_own("inside", arguments.inside) if arguments.inside else ("", 0),
        statistics=_own("statistics", arguments.statistics) if arguments.statistics else ("", 0),
        behind_proxy=arguments.behind_proxy,
        certificate=chain,
        key=key,
    )


def _token(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except (OSError, ValueError) as why:
        raise BadRequest(field="token_file", value=str(path), rule="it is a file that can be read") from why
    one_line = bool(token) and token.isascii() and token.isprintable()
    if not one_line:
        raise BadRequest(field="token_file", value=str(path), rule="it holds one line of ASCII, the token")
    return token


def _address(name: str, text: str) -> tuple[str, int]:
    try:
        return split_address(text)
    except ValueError as why:
        raise BadRequest(field=name, value=text, rule="it is HOST:PORT") from why


def _own(name: str, text: str) -> tuple[str, int]:
    """Where it listens."""
    host, port = _address(name, text)
    try:
        return str(ip_address(host)), port
    except ValueError as why:
        raise BadRequest(field=name, value=text, rule="its host is an address, as 0.0.0.0 for all") from why


def _absolute(path: Path | None) -> Path | None:
    """From every folder the same. Links stay: a mounted Secret is one, which is made to point elsewhere."""
    return None if path is None else Path(os.path.abspath(path))  # noqa: PTH100


def _demand(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise BadRequest(field=name, value=str(value), rule=rule)

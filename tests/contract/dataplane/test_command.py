"""`dure dataplane bootstrap --exec` becomes an Envoy, with a certificate that may change."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from cryptography import x509

from dure_hub.dataplane import Dataplane, Fragment, Route, write_bootstrap
from tests.contract.dataplane.conftest import make_remote_settings
from tests.contract.dataplane.world import UP_S, free_port, portal, running, upstream
from tests.support.certificates import Authority

pytestmark = pytest.mark.timeout(120)


@dataclass
class Mounted:
    """A folder as of a mounted Secret: names that go by a link, which is made to point elsewhere."""

    folder: Path
    authority: Authority

    def __post_init__(self) -> None:
        self.folder.mkdir()
        for name in ("tls.crt", "tls.key"):
            (self.folder / name).symlink_to(f"..data/{name}")

    def renew(self, name: str) -> int:
        """Another pair in the place of the one that is there; its serial number."""
        (self.folder / name).mkdir()
        serial = self.authority.write(self.folder / name / "tls.crt", self.folder / name / "tls.key")
        (self.folder / "..new").symlink_to(name)
        (self.folder / "..new").rename(self.folder / "..data")
        return serial


def ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def serial(port: int, authority: Authority) -> int:
    """Of the certificate that a new handshake sees."""
    trusted = ssl.create_default_context(cafile=str(authority.file))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=UP_S) as plain,
        trusted.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        der = tls.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


async def test_it_becomes_an_envoy_whose_certificate_may_change(tmp_path: Path) -> None:
    settings = make_remote_settings(tmp_path / "data")
    write_bootstrap(settings)
    authority = Authority(tmp_path)
    mounted, ports = Mounted(tmp_path / "tls", authority), [free_port() for _ in range(3)]
    first = mounted.renew("..1")
    command = [sys.executable, "-m", "dure.cli", "dataplane", "bootstrap", "--exec"]
    command += ["--folder", str(tmp_path / "own"), "--xds", f"localhost:{settings.xds_port}"]
    command += ["--token-file", str(settings.folder.secrets / "xds-token")]
    command += ["--tls-cert", str(mounted.folder / "tls.crt"), "--tls-key", str(mounted.folder / "tls.key")]
    for flag, port in zip(("listen", "inside", "statistics"), ports, strict=True):
        command += [f"--{flag}", f"127.0.0.1:{port}"]
    front, inside, statistics = ports
    with (
        upstream("own", f"127.0.0.1:{free_port()}", tmp_path / "log") as server,
        portal(settings),
        running(command, tmp_path / "envoy.log", lambda: ready(statistics)) as envoy,
    ):
        routes = Fragment((server.cluster(),), (Route("/", ((server.name, 1),)),))
        await Dataplane(settings).publish("hub", routes)
        trusted = ssl.create_default_context(cafile=str(authority.file))
        async with httpx.AsyncClient(verify=trusted, trust_env=False) as client:
            assert (await client.get(f"https://localhost:{front}/x")).json()["name"] == "own"
            assert (await client.get(f"http://127.0.0.1:{inside}/x")).json()["name"] == "own"
            assert (await client.get(f"http://127.0.0.1:{front}/x")).status_code == 400
        assert serial(front, authority) == first
        second = mounted.renew("..2")
        async with asyncio.timeout(UP_S):
            while serial(front, authority) != second:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        assert psutil.Process(envoy.pid).name() == "envoy", "signals reach it"

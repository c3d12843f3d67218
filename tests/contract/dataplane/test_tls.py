"""A front port with a certificate: what is encrypted, what is renewed, and what plain http gets there."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from dure_hub.dataplane import Cluster, Fragment, Route
from dure_hub.settings import Settings
from dure_hub.supervisor.renewal import Renewal
from tests.contract.dataplane.world import UP_S, Upstream, World, envoy, free_port
from tests.support.certificates import Authority

pytestmark = pytest.mark.timeout(60)


@dataclass
class Tls:
    """A running Envoy with a certificate, and who signed it."""

    world: World
    authority: Authority
    cert: Path
    key: Path

    @property
    def settings(self) -> Settings:
        return self.world.settings

    def context(self) -> ssl.SSLContext:
        """What a client trusts; a new one resumes no session of before."""
        return ssl.create_default_context(cafile=str(self.authority.file))

    def serial(self) -> int:
        """Of the certificate that a new handshake sees, which is checked as a browser does."""
        with (
            socket.create_connection(("127.0.0.1", self.settings.port), timeout=UP_S) as plain,
            self.context().wrap_socket(plain, server_hostname="localhost") as made,
        ):
            der = made.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number

    async def ask(self, url: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(verify=self.context(), timeout=UP_S, trust_env=False) as client:
            return await client.get(
                url, headers={name.replace("_", "-"): value for name, value in headers.items()}
            )


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    folder = tmp_path_factory.mktemp("tls")
    authority, cert, key = Authority(folder), folder / "cert.pem", folder / "key.pem"
    authority.write(cert, key)
    ports = {"port": free_port(), "portal_port": free_port(), "inside_port": free_port()}
    settings = Settings.model_validate({"data": folder / "d", "tls_cert": cert, "tls_key": key, **ports})
    settings.folder.create()
    with envoy(settings) as world:
        yield Tls(world, authority, cert, key)


@pytest.fixture
async def routed(tls: Tls, ana: Upstream) -> Tls:
    """With one upstream behind everything."""
    await tls.world.plane().publish("services", Fragment((ana.cluster(),), (Route("/", ((ana.name, 1),)),)))
    return tls


async def test_both_ports_lead_to_the_same_and_say_what_came(routed: Tls) -> None:
    encrypted = (await routed.ask(f"{routed.settings.address}/a", x_forwarded_proto="http")).json()
    assert (encrypted["path"], encrypted["headers"]["x-forwarded-proto"]) == ("/a", "https")
    inside = (await routed.ask(f"{routed.settings.front_url}/a", x_forwarded_proto="https")).json()
    assert (inside["path"], inside["headers"]["x-forwarded-proto"]) == ("/a", "http")
    for url in (routed.settings.address, routed.settings.front_url):
        found = (await routed.ask(url, x_dure_user="root", x_real_ip="9.9.9.9")).json()["headers"]
        assert not {"x-dure-user", "x-real-ip"} & set(found), "the same is removed"


async def test_a_new_route_is_known_at_both(routed: Tls, ben: Upstream) -> None:
    change = Fragment((ben.cluster(),), (Route("/user/ben/", ((ben.name, 1),)),))
    await routed.world.plane().publish("hub", change)
    for url in (routed.settings.address, routed.settings.front_url):
        assert (await routed.ask(f"{url}/user/ben/x")).json()["name"] == "ben"


async def test_what_is_checked_is_checked_at_both(routed: Tls, ben: Upstream, world: World) -> None:
    checked = Fragment((Cluster("b", ben.address),), (Route("/serve/x/", (("b", 1),), auth=True),))
    await routed.world.plane().publish("endpoints", checked)
    for url in (routed.settings.address, routed.settings.front_url):
        assert (await routed.ask(f"{url}/serve/x/invocations")).status_code == 503, (
            "no portal, so nobody is let in"
        )


async def test_old_tls_is_refused_and_the_protocol_is_http_1(routed: Tls) -> None:
    with socket.create_connection(("127.0.0.1", routed.settings.port), timeout=UP_S) as plain:
        context = routed.context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with context.wrap_socket(plain, server_hostname="localhost") as made:
            assert made.version() == "TLSv1.3"
            assert made.selected_alpn_protocol() == "http/1.1"
    old = routed.context()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", routed.settings.port), timeout=UP_S) as plain,
        pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"),
    ):
        old.wrap_socket(plain, server_hostname="localhost")


async def test_a_renewed_certificate_is_served_and_an_open_socket_stays(routed: Tls) -> None:
    first = await asyncio.to_thread(routed.serial)
    address = routed.settings.address.replace("https", "wss")
    request = HTTPRequest(f"{address}/user/ana/ws", ssl_options=routed.context())
    opened = await websocket_connect(request)
    await opened.write_message("before")
    assert await opened.read_message() == "before"
    notes: list[str] = []
    renewal = Renewal(routed.settings, notes.append)
    second = routed.authority.write(routed.cert, routed.key)
    renewal.look()
    async with asyncio.timeout(UP_S):
        while (served := await asyncio.to_thread(routed.serial)) == first:  # noqa: ASYNC110 - Envoy tells nobody
            await asyncio.sleep(0.05)
    assert served == second
    await opened.write_message("after")
    assert await opened.read_message() == "after"
    opened.close()
    assert await opened.read_message() is None, "it is closed"
    assert len(notes) == 1


async def test_plain_http_is_led_to_https_or_told(routed: Tls) -> None:
    plain = f"http://127.0.0.1:{routed.settings.port}"
    browser = await routed.ask(f"{plain}/hub/login?next=%2F", accept="text/html,*/*")
    assert browser.status_code == 307
    assert browser.headers["location"] == f"{routed.settings.address}/hub/login?next=%2F"
    for language, words in (("en", "speaks https"), ("ko", "https를 쓰는데")):
        told = await routed.ask(f"{plain}/api/v1/me", accept_language=language, authorization="Bearer secret")
        assert (told.status_code, told.headers["content-type"]) == (400, "application/json")
        assert told.json()["error"]["code"] == "https_only"
        assert words in told.json()["error"]["message"]
        assert "secret" not in told.text


async def test_the_other_port_is_on_loopback_alone(routed: Tls) -> None:
    inside = urlsplit(routed.settings.front_url)
    assert (inside.scheme, inside.hostname) == ("http", "127.0.0.1")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", routed.settings.inside_port), timeout=5)

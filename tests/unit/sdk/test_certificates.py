"""A portal that speaks https: whom the SDK believes, and what it says where it does not."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dure.client import Client
from dure.errors import BadRequest, PortalUnreachable
from dure.sdk_errors import CertificateNotTrusted
from tests.support.certificates import Authority


class Answer(BaseHTTPRequestHandler):
    """An empty object."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def host() -> str:
    """Where the server is."""
    return "127.0.0.1"


@pytest.fixture
def portal(tmp_path: Path, authority: Authority, host: str) -> Iterator[str]:
    """A real server with a certificate for 127.0.0.1 of that authority; its address."""
    authority.write(tmp_path / "cert.pem", tmp_path / "key.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = ThreadingHTTPServer((host, 0), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://{host}:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_an_authority_of_ones_own_is_believed_also_on_loopback(
    portal: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert Client(portal, "token").get("/me") == {}


def test_one_that_is_not_believed_is_said_at_once_and_nothing_is_tried_again(
    portal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    slept: list[float] = []
    with pytest.raises(CertificateNotTrusted) as caught:
        Client(portal, "token", sleep=slept.append).get("/me")
    assert slept == []
    assert "unable to get local issuer certificate" in caught.value.text("en")
    assert "SSL_CERT_FILE" in caught.value.advice("ko")


@pytest.mark.parametrize("host", ["127.0.0.2"])
def test_another_name_is_not_believed(portal: str, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with pytest.raises(CertificateNotTrusted, match=r"127\.0\.0\.2"):
        Client(portal, "token", patience_s=0).get("/me")


def test_a_portal_that_is_away_is_no_question_of_trust() -> None:
    with pytest.raises(PortalUnreachable):
        Client("https://127.0.0.1:1", "token", patience_s=0).get("/me")


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_file_that_nobody_can_believe_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(BadRequest, match="SSL_CERT_FILE"):
        Client("https://127.0.0.1:1", "token")
    Client("http://127.0.0.1:1", "token")  # who asks by http needs none

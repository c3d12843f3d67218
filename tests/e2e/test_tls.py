"""A portal with a certificate: people come by https, this machine's own programs need to trust nothing."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from cryptography import x509
from playwright.sync_api import Browser, expect

import dure
from dure.sdk_errors import CertificateNotTrusted
from tests.contract.digits import CODE, held_out
from tests.e2e.kernels import compute, kernel_socket
from tests.e2e.portal import Portal, free_port, until
from tests.e2e.reached import compute_in_lab, start_server, trained, visit
from tests.e2e.test_dashboards import start
from tests.e2e.test_main_job import log_in
from tests.support.certificates import Authority

pytestmark = pytest.mark.timeout(600)
FROM_A_NOTEBOOK = """\
import os, dure
print(os.environ["DURE_URL"].rpartition(":")[0], os.environ["MLFLOW_TRACKING_URI"].rpartition(":")[0])
print("I am", dure.whoami().name, "and it says", len(dure.endpoints.get("encrypted").predict([[0.0] * 64])))
"""
WHERE_AM_I = """\
import os, dure
print(os.environ["DURE_URL"], os.environ["MLFLOW_TRACKING_URI"], dure.whoami().name)
"""


class Encrypted(Portal):
    """One whose front port speaks https."""

    @property
    def url(self) -> str:
        """The front port, and the path that all is below."""
        return f"https://127.0.0.1:{self.port}{self.environment.get('DURE_BASE_URL', '').rstrip('/')}"

    def serial(self) -> int:
        """Of the certificate that a new handshake sees."""
        context = ssl.create_default_context()
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as made,
        ):
            der = made.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the certificate's files lie."""
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    """Who signs."""
    return Authority(folder)


@pytest.fixture(scope="module")
def portal(folder: Path, authority: Authority) -> Iterator[Encrypted]:
    """With a certificate that ends in ten days. Tests trust it from here on; nothing of the portal was told to."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    authority.write(cert, key, left=timedelta(days=10, hours=1))
    given = {"DURE_LANGUAGE": "en", "DURE_TLS_CERT": str(cert), "DURE_TLS_KEY": str(key)}
    made = Encrypted(folder / "data", free_port(), given)
    try:
        said = made.up()
        assert f"The portal is up:  {made.url}\n" in said
        assert f"and then open {made.url}" in said
        assert re.search(r"The certificate ends on \d{4}-\d\d-\d\d \d\d:\d\d, in 10 days\.", said)
        made.add_user("ana")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(authority.file))
            yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def endpoint(portal: Encrypted, folder: Path) -> Iterator[dure.Endpoint]:
    """A model of ana's, trained and served through the SDK of another computer."""
    (folder / "train.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DURE_URL", portal.url)
        patch.setenv("DURE_TOKEN", portal.token("ana"))
        version = trained("encrypted")
        yield dure.endpoints.deploy("encrypted", version.name, version.version).wait(timeout=120)


def test_status_and_doctor_tell_of_https(portal: Encrypted) -> None:
    found = json.loads(portal.dure("status", "--json"))
    assert found["url"] == portal.url
    assert "in 10 days" in found["certificate"]["trouble"]
    told = json.loads(portal.dure("doctor", "--json").partition("\n}\n")[0] + "\n}")["machine"]
    (certificate,) = [one for one in told if one["topic"] == "certificate"]
    assert (certificate["state"], "in 10 days" in certificate["text"]) == ("limited", True)
    assert next(one["state"] for one in told if one["topic"] == "port") == "ok"


def test_the_sdk_of_another_computer_asks_by_https(endpoint: dure.Endpoint, portal: Encrypted) -> None:
    assert endpoint.address.startswith(portal.url)
    rows, _ = held_out()
    assert len(endpoint.predict(rows[:3])) == 3
    assert httpx.post(endpoint.address, json={"inputs": rows[:1]}, timeout=30).status_code == 401
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SSL_CERT_FILE")
        with pytest.raises(CertificateNotTrusted, match="SSL_CERT_FILE"):
            dure.client.Client(portal.url, "any").get("/me")


def test_login_lab_and_a_notebook_that_asks(chromium: Browser, portal: Encrypted, endpoint: dure.Endpoint) -> None:
    with visit(chromium, portal.url) as window:
        page = window.page()
        log_in(page, portal, "ana")
        expect(page.get_by_text(portal.url, exact=False).first).to_be_attached()  # what to set DURE_URL to
        start_server(page, portal, "ana")
        said = compute_in_lab(page, portal, "ana", FROM_A_NOTEBOOK, re.compile("I am ana and it says 1"))
        assert said.startswith("http://127.0.0.1 http://127.0.0.1\n")
        assert any(found.startswith("wss://") and "/api/kernels/" in found for found in window.sockets)
        page.goto(f"{portal.url}/services/dure/language?to=ko&next=/services/dure/")
        page.goto(f"{portal.url}/hub/login?lang=en")
        readable = [found["name"] for found in window.context.cookies() if not found["secure"]]
        assert readable == [], "every cookie keeps to https"


def test_who_types_http_is_led_to_https(chromium: Browser, portal: Encrypted) -> None:
    context = chromium.new_context(ignore_https_errors=True, locale="en-US")
    page = context.new_page()
    page.goto(portal.url.replace("https", "http") + "/hub/login")
    expect(page.get_by_label("Username")).to_be_visible()
    assert page.url.startswith(portal.url)
    context.close()


def test_a_renewal_and_a_new_supervisor_keep_open_sockets(
    portal: Encrypted, authority: Authority, folder: Path
) -> None:
    start(portal, "open")
    with portal.client("ana") as api:
        lease = api.get("/environments/open").json()["lease"]["id"]
    with kernel_socket(portal, lease, "open") as kernel:
        assert compute(kernel, "print(6 * 7)") == "42\n"
        before, inside, envoy = portal.serial(), portal.settings["inside_port"], portal.pid("envoy")
        serial = authority.write(folder / "cert.pem", folder / "key.pem")
        until(lambda: portal.serial() == serial, "the renewed certificate to be served", timeout=60)
        assert serial != before
        assert compute(kernel, "print(6 * 8)") == "48\n"

        supervisor = psutil.Process(json.loads(portal.dure("status", "--json"))["pid"])
        supervisor.send_signal(signal.SIGKILL)
        supervisor.wait(30)
        said = portal.up()
        assert "certificate ends" not in said, "the new one has long to go"
        assert (portal.settings["inside_port"], portal.pid("envoy")) == (inside, envoy), "Envoy has gone on"
        assert compute(kernel, "print(6 * 9)") == "54\n"


def test_a_certificate_and_a_path_together(portal: Encrypted) -> None:
    portal.down()
    portal.environment["DURE_BASE_URL"] = "/dure/"
    said = portal.up()
    assert portal.url.endswith("/dure")
    assert f"The portal is up:  {portal.url}\n" in said
    assert f"and then open {portal.url}" in said
    assert json.loads(portal.dure("status", "--json"))["url"] == portal.url
    login = httpx.get(f"{portal.url}/", follow_redirects=True, timeout=60)
    assert (login.status_code, login.url.path) == (200, "/dure/hub/login")
    assert all("secure" in cookie.lower() for cookie in login.headers.get_list("set-cookie"))
    start(portal, "below")
    with portal.client("ana") as api:
        lease = api.get("/environments/below").json()["lease"]["id"]
    inside = f"http://127.0.0.1:{portal.settings['inside_port']}/dure"
    with kernel_socket(portal, lease, "below") as kernel:
        said = compute(kernel, WHERE_AM_I)
    assert said == f"{inside} {inside}/services/mlflow ana\n"

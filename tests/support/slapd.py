"""A real slapd from Debian's package: on loopback ports, in a folder of its own, ended with its starter.

It takes a bind with a name and no password as one by nobody, as many directories do: what asks it must not.
"""

from __future__ import annotations

import datetime
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import ldap3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.portal import free_port, until

MISSING = "slapd is not on this machine: sudo apt-get install -y slapd"
BASE = "dc=example,dc=org"
PEOPLE, GROUPS = f"ou=people,{BASE}", f"ou=groups,{BASE}"
MANAGER, PORTAL = f"cn=admin,{BASE}", f"cn=portal,{BASE}"
SECRET, PORTAL_SECRET = "manager-secret", "portal's secret"
OFF = "000001010000Z"

CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
allow bind_anon_cred
TLSCertificateFile {folder}/server.crt
TLSCertificateKeyFile {folder}/server.key
pidfile {folder}/pid
database mdb
maxsize 16777216
suffix "{base}"
rootdn "{manager}"
rootpw "{secret}"
directory {folder}/data
overlay memberof
overlay ppolicy
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{portal}" read by self read by * none
"""


@dataclass
class Slapd:
    """A directory that runs, with nobody in it but the account of the portal."""

    folder: Path
    port: int
    tls_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def ca(self) -> Path:
        """The certificate by which it is known."""
        return self.folder / "server.crt"

    @property
    def url(self) -> str:
        """Its address for StartTLS."""
        return f"ldap://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it on its ports, and wait until it answers."""
        log = self.folder / "log"
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        program = _program()
        assert program is not None, MISSING
        with log.open("ab") as out:
            self.process = running = subprocess.Popen(
                [program, "-h", urls, "-f", str(self.folder / "slapd.conf"), "-d", "0"], stdout=out, stderr=out
            )

        def up() -> bool:
            if running.poll() is not None:
                pytest.fail(f"slapd ended with {running.returncode}:\n{log.read_text()[-3000:]}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
            except OSError:
                return False
            return True

        until(up, "slapd to answer", timeout=30)

    def stop(self) -> None:
        """End it."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None

    def add_person(self, name: str, password: str) -> None:
        """Somebody who may log in."""
        attributes = {"sn": name, "cn": name, "uid": name, "userPassword": password}
        self._do("add", dn_of(name), "inetOrgPerson", attributes)

    def put_group(self, group: str, members: Sequence[str]) -> None:
        """A group with these people and no others. One must have a member, so the portal's account is in each."""
        dn = f"cn={group},{GROUPS}"
        self._do("delete", dn)
        self._do("add", dn, "groupOfNames", {"cn": group, "member": [PORTAL, *(dn_of(name) for name in members)]})

    def disable(self, name: str, off: bool = True) -> None:
        """As an administrator of the directory does."""
        change = (ldap3.MODIFY_REPLACE, [OFF]) if off else (ldap3.MODIFY_DELETE, [])
        self._do("modify", dn_of(name), {"pwdAccountLockedTime": [change]})

    def delete_person(self, name: str) -> None:
        """They are gone."""
        self._do("delete", dn_of(name))

    def prepare(self) -> None:
        """The entries that are always there."""
        self._do("add", BASE, ["dcObject", "organization"], {"dc": "example", "o": "Example"})
        for place in (PEOPLE, GROUPS):
            self._do("add", place, "organizationalUnit", {"ou": place.split(",")[0][3:]})
        attributes = {"cn": "portal", "userPassword": PORTAL_SECRET}
        self._do("add", PORTAL, ["organizationalRole", "simpleSecurityObject"], attributes)

    def _do(self, verb: str, dn: str, *more: object) -> None:
        connection = ldap3.Connection(ldap3.Server(self.url, get_info=ldap3.NONE), MANAGER, SECRET)
        assert connection.bind()
        try:
            getattr(connection, verb)(dn, *more)
            done = connection.result
            assert done["result"] == 0 or (verb == "delete" and done["result"] == 32), done
        finally:
            connection.unbind()


def dn_of(name: str) -> str:
    """A person's entry."""
    return f"uid={name},{PEOPLE}"


@contextmanager
def running() -> Iterator[Slapd]:
    """Start a directory, and end it. Skips where the package is missing."""
    if _program() is None:
        pytest.skip(MISSING)
    folder = Path(tempfile.mkdtemp(prefix="dure-ldap-"))
    made = Slapd(folder, free_port(), free_port())
    try:
        (folder / "data").mkdir()
        _certificate(folder)
        text = CONFIG.format(folder=folder, base=BASE, manager=MANAGER, secret=SECRET, portal=PORTAL)
        (folder / "slapd.conf").write_text(text)
        made.start()
        made.prepare()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


def _program() -> str | None:
    """Debian keeps it where only administrators look."""
    return shutil.which("slapd", path="/usr/sbin:/usr/local/sbin:/usr/lib/openldap:/usr/libexec")


def _certificate(folder: Path) -> None:
    """A certificate for the loopback address, by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "directory of a test")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "server.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / "server.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))

"""Certificates made for a test: an authority of its own, and what it signs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LONG = timedelta(days=90)


def pem_of(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    """A key as its file has it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass
class Authority:
    """Signs certificates; `file` is what whoever trusts it needs."""

    folder: Path
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of a test")])
        made = self._builder(self.name, self.key, timedelta(days=1), LONG)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.file = self.folder / "authority.pem"
        self.file.write_bytes(made.sign(self.key, SHA256()).public_bytes(Encoding.PEM))

    def sign(
        self,
        key: CertificateIssuerPrivateKeyTypes | None = None,
        *names: str,
        age: timedelta = timedelta(hours=1),
        left: timedelta = LONG,
    ) -> tuple[x509.Certificate, bytes]:
        """A certificate for these names, and its key; for 127.0.0.1 where none is given."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "portal")])
        made = self._builder(subject, key, age, left)
        known = [_general(name) for name in names or ("127.0.0.1", "localhost")]
        made = made.add_extension(x509.SubjectAlternativeName(known), critical=False)
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return made.sign(self.key, SHA256()), pem_of(key)

    def sign_client(self, name: str, group: str) -> tuple[x509.Certificate, bytes]:
        """A certificate by which somebody is known as one of a group, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        who = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group), x509.NameAttribute(NameOID.COMMON_NAME, name)]
        made = self._builder(x509.Name(who), key, timedelta(hours=1), LONG)
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        return made.sign(self.key, SHA256()), pem_of(key)

    def write(self, cert: Path, key: Path, left: timedelta = LONG, age: timedelta = timedelta(hours=1)) -> int:
        """Put a new pair into these files, as whoever renews it does; its serial number."""
        made, secret = self.sign(left=left, age=age)
        cert.write_bytes(made.public_bytes(Encoding.PEM))
        key.touch(mode=0o600)
        key.write_bytes(secret)
        return made.serial_number

    def _builder(
        self, subject: x509.Name, key: CertificateIssuerPrivateKeyTypes, age: timedelta, left: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - age)
            .not_valid_after(now + left)
        )


def weak() -> rsa.RSAPrivateKey:
    """A key that no browser takes any more."""
    return rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is to be refused


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)

"""The certificate of the front port: whether it can be used, until when, and how Envoy gets it.

Envoy reads both parts from one file that is swapped at once. So it never sees a certificate beside another one's
key, and it does not matter how the given files are renewed: in place, by another file, or by a link to one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from dure.errors import DureError, Text
from dure_hub.dataplane.files import Files
from dure_hub.dataplane.render import Json, document
from dure_hub.settings import Settings

NAME = "front"
SOON = timedelta(days=14)
"""A certificate that ends sooner is told of."""
_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
_CURVES = (SECP256R1, SECP384R1, SECP521R1)
_UNREADABLE_PEM = (
    ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
)  # fmt: skip

MISSING: Text = {"en": "there is no such file", "ko": "파일이 없습니다"}
UNREADABLE: Text = {"en": "the portal may not read it", "ko": "포털이 읽을 수 없습니다"}
NO_CERTIFICATE: Text = {"en": "it holds no certificate in PEM form", "ko": "PEM 형식의 인증서가 없습니다"}
NO_KEY: Text = {
    "en": "it holds no private key in PEM form, or one with a password",
    "ko": "PEM 형식의 개인 키가 없거나 키에 비밀번호가 걸려 있습니다",
}
OPEN_KEY: Text = {
    "en": "others than its owner may read or change it",
    "ko": "소유자가 아닌 사용자도 읽거나 바꿀 수 있습니다",
}
OTHER_KEY: Text = {
    "en": "it is not the key of the first certificate in tls_cert",
    "ko": "tls_cert의 첫 번째 인증서에 맞는 키가 아닙니다",
}
WEAK_KEY: Text = {
    "en": "it is neither RSA of 2048 bits or more nor ECDSA on P-256, P-384 or P-521",
    "ko": "2048비트 이상의 RSA도, P-256, P-384, P-521의 ECDSA도 아닙니다",
}
GIVE_PEM: Text = {
    "en": "Name PEM files that belong together: `tls_cert` (the portal's certificate first, then its chain) and "
    "`tls_key` (without a password).",
    "ko": "서로 맞는 PEM 파일을 지정하세요. `tls_cert`에는 포털 인증서와 그 뒤의 체인을, `tls_key`에는 비밀번호 "
    "없는 키를 넣습니다.",
}
GIVE_ACCESS: Text = {"en": "Let its reader be the portal's user: chmod 600 {file}", "ko": "chmod 600 {file}"}


class CertificateUnusable(DureError):
    """One of the two files cannot be used; `why` and `advice` are in both languages."""

    code, status = "certificate_unusable", 422
    message: ClassVar[Text] = {
        "en": "The setting {setting} cannot be {file}: {why}.",
        "ko": "설정 {setting}에 {file}을(를) 사용할 수 없습니다: {why}.",
    }
    next_step: ClassVar[Text] = {"en": "{todo}", "ko": "{todo}"}

    def __init__(self, setting: str, file: Path, why: Text, todo: Text = GIVE_PEM) -> None:
        filled = {language: text.format(file=file) for language, text in todo.items()}
        super().__init__(setting=setting, file=str(file), why=why, todo=filled)

    def __reduce__(self) -> tuple[Any, ...]:
        return CertificateUnusable, tuple(self.facts.values())


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key, as they may be served. `names` are those it is for."""

    chain: str
    key: str
    names: tuple[str, ...]
    begins: datetime
    ends: datetime

    def __repr__(self) -> str:
        return f"Certificate({', '.join(self.names)}, until {self.ends:%Y-%m-%d})"  # never the key

    def ends_soon(self, now: datetime) -> bool:
        """Whether it is over, or will be within `SOON`."""
        return self.ends - now < SOON

    def days_left(self, now: datetime) -> int:
        """Whole days until its end; below 0 where it is over."""
        return (self.ends - now).days


def load(settings: Settings) -> Certificate | None:
    """What the two settings name, looked at as a whole; None where they name nothing.

    Raises `CertificateUnusable` for whatever Envoy or the portal's safety would not bear. One whose time is over
    or has not begun is no error: it can be served, and browsers say what is wrong with it.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    chain = _read("tls_cert", settings.tls_cert)
    key = _read("tls_key", settings.tls_key)
    if settings.tls_key.stat().st_mode & 0o077:
        raise CertificateUnusable("tls_key", settings.tls_key, OPEN_KEY, GIVE_ACCESS)
    try:
        certificates = x509.load_pem_x509_certificates(chain)
        first, names = certificates[0], _names(certificates[0])
        public = _spki(first.public_key())
    except _UNREADABLE_PEM as why:
        raise CertificateUnusable("tls_cert", settings.tls_cert, NO_CERTIFICATE) from why
    try:
        secret = load_pem_private_key(key, None)
    except _UNREADABLE_PEM as why:
        raise CertificateUnusable("tls_key", settings.tls_key, NO_KEY) from why
    if _spki(secret.public_key()) != public:
        raise CertificateUnusable("tls_key", settings.tls_key, OTHER_KEY)
    if not _served(secret):
        raise CertificateUnusable("tls_key", settings.tls_key, WEAK_KEY)
    begins, ends = first.not_valid_before_utc, first.not_valid_after_utc
    # Written anew: what stands between the blocks of such a file may be text in any encoding.
    served = "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)
    own = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Certificate(served, own, names, begins, ends)


def signature(settings: Settings) -> tuple[object, ...]:
    """What changes when either file does, or a link to it."""
    found: list[object] = []
    for path in (settings.tls_cert, settings.tls_key):
        try:
            status = None if path is None else path.stat()
        except OSError as why:
            found.append(why.errno)
            continue
        # the last is another after chown and setfacl, too
        told = ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_mode", "st_ctime_ns")
        found.append(status and tuple(getattr(status, name) for name in told))
    return tuple(found)


def give(settings: Settings, certificate: Certificate) -> None:
    """Put it where Envoy looks: new connections get it, and open ones stay as they are."""
    files = Files(settings.folder)
    files.write(files.certificate, document([make_secret(certificate)])[0])


def make_secret(certificate: Certificate) -> Json:
    """What Envoy serves, as a plain dict."""
    return {
        **make_empty_secret(),
        "tls_certificate": {
            "certificate_chain": {"inline_string": certificate.chain},
            "private_key": {"inline_string": certificate.key},
        },
    }


def make_empty_secret() -> Json:
    """What is served, without it."""
    return {"@type": f"{_TYPE}Secret", "name": NAME}


def make_socket(file: Path) -> Json:
    """The transport socket of a listener that speaks TLS. It never changes: what is served lies in `file`."""
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TYPE}DownstreamTlsContext",
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                # Websockets of hub and Lab are upgrades of HTTP/1.1.
                "alpn_protocols": ["http/1.1"],
                "tls_certificate_sds_secret_configs": [
                    {
                        "name": NAME,
                        "sds_config": {
                            "path_config_source": {"path": str(file)},
                            "resource_api_version": "V3",
                        },
                    }
                ],
            },
        },
    }


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as why:
        raise CertificateUnusable(setting, path, MISSING) from why
    except OSError as why:
        raise CertificateUnusable(setting, path, UNREADABLE, GIVE_ACCESS) from why


def _spki(key: Any) -> bytes:
    found: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return found


def _served(key: object) -> bool:
    """Whether Envoy takes it."""
    if isinstance(key, RSAPrivateKey):
        return key.key_size >= 2048
    return isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES)


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Names and addresses that it is for, as browsers read them; else what it calls its subject."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (certificate.subject.rfc4514_string(),)
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return (*found.get_values_for_type(x509.DNSName), *addresses)

"""Which certificates are served, and what is said of those that are not."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from dure_hub.dataplane import certificate
from dure_hub.dataplane.certificate import CertificateUnusable
from dure_hub.settings import Settings
from dure_hub.supervisor.renewal import Renewal
from tests.support.certificates import Authority, pem_of, weak


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def settings(tmp_path: Path, authority: Authority) -> Settings:
    """A portal with a good certificate."""
    made = Settings(data=tmp_path / "d", tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem")
    made.folder.create()
    authority.write(*files(made))
    return made


def files(settings: Settings) -> tuple[Path, Path]:
    assert settings.tls_cert is not None
    assert settings.tls_key is not None
    return settings.tls_cert, settings.tls_key


def test_a_good_pair_is_known_by_its_names_and_end(settings: Settings) -> None:
    found = certificate.load(settings)
    assert found is not None
    assert found.names == ("localhost", "127.0.0.1")
    assert found.days_left(datetime.now(UTC)) == 89
    assert "PRIVATE" not in repr(found)
    assert certificate.load(Settings(data=settings.data)) is None


def _encrypted(cert: Path, key: Path, authority: Authority) -> None:
    secret = ec.generate_private_key(ec.SECP256R1())
    made, _ = authority.sign(secret)
    cert.write_bytes(made.public_bytes(Encoding.PEM))
    key.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")))


def _folder(cert: Path, key: Path, authority: Authority) -> None:
    cert.unlink()
    cert.mkdir()


def _weak(cert: Path, key: Path, authority: Authority) -> None:
    made, secret = authority.sign(weak())
    cert.write_bytes(made.public_bytes(Encoding.PEM))
    key.write_bytes(secret)


def _edwards(cert: Path, key: Path, authority: Authority) -> None:
    made, secret = authority.sign(ed25519.Ed25519PrivateKey.generate())
    cert.write_bytes(made.public_bytes(Encoding.PEM))
    key.write_bytes(secret)


WRONG: dict[str, tuple[Callable[[Path, Path, Authority], object], str, str]] = {
    "no certificate": (lambda cert, key, ca: cert.unlink(), "tls_cert", "no such file"),
    "no key": (lambda cert, key, ca: key.unlink(), "tls_key", "no such file"),
    "a folder": (_folder, "tls_cert", "may not read"),
    "no PEM": (lambda cert, key, ca: cert.write_bytes(b"\x30\x82"), "tls_cert", "no certificate in PEM"),
    "empty": (lambda cert, key, ca: cert.write_text(""), "tls_cert", "no certificate in PEM"),
    "no PEM key": (lambda cert, key, ca: key.write_text("hello"), "tls_key", "no private key in PEM"),
    "with a password": (_encrypted, "tls_key", "with a password"),
    "another's key": (
        lambda cert, key, ca: key.write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1()))),
        "tls_key",
        "not the key of the first certificate",
    ),
    "the chain first": (
        lambda cert, key, ca: cert.write_bytes(ca.file.read_bytes() + cert.read_bytes()),
        "tls_key",
        "not the key of the first certificate",
    ),
    "a short key": (_weak, "tls_key", "2048 bits"),
    "a kind that Envoy does not take": (_edwards, "tls_key", "P-256"),
    "open to the group": (lambda cert, key, ca: key.chmod(0o640), "tls_key", "others than its owner"),
    "open to all": (lambda cert, key, ca: key.chmod(0o604), "tls_key", "others than its owner"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_served_is_named_with_the_rule(settings: Settings, authority: Authority, case: str) -> None:
    spoil, setting, rule = WRONG[case]
    cert, key = files(settings)
    spoil(cert, key, authority)
    with pytest.raises(CertificateUnusable) as caught:
        certificate.load(settings)
    said = caught.value
    assert said.facts["setting"] == setting
    assert rule in said.text("en")
    assert str(cert if setting == "tls_cert" else key) in said.text("ko")
    assert "None" not in said.advice("en") + said.advice("ko")
    assert pickle.loads(pickle.dumps(said)).facts == said.facts  # noqa: S301 - our own


def test_one_that_is_over_is_served_and_told_of(settings: Settings, authority: Authority) -> None:
    authority.write(*files(settings), age=timedelta(days=9), left=-timedelta(days=2))
    found = certificate.load(settings)
    assert found is not None
    assert found.ends_soon(datetime.now(UTC))
    assert found.days_left(datetime.now(UTC)) < 0


@pytest.mark.parametrize(("days", "soon"), [(13, True), (15, False)])
def test_the_last_two_weeks_are_soon(settings: Settings, authority: Authority, days: int, soon: bool) -> None:
    authority.write(*files(settings), left=timedelta(days=days))
    found = certificate.load(settings)
    assert found is not None
    assert found.ends_soon(datetime.now(UTC)) is soon


def test_envoy_gets_both_parts_at_once_in_a_file_of_its_owner(settings: Settings) -> None:
    found = certificate.load(settings)
    assert found is not None
    certificate.give(settings, found)
    file = settings.folder.envoy / "certificate.json"
    assert file.stat().st_mode & 0o777 == 0o600
    (secret,) = json.loads(file.read_text())["resources"]
    assert secret["tls_certificate"] == {
        "certificate_chain": {"inline_string": found.chain},
        "private_key": {"inline_string": found.key},
    }


def test_a_link_that_points_elsewhere_is_another_certificate(settings: Settings, tmp_path: Path) -> None:
    cert, key = files(settings)
    first, second = tmp_path / "first.pem", tmp_path / "second.pem"
    cert.rename(first)
    second.write_bytes(first.read_bytes())
    cert.symlink_to(first)
    before = certificate.signature(settings)
    assert certificate.signature(settings) == before
    cert.unlink()
    assert certificate.signature(settings) != before
    cert.symlink_to(second)
    assert certificate.signature(settings) != before
    assert Settings(tls_cert=cert, tls_key=key).tls_cert == cert, "the link, and not where it leads today"


def test_words_in_any_encoding_between_the_blocks_are_not_served(settings: Settings) -> None:
    found = certificate.load(settings)
    for file in files(settings):
        file.write_bytes("Aussteller: Müller & Söhne\n".encode("latin-1") + file.read_bytes())
    assert certificate.load(settings) == found


def test_a_changed_owner_or_right_is_a_change(settings: Settings) -> None:
    _, key = files(settings)
    before = certificate.signature(settings)
    os.chown(key, os.geteuid(), os.getegid())
    assert certificate.signature(settings) != before


def test_what_may_not_be_read_is_tried_again_and_told_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    renewal = Renewal(settings, told.append)
    renewal.look()
    assert [one.partition(" ")[0] for one in told] == ["serves"]
    with monkeypatch.context() as patch:

        def refuse(_: Path) -> bytes:
            raise PermissionError

        patch.setattr(Path, "read_bytes", refuse)
        files(settings)[0].touch()
        renewal.look()
        renewal.look()
    assert len(told) == 2, "nothing else happened to the files, and nothing else is said"
    renewal.look()
    assert told[2] == told[0]

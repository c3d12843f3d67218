"""What is said of the way to the front port: by `up`, by the checks, and by the log when a certificate changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dure_hub.commands import reachcheck
from dure_hub.commands.up import _words
from dure_hub.dataplane import certificate
from dure_hub.settings import Settings
from dure_hub.supervisor import checks, reaching
from dure_hub.supervisor.errors import OpenToReaders
from dure_hub.supervisor.renewal import Renewal
from dure_hub.supervisor.words import line
from tests.support.certificates import Authority

NOW = datetime.now(UTC)


def with_certificate(folder: Path, **more: Any) -> Settings:
    made = Settings(data=folder / "d", tls_cert=folder / "cert.pem", tls_key=folder / "key.pem", **more)
    made.folder.create()
    return made


def said(settings: Settings) -> str:
    lines = reaching.lines(settings, certificate.load(settings), "ana", "box", NOW)
    return "\n".join(line(key, "en", **facts) for key, facts in lines)


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "10.1.2.3", "2001:db8::1"])  # noqa: S104 - never bound
def test_plain_http_for_others_is_refused_with_the_three_ways_on(host: str) -> None:
    with pytest.raises(OpenToReaders) as caught:
        checks.reached_safely(Settings(host=host, port=8123))
    for language in ("en", "ko"):
        text = caught.value.text(language) + caught.value.advice(language)
        assert host in text
        for way in ("ssh -L 8123:127.0.0.1:8123", "`tls_cert`", "--insecure-http"):
            assert way in text


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_loopback_needs_neither(host: str) -> None:
    checks.reached_safely(Settings(host=host))


def test_others_are_let_in_by_https_or_where_somebody_says_so(tmp_path: Path) -> None:
    checks.reached_safely(with_certificate(tmp_path, host="10.1.2.3"))
    checks.reached_safely(Settings(host="10.1.2.3", insecure_http=True))


def test_on_loopback_the_line_for_ssh_is_said(tmp_path: Path) -> None:
    assert said(Settings(port=8123)) == (
        "From another computer:  ssh -L 8123:127.0.0.1:8123 ana@box   and then open http://127.0.0.1:8123"
    )
    Authority(tmp_path).write(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert said(with_certificate(tmp_path, port=8123)).endswith("and then open https://127.0.0.1:8123")
    assert "ssh -L 8123:[::1]:8123" in said(Settings(host="::1", port=8123))


def test_who_listens_everywhere_hears_what_others_type(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.write(tmp_path / "cert.pem", tmp_path / "key.pem")
    everywhere = with_certificate(tmp_path, host="0.0.0.0", port=8123)  # noqa: S104 - never bound
    assert said(everywhere) == "From another computer:  https://127.0.0.1:8123"
    open_one = Settings(host="0.0.0.0", port=8123, insecure_http=True)  # noqa: S104 - never bound
    first, second = said(open_one).splitlines()
    assert first == "From another computer:  http://box:8123"
    assert second.startswith("Passwords are readable on the way to 0.0.0.0:8123")


@pytest.mark.parametrize(
    ("age", "left", "key"),
    [
        (1, 90, None),
        (1, 13, "certificate_ends"),
        (9, -1, "certificate_ended"),
        (-1, 90, "certificate_not_begun"),
    ],
)
def test_a_certificate_out_of_its_time_is_told(tmp_path: Path, age: int, left: int, key: str | None) -> None:
    cert, secret = tmp_path / "cert.pem", tmp_path / "key.pem"
    Authority(tmp_path).write(cert, secret, age=timedelta(days=age), left=timedelta(days=left))
    settings = with_certificate(tmp_path)
    found = certificate.load(settings)
    assert found is not None
    assert [one for one, _ in reaching.of_certificate(found, NOW)] == ([key] if key else [])
    (told,) = reachcheck.check(settings, "en", NOW)
    assert (told.topic, told.fine, told.worst) == ("certificate", key is None, False)
    assert f"{(found.begins if key == 'certificate_not_begun' else found.ends).astimezone():%Y-%m-%d}" in told.text
    status = reachcheck.told(settings, "ko", NOW)
    assert status is not None
    assert (status["ends"], status["trouble"] is None) == (found.ends.isoformat(), key is None)


def test_the_checks_say_what_is_in_the_way(tmp_path: Path) -> None:
    assert list(reachcheck.check(Settings(), "en", NOW)) == []
    (refused,) = reachcheck.check(Settings(host="10.1.2.3"), "en", NOW)
    assert (refused.topic, refused.worst) == ("encryption", True)
    (warned,) = reachcheck.check(Settings(host="10.1.2.3", insecure_http=True), "ko", NOW)
    assert (warned.topic, warned.worst, warned.fine) == ("encryption", False, False)
    (missing,) = reachcheck.check(with_certificate(tmp_path), "en", NOW)
    assert (missing.topic, missing.worst) == ("certificate", True)
    assert "no such file" in missing.text
    status = reachcheck.told(with_certificate(tmp_path), "en", NOW)
    assert status is not None
    assert status["ends"] is None
    assert reachcheck.told(Settings(), "en", NOW) is None


def test_what_is_renewed_is_handed_on_and_what_is_broken_is_not(tmp_path: Path) -> None:
    authority, notes = Authority(tmp_path), list[str]()
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.write(cert, key)
    settings = with_certificate(tmp_path)
    given = settings.folder.envoy / "certificate.json"
    renewal = Renewal(settings, notes.append)
    renewal.look()
    first = given.read_text()
    renewal.look()
    assert len(notes) == 1, "said once"
    new_cert, new_key = tmp_path / "new-cert.pem", tmp_path / "new-key.pem"
    authority.write(new_cert, new_key)
    new_cert.replace(cert)
    renewal.look()
    renewal.look()
    assert given.read_text() == first, "a certificate beside another's key is not served"
    assert len(notes) == 2
    assert "stays" in notes[1]
    new_key.replace(key)
    renewal.look()
    assert given.read_text() != first
    assert notes[2].startswith("serves Certificate(localhost, 127.0.0.1")
    assert "PRIVATE" not in "".join(notes)


def test_flags_are_handed_on_as_they_are_typed() -> None:
    flags = {"data": "/d", "port": 8123, "host": None, "insecure_http": True}
    assert _words(flags) == ["--data", "/d", "--port", "8123", "--insecure-http"]
    assert _words({"insecure_http": None}) == []

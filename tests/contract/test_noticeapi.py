"""Sending for real: to a webhook and a mail server on loopback, and never to where nobody may send."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dure_hub import noticeapi
from dure_hub.noticeapi import Message, NoticeApi
from dure_hub.noticechild import Guard
from dure_hub.settings import Settings
from tests.support.receivers import FLOOD, LOOPBACK, Mails, Webhook, flood, mail_server, webhook

HELLO = Message("1", "Title <b>", "Two & <i>three</i>\n두레")


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as found:
        yield found


@pytest.fixture
def mails() -> Iterator[Mails]:
    with mail_server() as found:
        yield found


def api(folder: Path, **more: Any) -> NoticeApi:
    return NoticeApi(Settings(data=folder, **more))


async def test_a_webhook_gets_what_was_said_as_plain_text(tmp_path: Path, hook: Webhook) -> None:
    sent = await api(tmp_path, notice_networks=LOOPBACK).send(hook.url, [HELLO, Message("2", "b", "c")])
    assert sent == {"1": None, "2": None}
    assert [(one["title"], one["message"]) for one in hook.got] == [(HELLO.title, HELLO.body), ("b", "c")]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"],  # noqa: S104 - connected to
)
async def test_nothing_inside_is_reached_unless_an_administrator_allows_it(
    tmp_path: Path, hook: Webhook, host: str
) -> None:
    sent = await api(tmp_path).send(f"json://{host}:{hook.port}/x", [HELLO])
    assert sent["1"] in ("address_not_allowed", "bad_address", "unknown_host"), sent
    assert hook.got == []


@pytest.mark.parametrize(
    "inside",
    [
        *("::7f00:1", "fec0::1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "64:ff9b:1:7f00:0:100::"),
        *("::ffff:0:7f00:1", "2002:7f00:1::", "fe80::1%lo", "fd00::1", "::", "ff0e::1", "224.0.0.1", "240.0.0.1"),
    ],
)
def test_no_writing_of_an_inner_address_is_taken_for_a_public_one(inside: str) -> None:
    assert not Guard([], anywhere=False)._allowed(inside)


@pytest.mark.parametrize("public", ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"])
def test_public_addresses_are_and_those_an_administrator_allows(public: str) -> None:
    assert Guard([], anywhere=False)._allowed(public)
    assert Guard(["10.0.0.0/8"], anywhere=False)._allowed("64:ff9b::a00:1")
    assert Guard(["::1/128"], anywhere=False)._allowed("::1")


async def test_what_a_redirect_leads_to_is_looked_at_too(tmp_path: Path, hook: Webhook) -> None:
    with webhook() as inside:
        hook.answers, hook.location = [307], f"http://127.0.0.2:{inside.port}/secret"
        sent = await api(tmp_path, notice_networks=LOOPBACK).send(hook.url, [HELLO])
        assert sent == {"1": "address_not_allowed"}
        assert (len(hook.got), inside.got) == (1, [])


async def test_a_file_of_the_portals_is_no_template_of_a_message(tmp_path: Path, hook: Webhook) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"text": "the portal\'s secret", "title": "x"}')
    able = api(tmp_path, notice_networks=LOOPBACK)
    checked = await able.check(f"workflows://127.0.0.1:{hook.port}/a/b?template={secret}")
    sent = await able.send(f"workflows://127.0.0.1:{hook.port}/a/b?template={secret}", [HELLO])
    assert checked.error is None
    assert sent == {"1": "bad_address"}
    assert hook.got == []


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("syslog://", "scheme_not_allowed"),
        ("apprise://example.org/token", "scheme_not_allowed"),
        ("dbus://", "bad_address"),
        ("file:///etc/passwd", "bad_address"),
        ("http://example.org/", "bad_address"),
        ("nonsense", "bad_address"),
    ],
)
async def test_other_kinds_of_addresses_are_refused(tmp_path: Path, url: str, error: str) -> None:
    assert (await api(tmp_path).check(url)).error == error


@pytest.mark.parametrize(
    ("url", "scheme", "host"),
    [
        ("jsons://ana:pass@example.org/hook/s3cret", "jsons", "example.org"),
        ("mailtos://ana:pass@example.org", "mailtos", "example.org"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#team", "slack", None),
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "slack", None),
    ],
)
async def test_of_an_address_its_kind_is_known_and_a_host_that_is_no_secret(
    tmp_path: Path, url: str, scheme: str, host: str | None
) -> None:
    checked = await api(tmp_path).check(url)
    assert (checked.error, checked.scheme, checked.host) == (None, scheme, host)


async def test_what_came_of_it_is_a_code(tmp_path: Path, hook: Webhook) -> None:
    able = api(tmp_path, notice_networks=LOOPBACK)
    hook.answers = [503]
    assert await able.send(hook.url, [HELLO, Message("2", "a", "b")]) == {"1": "http_503", "2": None}
    assert await able.send("json://no-such-host.invalid/", [HELLO]) == {"1": "unknown_host"}
    with webhook() as gone:
        pass
    assert await able.send(gone.url, [HELLO]) == {"1": "no_answer"}


async def test_who_says_nothing_is_not_waited_for_for_ever(
    tmp_path: Path, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook.hold.set()
    monkeypatch.setattr(noticeapi, "SEND_S", 5.0)
    sent = await api(tmp_path, notice_networks=LOOPBACK).send(f"{hook.url}?rto=300", [HELLO])
    assert sent == {"1": "no_answer"}


async def test_an_address_cannot_ask_for_more_patience(tmp_path: Path, hook: Webhook) -> None:
    hook.hold.set()
    sending = api(tmp_path, notice_networks=LOOPBACK).send(
        f"{hook.url}?rto=300&cto=300&retry=9&wait=60", [HELLO, Message("2", "b", "c")]
    )
    task = asyncio.create_task(sending)
    async with asyncio.timeout(60):
        while not hook.got:  # noqa: ASYNC110 - its thread knows no event of this loop
            await asyncio.sleep(0.01)
    hook.hold.clear()  # the first is held for good, the second would be answered
    assert await task == {"1": "no_answer", "2": None}
    assert len(hook.got) == 2


async def test_an_answer_without_an_end_fills_no_memory(tmp_path: Path) -> None:
    with flood() as one:
        sent = await api(tmp_path, notice_networks=LOOPBACK).send(one.url, [HELLO])
    assert sent == {"1": "failed"}
    assert 0 < one.sent < FLOOD


async def test_only_a_few_addresses_are_looked_at_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    able, begun, go_on = api(tmp_path), [], asyncio.Event()

    async def ask(asked: Mapping[str, Any], limit_s: float, **_: Any) -> list[dict[str, Any]]:
        begun.append(asked["url"])
        await go_on.wait()
        return [{"error": None, "scheme": "json"}]

    monkeypatch.setattr(able, "_ask", ask)
    checks = [asyncio.create_task(able.check(f"json://example.org/{number}")) for number in range(20)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(begun) == 2
    go_on.set()
    assert {one.error for one in await asyncio.gather(*checks)} == {None}
    assert len(begun) == 20


async def test_mail_goes_to_its_one_person_as_text(tmp_path: Path, mails: Mails) -> None:
    file = tmp_path / "mail"
    file.write_text(mails.url + "\n")
    able = api(tmp_path, mail_url_file=file, mail_address="{name}@example.org")
    sent = await able.mail(
        [Message("1", "Titel", "<b>두레</b>", "ana@example.org"), Message("2", "b", "c", "ben@x.org")]
    )
    assert sent == {"1": None, "2": None}
    (ana, first), (ben, _) = mails.got
    assert (ana, ben) == (["ana@example.org"], ["ben@x.org"])
    parts = [part for part in first.walk() if not part.is_multipart()]
    assert [part.get_content_type() for part in parts] == ["text/plain"]
    text = parts[0].get_payload(decode=True)
    assert isinstance(text, bytes)
    assert "<b>두레</b>" in text.decode()
    assert first["Subject"] == "Titel"


async def test_without_a_readable_file_no_mail_goes(tmp_path: Path) -> None:
    assert await api(tmp_path).mail([HELLO]) == {"1": "no_mail_address"}
    missing = api(tmp_path, mail_url_file=tmp_path / "none", mail_address="{name}@example.org")
    assert await missing.mail([HELLO]) == {"1": "no_answer"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"notice_schemes": ["json", "dbus"]},
        {"notice_networks": ["10.0.0.1/8"]},
        {"mail_address": "all@example.org"},
    ],
)
def test_settings_that_let_in_too_much_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(data=tmp_path, **wrong)

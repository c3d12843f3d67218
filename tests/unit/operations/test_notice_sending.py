"""Where notices are sent, by real sending to a real receiver; what is kept of addresses, and how people read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import Conflict, NotAllowed
from dure.wire.ids import new_id
from dure_hub.account_end import end_everything_of, sign_out
from dure_hub.noticeapi import Checked
from dure_hub.operations.notice_rows import MOST_AN_HOUR
from dure_hub.operations.notices import MOST_CHANNELS, BadNoticeAddress
from dure_hub.settings import Settings
from dure_hub.store.models import Notice
from tests.support.noticing import ANN, BEN, ROOT, Site, channel, deliveries, lease_of
from tests.support.receivers import LOOPBACK, Webhook, mail_server, webhook


async def test_it_is_sent_in_the_readers_language_and_zone(site: Site, hook: Webhook) -> None:
    await channel(site, hook)
    await site.notices.set(ANN, wire.NoticeSettingsRequest(language="ko", timezone="Asia/Seoul"))
    lease = await site.runs_for(ANN)
    until = lease_of(site, lease).until
    assert until is not None
    site.clock.now = until - timedelta(minutes=9)
    await site.told()
    await site.sends()
    (text,) = hook.texts
    assert f"default이(가) {until + timedelta(hours=9):%Y-%m-%d %H:%M} (Asia/Seoul)에 종료됩니다" in text
    assert text.endswith("/services/dure/notices")
    assert [one.state for one in (await site.notices.list(ANN))[0].deliveries] == ["sent"]


async def test_what_is_refused_is_tried_again_until_it_arrives(site: Site, hook: Webhook) -> None:
    await channel(site, hook)
    hook.answers = [503, 500]
    site.happens("job.fail", "job:ann/digits")
    await site.told()
    await site.sends()
    (row,) = deliveries(site)
    assert (row.tries, row.error, row.sent_at) == (1, "http_503", None)
    assert [one.last_error for one in (await site.notices.settings(ANN)).channels] == ["http_503"]
    assert [(one.person, one.error, one.state) for one in await site.notices.failures(ROOT)] == [
        ("ann", "http_503", "waiting")
    ]
    with pytest.raises(NotAllowed):
        await site.notices.failures(ANN)
    await site.sends()
    assert len(hook.got) == 1, "not before its time"
    for seconds in (30, 60):
        site.clock.move(seconds)
        await site.sends()
    (row,) = deliveries(site)
    assert (row.tries, row.error, row.next_at) == (3, None, None)
    assert row.sent_at == site.clock()
    site.clock.move(3600)
    await site.sends()
    assert len(hook.got) == 3


async def test_it_is_given_up_after_a_day_and_what_came_too_late_is_not_sent(site: Site, hook: Webhook) -> None:
    await channel(site, hook)
    hook.answers = [500] * 3
    site.happens("job.fail", "job:ann/digits")
    await site.told()
    await site.sends()
    site.clock.move(86401)
    await site.sends()
    (row,) = deliveries(site)
    assert (row.next_at, row.error, row.sent_at) == (None, "http_500", None)
    await site.runs_for(ANN)
    await site.environments.stop(ROOT, "default", owner="ann", why="soon")
    await site.told()
    site.clock.move(600)
    await site.sends()
    assert [row.error for row in deliveries(site)] == ["http_500", "too_late"]
    assert len(hook.got) == 1


async def test_what_was_claimed_by_a_portal_that_was_killed_is_sent_by_the_next(site: Site, hook: Webhook) -> None:
    await channel(site, hook)
    site.happens("job.fail", "job:ann/digits")
    await site.told()
    claimed = await site.store.run(lambda session: site.sending._claim(session, free=2))  # and then it is killed
    assert len(claimed) == 1
    await site.sends()
    assert hook.got == [], "whoever claimed it may still be at it"
    site.clock.move(90)
    await site.sends()
    assert len(hook.got) == 1


async def test_a_kind_that_is_off_is_listed_as_read_and_sent_nowhere(site: Site, hook: Webhook) -> None:
    await channel(site, hook)
    await site.notices.set(ANN, wire.NoticeSettingsRequest(off=["job"]))
    site.happens("job.fail", "job:ann/digits")
    assert len(await site.told()) == 1
    assert await site.notices.unread(ANN) == 0
    assert deliveries(site) == []


async def test_a_flood_is_listed_and_not_sent(site: Site, hook: Webhook) -> None:
    await channel(site, hook)
    for number in range(MOST_AN_HOUR + 5):
        site.happens("job.fail", f"job:ann/j{number}")
    await site.told()
    assert len(await site.notices.list(ANN, limit=500)) == MOST_AN_HOUR + 5
    assert len(deliveries(site)) == MOST_AN_HOUR


async def test_mail_of_the_portals_goes_to_the_address_made_of_the_name(tmp_path: Path) -> None:
    with mail_server() as mails:
        file = tmp_path / "mail-url"
        file.write_text(mails.url)
        site = Site(tmp_path / "data", mail_url_file=file, mail_address="{name}@example.org")
        for person in ("ann", "ben", "eve,ann"):  # the last is no single address
            site.happens("job.fail", f"job:{person}/digits")
        await site.notices.set(BEN, wire.NoticeSettingsRequest(mail=False))
        await site.told()
        await site.sends()
        assert [to for to, _ in mails.got] == [["ann@example.org"]]
        assert [row.error for row in deliveries(site)] == [None, "no_mail_address"]
        await site.close()


async def test_one_persons_silent_addresses_keep_nobody_elses_notices_nor_the_mail(
    tmp_path: Path, hook: Webhook
) -> None:
    with mail_server() as mails, webhook() as silent:
        file = tmp_path / "mail-url"
        file.write_text(mails.url)
        site = Site(
            tmp_path / "data", mail_url_file=file, mail_address="{name}@example.org", notice_networks=LOOPBACK
        )
        silent.hold.set()
        for _ in range(3):
            await channel(site, silent)
        await channel(site, hook, BEN)
        for person in ("ann", "ben"):
            site.happens("job.fail", f"job:{person}/digits")
        await site.told()
        await site.sending.send()
        async with asyncio.timeout(40):
            while not (hook.got and len(mails.got) == 2 and silent.got):  # noqa: ASYNC110 - threads of their own
                await asyncio.sleep(0.01)
        assert len(silent.got) == 1, "of three addresses of one person's"
        await site.close()


async def test_nobody_sends_again_before_what_came_of_it_is_written(
    site: Site, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await channel(site, hook)
    site.happens("job.fail", "job:ann/digits")
    await site.told()
    note, busy = site.sending._note, []

    def watched(session: Session, *, outcome: Mapping[str, str | None]) -> None:
        busy.append(set(site.sending._busy))
        note(session, outcome=outcome)

    monkeypatch.setattr(site.sending, "_note", watched)
    await site.sends()
    assert busy == [{made.id}]
    assert not site.sending._busy


async def test_reading_marks_what_was_shown_and_nothing_newer(site: Site) -> None:
    for number in range(3):
        site.happens("job.fail", f"job:ann/j{number}")
        await site.told()
    newest, middle, _ = await site.notices.list(ANN)
    await site.notices.seen(BEN, wire.SeenRequest(through=newest.id))
    assert await site.notices.unread(ANN) == 3
    await site.notices.seen(ANN, wire.SeenRequest(through=middle.id))
    assert [one.id for one in await site.notices.list(ANN, unseen=True)] == [newest.id]
    await site.notices.seen(ANN, wire.SeenRequest(ids=[newest.id, new_id()]))
    assert await site.notices.unread(ANN) == 0


async def test_addresses_are_kept_closed_shown_in_part_and_bounded(
    site: Site, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await channel(site, hook)
    assert (made.scheme, made.host) == ("json", "127.0.0.1")
    assert "s3cret" not in made.model_dump_json() + (await site.notices.settings(ANN)).model_dump_json()
    for file in site.settings.folder.db.iterdir():
        assert b"s3cret" not in file.read_bytes(), file
    with pytest.raises(BadNoticeAddress) as refused:
        await site.notices.add(ANN, wire.NoticeChannelRequest(id=new_id(), url="syslog://s3cret"))
    assert "s3cret" not in str(refused.value.to_wire("en"))
    again = await site.notices.add(ANN, wire.NoticeChannelRequest(id=made.id, url=hook.url))
    assert again.id == made.id
    with pytest.raises(Conflict):
        await site.notices.add(BEN, wire.NoticeChannelRequest(id=made.id, url=hook.url))
    with site.store.transaction() as session:
        from dure_hub.store.models import NoticeChannel

        one = session.get_one(NoticeChannel, made.id)
        for _ in range(MOST_CHANNELS - 1):
            values = {"person": "ann", "scheme": "json", "sealed": one.sealed, "made_at": one.made_at}
            session.add(NoticeChannel(id=new_id(), **values))

    async def asked(url: str) -> Checked:
        raise AssertionError("no process begins for a channel that has no room")

    monkeypatch.setattr(site.notices._api, "check", asked)
    with pytest.raises(Conflict):
        await channel(site, hook)


async def test_a_channel_that_is_removed_gets_nothing_any_more(site: Site, hook: Webhook) -> None:
    made = await channel(site, hook)
    site.happens("job.fail", "job:ann/digits")
    await site.told()
    await site.notices.remove(ANN, made.id)
    await site.sends()
    assert (hook.got, deliveries(site)) == ([], [])


async def test_a_test_is_sent_once_a_minute(site: Site, hook: Webhook) -> None:
    await channel(site, hook)
    first, second = await site.notices.test(ANN), await site.notices.test(ANN)
    await site.sends()
    assert (first.id, len(hook.got)) == (second.id, 1)
    site.clock.move(60)
    assert (await site.notices.test(ANN)).id != first.id


async def test_old_notices_are_forgotten(site: Site, hook: Webhook) -> None:
    await channel(site, hook)
    site.happens("job.fail", "job:ann/old")
    await site.told()
    site.clock.move(90 * 86400 + 1)
    site.happens("job.fail", "job:ann/new")
    await site.told()
    await site.sending.tidy()
    assert [one.text["en"] for one in await site.notices.list(ANN)] == ["The job new has failed."]
    with site.store.reading() as session:
        assert session.scalar(select(func.count()).select_from(Notice)) == 1
    assert len(deliveries(site)) == 1


async def test_a_new_password_or_the_end_of_an_account_forgets_the_addresses(site: Site, hook: Webhook) -> None:
    for end in (sign_out, _end_all):
        await channel(site, hook)
        await channel(site, hook, BEN)
        site.happens("job.fail", f"job:ann/{end.__name__}")
        await site.told()
        await asyncio.to_thread(end, site.settings, "ann")
        await site.sends()
        assert (await site.notices.settings(ANN)).channels == []
        assert (await site.notices.settings(BEN)).channels != []
        assert hook.got == []


def _end_all(settings: Settings, name: str) -> None:
    asyncio.run(end_everything_of(settings, name))

"""Who is told what, once each, of events and of ends that come near."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from dure import wire
from dure.wire.ids import new_id
from dure_hub.hubapi import HubPerson
from dure_hub.policies.notices import VERBS
from dure_hub.store.models import Endpoint, Event, Job, Lease, Replica
from tests.support.noticing import ANN, BEN, ROOT, Site, lease_of


async def test_an_event_is_told_once_and_to_its_person_alone(site: Site) -> None:
    site.happens("job.fail", "job:ann/digits", on_behalf_of="ann")
    assert await site.told() == ["The job digits has failed."]
    assert await site.told() == ["The job digits has failed."]
    assert await site.told(BEN) == []
    with site.store.reading() as session:
        assert session.scalar(select(func.count()).where(Event.untold)) == 0


async def test_every_verb_that_is_marked_has_somebody_who_reads_it() -> None:
    from dure_hub.operations.notice_sources import _SOURCES

    assert set(_SOURCES) == VERBS


async def test_one_event_that_cannot_be_read_keeps_none_of_the_others(site: Site) -> None:
    site.happens("environment.hold", "environment:ann/a", {"facts": {}})
    site.happens("job.fail", "job:ann/digits")
    assert await site.told() == ["The job digits has failed."]


@pytest.mark.parametrize(
    ("verb", "thing", "verdict", "said"),
    [
        ("job.end", "job:ann/a", {"state": "failed"}, "The job a has failed."),
        ("job.end", "job:ann/a", {"state": "succeeded"}, None),
        ("execution.end", "execution:ann/n/3", {"state": "failed"}, "Execution 3 of the schedule n has failed."),
        ("execution.end", "execution:ann/n/3", {"state": "stopped"}, None),
        (
            "schedule.pause",
            "schedule:ann/n",
            {"code": "owner_disabled"},
            "The schedule n was paused. Its owner's account is disabled. The schedule was paused.",
        ),
        (
            "environment.pass",
            "environment:ann/a",
            {},
            "The place of a went to the next, since nobody started it in time.",
        ),
        (
            "environment.end",
            "environment:ann/a",
            {"lease": "1", "code": "expired", "reason": "expired", "phase": "stopped"},
            "a has ended. Its time was over.",
        ),
        (
            "environment.end",
            "environment:ann/a",
            {"lease": "1", "code": "asked", "reason": "stopped_by root: a repair", "phase": "stopped"},
            "a has ended. An administrator stopped it (root: a repair).",
        ),
        (
            "environment.end",
            "environment:ann/a",
            {"lease": "1", "code": "asked", "reason": "asked", "phase": "stopped"},
            None,
        ),
        (
            "quota.near",
            "quota:user/ann",
            {
                "code": "quota_near",
                "facts": {
                    "kind": "user",
                    "name": "ann",
                    "limit": "gpus",
                    "percent": 80,
                    "used": 4,
                    "quota": 5,
                    "period": "d",
                },
            },
            "80 % of a limit of the user ann is used (gpus): 4 of 5.",
        ),
    ],
)
async def test_what_is_said_of_an_event(
    site: Site, monkeypatch: pytest.MonkeyPatch, verb: str, thing: str, verdict: dict[str, Any], said: str | None
) -> None:
    monkeypatch.setattr(site.hub, "people", _people)
    site.happens(verb, thing, verdict, on_behalf_of="ann")
    assert await site.told() == ([] if said is None else [said])


async def _people() -> list[HubPerson]:
    return [
        HubPerson("ann", groups=("ml",)),
        HubPerson("ben", groups=("ml", "ops")),
        HubPerson("root", admin=True),
    ]


def holds_the_gpu(site: Site, owner: str) -> None:
    """A lease of a part of GPU-1."""
    with site.store.transaction() as session:
        held: dict[str, Any] = {"purpose": "notebook", "subject": "a", "profile": "gpu-full"}
        held |= {"slices": [{"device": "GPU-1"}], "granted_at": site.clock()}
        session.add(Lease(id=new_id(), owner=owner, **held))


async def test_a_budget_is_told_to_its_team_and_a_sick_gpu_to_holders_and_administrators(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site.hub, "people", _people)
    money = {
        "kind": "team",
        "name": "ml",
        "percent": 80,
        "spent": 8_000_000,
        "amount": 10_000_000,
        "month": "2026-01",
    }
    for _ in range(2):  # the same threshold of the same month is one
        site.happens("budget.alert", "budget:team/ml", {"facts": money})
    holds_the_gpu(site, BEN.name)
    site.happens("device.fault", "device:GPU-1", {"code": "lost", "facts": {}})
    budget = "80 % of this month's budget of the team ml is spent: 8.00 of 10.00."
    sick = "The GPU GPU-1 is unhealthy. What runs on it may fail: save your work. "
    sick += "The driver no longer finds this GPU."
    assert (await site.told(ANN), await site.told(BEN), await site.told(ROOT)) == (
        [budget],
        [budget, sick],
        [sick],
    )


async def test_what_concerns_teams_waits_for_a_hub_that_is_away_and_nothing_else_does(site: Site) -> None:
    site.jupyterhub.away = True
    holds_the_gpu(site, ANN.name)
    site.happens("device.fault", "device:GPU-1", {"code": "lost", "facts": {}})
    site.happens("job.fail", "job:ann/digits")
    assert await site.told() == ["The job digits has failed."]
    site.jupyterhub.away = False
    assert len(await site.told()) == 2


async def test_a_canary_and_an_endpoint_that_fail_are_told_to_their_owner(site: Site) -> None:
    at = site.clock()
    with site.store.transaction() as session:
        session.add(
            Endpoint(id="E", name="digits", owner="ann", model="m", profile="cpu", state="failed", created_at=at)
        )
        session.flush()
        for role in ("canary", "champion"):
            session.add(
                Replica(id=role, endpoint_id="E", version=2, role=role, percent=10, phase="failed", created_at=at)
            )
    for role in ("canary", "champion"):
        site.happens("replica.fail", f"replica:{role}")
    site.happens("endpoint.state", "endpoint:digits", {"from": "ready", "to": "failed"})
    site.happens("endpoint.state", "endpoint:digits", {"from": "failed", "to": "ready"})
    site.happens("endpoint.rollback", "endpoint:digits", {"version": 2}, actor="ann")
    site.happens("endpoint.rollback", "endpoint:digits", {"version": 2}, actor="root")
    assert await site.told() == [
        "The canary of digits, version 2, has failed.",
        "The endpoint digits serves nothing any more.",
        "root rolled back the canary of digits, version 2.",
    ]


async def test_a_failed_job_says_why_in_both_languages(site: Site) -> None:
    with site.store.transaction() as session:
        values = {
            "profile": "cpu",
            "snapshot": "0",
            "entry": "a.py",
            "experiment": "e",
            "created_at": site.clock(),
        }
        session.add(Job(id="J", owner="ann", name="digits", state="failed", reason="exit 3", **values))
    site.happens("job.end", "job:ann/digits", {"state": "failed"}, on_behalf_of="ann")
    await site.told()
    (one,) = await site.notices.list(ANN)
    assert one.text == {
        "en": "The job digits has failed. Ended with exit code 3",
        "ko": "작업 digits이(가) 실패했습니다. 종료 코드 3",
    }


async def test_an_end_is_warned_of_at_each_step_and_anew_once_it_was_moved(site: Site) -> None:
    lease = await site.runs_for(ANN)
    assert await site.told() == []
    until = lease_of(site, lease).until
    assert until is not None
    for left, count in ((60, 1), (59, 1), (10, 2), (5, 2), (1, 3), (0.5, 3)):
        site.clock.now = until - timedelta(minutes=left)
        assert len(await site.told()) == count, left
    end = (until + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    await site.environments.extend(ANN, "default", wire.ExtendRequest(until=until + timedelta(hours=1)))
    site.clock.now = until + timedelta(minutes=51)
    assert (await site.told())[-1] == f"default ends at {end}, in less than 10 min. Save your work, or extend it."


async def test_an_idle_server_is_warned_of(tmp_path: Path) -> None:
    site = Site(tmp_path, idle_timeout_s=3600)
    await site.runs_for(ANN)
    site.clock.move(3001)
    (said,) = await site.told()
    assert said.startswith("Nobody uses default; it ends at ")
    await site.close()


async def test_a_held_place_is_told_of_and_again_before_it_passes(tmp_path: Path) -> None:
    site = Site(tmp_path, turn="hold", turn_wait_s=900)
    for name in ("one", "two"):
        site.servers.put((await site.environments.claim("dan", name, None, "cpu")).lease)
        site.jupyterhub.put("dan", name)
    await site.environments.request(ANN, wire.EnvironmentRequest(id=new_id(), profile="cpu"))
    lease = next(iter(site.servers.there))
    site.servers.there.pop(lease)
    await site.environments.ended(lease, "stopped")
    async with asyncio.timeout(20):
        while (await site.environments.get(ANN, "default")).phase != "held":
            await site.reconciler.look()
            await asyncio.sleep(0.01)
    assert [one.partition(":")[0] for one in await site.told()] == ["The turn of default has come"]
    site.clock.move(601)
    assert (await site.told())[-1].startswith("The place of default goes to the next at ")
    assert len(await site.told()) == 2
    site.clock.move(300)
    await site.reconciler.look()
    assert (await site.told())[-1].startswith("The place of default went to the next")
    await site.close()


def test_the_sentences_of_both_languages_have_the_same_facts() -> None:
    import re

    from dure_hub.operations.notice_words import SENTENCES

    facts: Callable[[str], set[str]] = lambda text: set(re.findall(r"\{(\w+)\}", text))  # noqa: E731
    assert {code for code, text in SENTENCES.items() if facts(text["en"]) != facts(text["ko"])} == set()

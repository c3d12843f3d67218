"""`dure logins`: what the login provider last said of people, for whoever administers this machine."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
from dataclasses import asdict
from datetime import datetime

from dure.errors import reader_language as language
from dure_hub.operations.logins import LoginState
from dure_hub.supervisor import prepare

WORDS = {
    "forgotten": {
        "en": "The next account of the login provider that is called {name} may have this name.",
        "ko": "이제 로그인 제공자의 {name} 계정이 이 이름을 쓸 수 있습니다.",
    },
    "nobody": {
        "en": "Nobody has come by a login provider yet.",
        "ko": "아직 로그인 제공자로 로그인한 사람이 없습니다.",
    },
    "confirmed": {"en": "confirmed at {at}", "ko": "{at}에 확인됨"},
    "unchecked": {"en": "could not be checked since {at}: {why}", "ko": "{at}부터 확인할 수 없음: {why}"},
    "leaving": {"en": "not confirmed any more ({why}); ends at {at}", "ko": "확인되지 않음({why}), {at}에 종료"},
    "ended": {"en": "ended at {at} ({why})", "ko": "{at}에 종료됨({why})"},
    "teams": {"en": "teams: {names}", "ko": "팀: {names}"},
    "left_out": {"en": "groups that can be no team: {names}", "ko": "팀이 될 수 없는 그룹: {names}"},
}


def run(arguments: argparse.Namespace) -> int:
    """List everybody; or let another account of the provider have a name."""
    settings = prepare.last_settings(data=arguments.data)
    if arguments.forget:
        asyncio.run(_with_logins(settings.folder.root, arguments.forget))
        print(_word("forgotten", name=arguments.forget))
        return 0
    states = asyncio.run(_with_logins(settings.folder.root, None))
    if arguments.json:
        print(json.dumps([asdict(state) for state in states], default=str))
        return 0
    for state in states:
        print(f"{state.name}: {'; '.join(_said(state))}")
    if not states:
        print(_word("nobody"))
    return 0


async def _with_logins(data: object, forget: str | None) -> list[LoginState]:
    from dure_hub.app import operations

    ops = operations(str(data))
    try:
        if forget is not None:
            await ops.logins.forget(forget, getpass.getuser())
            return []
        return await ops.logins.everybody()
    finally:
        await ops.close()


def _said(state: LoginState) -> list[str]:
    if state.ended_at is not None:
        parts = [_word("ended", at=_time(state.ended_at), why=state.why)]
    elif state.gone_at is not None:
        parts = [_word("leaving", at=_time(state.ends_at), why=state.why)]
    elif state.failing_since is not None:
        parts = [_word("unchecked", at=_time(state.failing_since), why=state.why)]
    else:
        parts = [_word("confirmed", at=_time(state.checked_at))]
    if state.teams:
        parts.append(_word("teams", names=", ".join(state.teams)))
    if state.left_out:
        parts.append(_word("left_out", names=", ".join(group for group, _ in state.left_out)))
    return parts


def _time(at: datetime | None) -> str:
    return "?" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _word(key: str, **facts: object) -> str:
    return WORDS[key][language()].format(**facts)

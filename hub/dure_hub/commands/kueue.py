"""`dure kueue`: the portal's quotas as Kueue's objects, printed or brought to the cluster."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from dure.errors import reader_language as language
from dure_hub.settings import Settings
from dure_hub.supervisor import prepare

WORDS = {
    "head": {
        "en": "# Kueue's objects by the quotas of now; `dure kueue --apply` brings them to the cluster.",
        "ko": "# 현재 포털 할당량에 따른 Kueue 객체입니다. `dure kueue --apply`로 클러스터에 적용합니다.",
    },
    "applied": {"en": "{count} objects are as the quotas say.", "ko": "객체 {count}개를 할당량에 맞췄습니다."},
    "removed": {"en": "removed: {name}", "ko": "삭제: {name}"},
    "nobody": {
        "en": "# No team is known here yet: only what all queues share is made.",
        "ko": "# 아직 팀이 없어 공용 객체만 만듭니다.",
    },
}


def run(arguments: argparse.Namespace) -> int:
    """Print them, or bring them."""
    settings = prepare.last_settings(data=arguments.data)
    if arguments.kubeconfig is not None:
        settings = settings.model_copy(update={"kubeconfig": arguments.kubeconfig.expanduser().resolve()})
    asyncio.run(_run(settings, apply=arguments.apply))
    return 0


async def _run(settings: Settings, *, apply: bool) -> None:
    from dure_hub.backends.kubernetes.connecting import cluster_of
    from dure_hub.queue_book import QueueBook
    from dure_hub.store import Store, database_url

    store, cluster = Store(database_url(settings)), cluster_of(settings)
    try:
        store.check_revision()
        book = QueueBook(settings, store, cluster)
        if not apply:
            _print(await book.objects(), await book.teams())
            return
        done = await book.bring()
    finally:
        store.close()
        await cluster.close()
    print(_word("applied", count=len(done.applied)))
    for name in done.removed:
        print(_word("removed", name=name))


def _print(objects: Sequence[Mapping[str, Any]], teams: Mapping[str, int | None]) -> None:
    print(_word("head"))
    if not teams:
        print(_word("nobody"))
    print(yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True), end="")


def _word(key: str, **facts: object) -> str:
    return WORDS[key][language()].format(**facts)

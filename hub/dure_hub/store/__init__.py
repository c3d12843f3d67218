"""Durable rows, transactions, events, time."""

from __future__ import annotations

from dure_hub.store.clock import Clock as Clock
from dure_hub.store.clock import system_clock as system_clock
from dure_hub.store.session import Store as Store
from dure_hub.store.session import database_url as database_url

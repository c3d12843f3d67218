"""Prometheus, asked for the last samples of DCGM's metrics by its HTTP API.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from dure_hub.backends.kubernetes.dcgm import METRICS, Sample, read
from dure_hub.backends.kubernetes.errors import PrometheusAway

log = logging.getLogger(__name__)
TIMEOUT_S = 5.0
FRESH_S = 5.0
"""An answer, and that there was none, serves everyone who asks within this time: a scrape takes longer."""
WINDOW = "5m"
"""So far back Prometheus looks: far enough to see how often it reads. What is old there is left out afterwards."""
QUERY = f'{{__name__=~"{"|".join(METRICS)}"}}[{WINDOW}]'


class Prometheus:
    """One server. Its answer is raw samples with the times of their scrapes: an instant one would say its own."""

    def __init__(
        self, url: str, token_file: Path | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._url, self._token_file, self._monotonic = url.rstrip("/"), token_file, monotonic
        self._last: tuple[float, list[Sample]] | None = None
        self._why: str | None = None

    async def samples(self) -> list[Sample]:
        """The last of each GPU; none while it does not answer, which is logged once. Old ones are left out."""
        if self._last is not None and self._monotonic() - self._last[0] < FRESH_S:
            return self._last[1]
        try:
            found, why = await self.ask(), None
        except PrometheusAway as error:
            found, why = [], error.text("en")
        if why is not None and why != self._why:
            log.warning("how busy GPUs are is unknown: %s", why)
        self._why, self._last = why, (self._monotonic(), found)
        return found

    async def ask(self) -> list[Sample]:
        """The same, asked now. Raises `PrometheusAway`."""
        headers = self._headers()
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S, headers=headers) as client:
                moment = await self._query(client, query="time()")
                at = float(moment["result"][0])
                found = await self._query(client, query=QUERY, time=repr(at))
                return read(found["result"], at)
        except httpx.InvalidURL as error:
            raise PrometheusAway(url=self._url, why=str(error)) from error
        except UnicodeEncodeError as error:  # not told as it is: the token is in it
            raise PrometheusAway(url=self._url, why=f"{self._token_file} holds no token") from error
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise PrometheusAway(url=self._url, why=f"no answer of Prometheus's ({error!r})") from error

    def _headers(self) -> Mapping[str, str]:
        """With the token as its file has it now: it may be renewed."""
        if self._token_file is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self._token_file.read_text().strip()}"}
        except (OSError, UnicodeDecodeError) as error:
            raise PrometheusAway(url=self._url, why=f"{self._token_file}: {error}") from error

    async def _query(self, client: httpx.AsyncClient, **query: str) -> Mapping[str, Any]:
        try:
            answer = await client.get(f"{self._url}/api/v1/query", params=query)
            said = answer.json()
        except httpx.HTTPError as error:
            raise PrometheusAway(url=self._url, why=str(error) or type(error).__name__) from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise PrometheusAway(url=self._url, why=f"{answer.status_code} without JSON") from error
        if not isinstance(said, dict) or said.get("status") != "success" or not isinstance(said.get("data"), dict):
            why = said.get("error") if isinstance(said, dict) else None
            raise PrometheusAway(url=self._url, why=f"{answer.status_code} {why or answer.reason_phrase}")
        data: Mapping[str, Any] = said["data"]
        return data

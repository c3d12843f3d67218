"""The rate card of this portal: rates.yaml in its data folder, read again when it changes."""

from __future__ import annotations

import logging
from pathlib import Path

from dure_hub.catalogue import rates
from dure_hub.catalogue.rates import GIVEN, BadRates, RateCard

log = logging.getLogger(__name__)

_READABLE = {
    "en": "it is a file of text that the portal may read",
    "ko": "포털이 읽을 수 있는 텍스트 파일이어야 합니다",
}


class RateCards:
    """Whoever asks gets the card as it is. A bad edit changes nothing: the last good card stays, and the log says
    which line is wrong. Where none was good since the start, all prices are unknown."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._card = RateCard(())
        self._seen: tuple[int, int] | None = None

    def card(self) -> RateCard:
        """The card; the given one where there is no file. Quick: a file that did not change is not read."""
        try:
            about = self._path.stat()
        except FileNotFoundError:
            self._card, self._seen = GIVEN, None
            return self._card
        mark = (about.st_mtime_ns, about.st_size)
        if mark != self._seen:
            self._seen = mark
            try:
                self._card = load(self._path)
            except BadRates as error:
                log.error("%s; the rates stay as they were", error)
        return self._card


def load(path: Path) -> RateCard:
    """The card in this file. Raises `BadRates`."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRates(0, " ".join(str(error).split()), _READABLE, 1) from error
    return rates.parse(text)

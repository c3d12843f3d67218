"""Serves a renewed certificate while everything goes on: no restart, and no open socket ends."""

from __future__ import annotations

from collections.abc import Callable

from dure_hub.dataplane import certificate
from dure_hub.dataplane.certificate import CertificateUnusable
from dure_hub.settings import Settings

LOOK_S = 5.0


class Renewal:
    """Looks at the certificate's files. What cannot be used is said once, and what was served stays."""

    def __init__(self, settings: Settings, note: Callable[[str], None]) -> None:
        self.settings = settings
        self.note = note
        self._seen: tuple[object, ...] | None = None
        self._said = ""

    def look(self) -> None:
        """Give Envoy what is in the files, where either is another than at the last look."""
        if self.settings.tls_cert is None:
            return
        # Before they are read: what is written meanwhile differs from this at the next look.
        found = certificate.signature(self.settings)
        if found == self._seen:
            return
        try:
            served = certificate.load(self.settings)
            if served is not None:
                certificate.give(self.settings, served)
        except CertificateUnusable as why:
            # Between two writes a key may be beside another's certificate: the next look sees the second.
            self._say(f"the certificate that is served stays: {why}")
            if why.facts["why"] == certificate.UNREADABLE:  # perhaps only now: tried again
                return
        except OSError as why:  # a full disk: tried again
            self._say(f"cannot hand on the certificate: {why}")
            return
        else:
            self._say(f"serves {served}")
        self._seen = found

    def _say(self, sentence: str) -> None:
        """Once, however often it is found."""
        if sentence != self._said:
            self._said = sentence
            self.note(sentence)

"""People's addresses may hold secrets: they are kept encrypted, by a key in a file of mode 600."""

from __future__ import annotations

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken

from dure_hub.settings import Settings

KEY = "notices-key"


class Box:
    """Closes addresses and opens them again, in this process alone."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def close(self, url: str) -> str:
        """The form that is kept."""
        return self._fernet().encrypt(url.encode()).decode()

    def open(self, sealed: str) -> str | None:
        """The address; None where it was closed by another key."""
        try:
            return self._fernet().decrypt(sealed).decode()
        except InvalidToken:
            return None

    def _fernet(self) -> Fernet:
        key = self._settings.folder.secret(KEY)
        return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"dure notices\n" + key.encode()).digest()))

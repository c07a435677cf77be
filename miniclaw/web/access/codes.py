"""One-time codes: each logs one browser in, within ten minutes.

They are kept in memory only, and end with the process.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import Final

import trio

from miniclaw.secret import Secret

CODE_SECONDS: Final = 600
"""Lifetime of a code, exclusive."""

MAX_CODES: Final = 20
"""Most codes that are valid at once, inclusive; one more ends the oldest."""

_CODE_BYTES: Final = 32


class OneTimeCodes:
    """The valid codes, by a monotonic clock that may stand still during sleep. Only the trio thread touches them."""

    def __init__(self, *, now: Callable[[], float] = trio.current_time) -> None:
        self._now = now
        self._good: list[tuple[Secret, float]] = []  # each with the time of its end; oldest first

    def __len__(self) -> int:
        return len(self._good)

    def make(self) -> str:
        """Return a new code: a text that needs no escaping in a URL."""
        self._drop_expired()
        if len(self._good) >= MAX_CODES:
            self._end(0)
        code = Secret(secrets.token_urlsafe(_CODE_BYTES))
        self._good.append((code, self._now() + CODE_SECONDS))
        return code.reveal()

    def take(self, shown: str) -> bool:
        """Return whether a text is a valid code, and end that code.

        Each code is compared in a time that does not depend on where the texts differ.
        """
        self._drop_expired()
        given = shown.encode(errors="surrogatepass")
        found = [hmac.compare_digest(code.reveal().encode(), given) for code, _ in self._good]
        if True not in found:
            return False
        self._end(found.index(True))
        return True

    def _drop_expired(self) -> None:
        while self._good and self._good[0][1] <= self._now():
            self._end(0)

    def _end(self, index: int) -> None:
        code, _ = self._good.pop(index)
        code.forget()

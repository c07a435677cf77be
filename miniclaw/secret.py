"""Secrets, and how they are kept out of logs and messages.

A `Secret` shows itself nowhere by accident. Each one that is made is also remembered here, so that `redact` takes it
out of texts that others wrote: an answer of a server, the text of an exception, an event of the log. A secret that
opens nothing any more can be forgotten.
"""

from __future__ import annotations

import json
from typing import Final

HIDDEN: Final = "[secret]"
"""What stands in the place of a secret."""

_LEAST_CHARS: Final = 4  # a shorter one would tear up ordinary words, and is none

# Longest first, so that of two secrets that begin alike none leaves its end. Replaced whole: any thread may read it.
_known: tuple[str, ...] = ()


class Secret:
    """A text that is not shown.

    Args:
        value: The text; not empty.
    """

    def __init__(self, value: str) -> None:
        global _known  # noqa: PLW0603 - what the whole process keeps from its log
        self._value = value
        if len(value) >= _LEAST_CHARS and value not in _known:
            _known = tuple(sorted({*_known, *_forms(value)}, key=len, reverse=True))

    def reveal(self) -> str:
        """Return the text, for the one place that needs it."""
        return self._value

    def forget(self) -> None:
        """Hide the text no longer: it opens nothing any more. For secrets that are made again and again."""
        global _known  # noqa: PLW0603 - as above
        forms = _forms(self._value)
        _known = tuple(known for known in _known if known not in forms)

    def __repr__(self) -> str:
        return "<Secret>"


def _forms(value: str) -> set[str]:
    """Return a secret as it stands in a text, in a JSON text, and in the repr() of a text that holds it."""
    return {value, repr(value)[1:-1], json.dumps(value)[1:-1]}


def redact(text: str) -> str:
    """Return a text without any of the secrets."""
    for secret in _known:
        text = text.replace(secret, HIDDEN)
    return text


class StreamRedactor:
    """Takes one secret out of a text that comes in pieces.

    What could be the beginning of the secret is held back until more is known.

    Args:
        secret: The secret; None: nothing is hidden.
    """

    def __init__(self, secret: Secret | None) -> None:
        self._secret = secret.reveal() if secret else ""
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return what of the text so far can be shown and was not yet returned."""
        if len(self._secret) < _LEAST_CHARS:
            return piece
        text = (self._held + piece).replace(self._secret, HIDDEN)
        held = next(
            (
                size
                for size in range(min(len(self._secret) - 1, len(text)), 0, -1)
                if self._secret.startswith(text[-size:])
            ),
            0,
        )
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> str:
        """Return what was held back: the text has ended, so it is not the secret."""
        held, self._held = self._held, ""
        return held

"""Models: what answers a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import trio

from miniclaw.session.types import Message


class Model(Protocol):
    """Answers a conversation."""

    name: str

    async def reply(self, messages: Sequence[Message]) -> str:
        """Return the answer to the last message.

        Args:
            messages: The conversation, oldest first; not to be changed, and it may grow meanwhile.

        Raises:
            ModelError: There is no answer; the text is for the person who asked.
        """
        ...


class EchoModel:
    """The embedded default: answers with the text. It needs no key, no server and no account."""

    name = "echo"

    async def reply(self, messages: Sequence[Message]) -> str:
        """Return the text of the last message."""
        await trio.lowlevel.checkpoint()
        return messages[-1].content

"""A session that a turn of the agent holds in use, and adds its messages to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from miniclaw.session.format import codec
from miniclaw.session.live.entry import Entry
from miniclaw.session.live.loader import SessionLoader
from miniclaw.session.types import Message, Session


class SessionInUse:
    """A context manager that holds a session in use, and creates a missing one; made by `SessionManager.turn`.

    A session in use is not evicted from memory and not removed by the cleanup, however long the block takes. Neither
    entering nor `add` has a checkpoint while the session is in memory and need not be compared with its file: a turn
    passes one when it asks the model.

    Args:
        loader: The loading part of the manager.
        session_id: The session.
        now: The time of the first access.
        touch: Enters an access at a time.
        append: Appends a message of a size, at a time.

    Attributes:
        session: The session; set on entering.
    """

    def __init__(
        self,
        loader: SessionLoader,
        session_id: str,
        now: datetime,
        touch: Callable[[Entry, datetime], Session],
        append: Callable[[Entry, Message, int, datetime], Session],
    ) -> None:
        self._loader = loader
        self._session_id = session_id
        self._now = now
        self._touch = touch
        self._append = append
        self._entry: Entry  # set on entering
        self.session: Session

    async def __aenter__(self) -> Session:
        """Return the session; errors and cancellation as for `SessionManager.using`."""
        entry = self._loader.at_hand(self._session_id)
        if entry is None:
            entry = await self._loader.use(self._session_id, create=True)
        self.session = self._touch(entry, self._now)
        self._entry = entry
        entry.users += 1
        return self.session

    async def __aexit__(self, *_: object) -> None:
        self._entry.users -= 1

    async def add(self, message: Message) -> None:
        """Append a message, as `SessionManager.add_message` does; its time is that of the access.

        Args:
            message: The message; its time is the present, by the manager's clock.
        """
        message, size = codec.measure_message(message)
        await self.add_measured(message, size)

    async def add_measured(self, message: Message, size: int) -> None:
        """Append a message that `miniclaw.session.format.codec.measure_message` has returned with this size."""
        entry = self._loader.at_hand(self._session_id)
        if entry is None:
            entry = await self._loader.use(self._session_id)
        self._append(entry, message, size, message.timestamp)

"""What a client that is connected right now is told, and the queue in which that waits for it.

The events are plain Structs with a ``type`` when they are encoded, so that they can go over a wire as they are. A
queue is bounded, in events and in characters: whoever does not take what comes is left behind, and comes back later;
nobody waits for them.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, TypeAlias

import trio
from msgspec import Struct

MAX_QUEUED_EVENTS: Final = 256
"""Events that may wait for one client, inclusive."""

MAX_QUEUED_CHARS: Final = 2_000_000
"""Characters of text in them, inclusive; the longest answer fits in several times."""

MAX_TAKEN_CHARS: Final = 200_000
"""What is taken at once ends with the event that goes beyond so many characters."""

GATHER_SECONDS: Final = 0.02
"""How long a person's message and a piece of an answer wait for others to go with them; the whole answer makes its
pieces needless."""

SAVED_GATHER_SECONDS: Final = 0.25
"""How long the news that a message is saved waits for company."""


class PersonSaid(Struct, frozen=True, tag="message"):
    """A person's message was taken; it will be answered.

    Attributes:
        id: The channel's own id of the message.
        text: The message.
    """

    id: str
    text: str


class Saved(Struct, frozen=True, tag="saved"):
    """A person's message is on disk.

    Attributes:
        id: The channel's own id of the message.
    """

    id: str


class Refused(Struct, frozen=True, tag="error"):
    """A person's message is in no session and never will be; it is not to be sent again.

    Attributes:
        detail: Why.
        id: The channel's own id of the message.
    """

    detail: str
    id: str


class Delta(Struct, frozen=True, tag="delta"):
    """The next piece of an answer.

    Attributes:
        text: What follows the pieces before it.
        to: Which message is being answered, by its id.
    """

    text: str
    to: str | None


class Replied(Struct, frozen=True, tag="reply"):
    """A message is answered, or never will be.

    Attributes:
        text: The whole answer; it stands for all pieces that came of it.
        failed: It is no answer, or an unfinished one, and says why.
        to: Which message is answered, by its id.
    """

    text: str
    failed: bool
    to: str | None


Event: TypeAlias = PersonSaid | Saved | Refused | Delta | Replied

_GATHERED: Final[dict[type[Event], float]] = {
    PersonSaid: GATHER_SECONDS,
    Delta: GATHER_SECONDS,
    Saved: SAVED_GATHER_SECONDS,
    Refused: SAVED_GATHER_SECONDS,
    Replied: 0.0,
}


class _Pieces:
    """Pieces of one answer that nobody has taken yet; they are handed over as one."""

    def __init__(self, first: Delta) -> None:
        self.to = first.to
        self.texts = [first.text]

    def joined(self) -> Delta:
        return Delta("".join(self.texts), self.to)


class Subscription:
    """What waits for one client. `put` is the hub's; all of it happens on the trio thread.

    Attributes:
        left_behind: Whether too much waited: there will be no more events, and those that waited are dropped.
    """

    def __init__(self) -> None:
        self.left_behind = False
        self._waiting: deque[PersonSaid | Saved | Refused | Replied | _Pieces] = deque()
        self._chars = 0  # in `_waiting`
        self._due = math.inf  # when the first of them has waited long enough, on trio's clock
        self._in_haste = False
        self._changed = trio.Event()
        self._emptied = trio.Event()

    def __repr__(self) -> str:
        return f"<Subscription waiting={len(self._waiting)} left_behind={self.left_behind}>"

    def put(self, event: Event) -> None:
        """Let an event wait for the client, or leave it behind if too much does."""
        if self.left_behind:
            return
        last = self._waiting[-1] if self._waiting else None
        if isinstance(event, Delta):
            if isinstance(last, _Pieces) and last.to == event.to:
                last.texts.append(event.text)
            else:
                self._waiting.append(_Pieces(event))
        else:
            if isinstance(event, Replied) and isinstance(last, _Pieces) and last.to == event.to:
                self._forget(self._waiting.pop())  # the whole says it as well
            self._waiting.append(event)
        self._chars += _chars(event)
        if len(self._waiting) > MAX_QUEUED_EVENTS or self._chars > MAX_QUEUED_CHARS:
            self.left_behind = True
            self._waiting.clear()
            self._emptied.set()
            self._changed.set()
        due = trio.current_time() + _GATHERED[type(event)]
        if due < self._due:
            self._due = due
            self._changed.set()

    async def next_events(self) -> list[Event] | None:
        """Return what comes next, in its order, at least one; or None if the client was left behind.

        Cancellation: nothing was taken.
        """
        await trio.lowlevel.checkpoint()
        while not self.left_behind and not (self._waiting and (self._in_haste or self._due <= trio.current_time())):
            self._changed = trio.Event()
            if self._due == math.inf:  # most of the time; a scope costs more than what is sent
                await self._changed.wait()
            else:
                with trio.move_on_at(self._due):
                    await self._changed.wait()
        if self.left_behind:
            return None
        events: list[Event] = []
        chars = 0
        while self._waiting and (not events or chars < MAX_TAKEN_CHARS):
            event = self._waiting.popleft()
            self._forget(event)
            taken = event.joined() if isinstance(event, _Pieces) else event
            chars += _chars(taken)
            events.append(taken)
        if not self._waiting:
            self._due = math.inf
            self._emptied.set()
        return events

    async def emptied(self) -> None:
        """Wait until nothing waits; from now on nothing waits for company any more."""
        self._in_haste = True
        self._changed.set()
        await trio.lowlevel.checkpoint()
        while self._waiting:
            self._emptied = trio.Event()
            await self._emptied.wait()

    def _forget(self, event: PersonSaid | Saved | Refused | Replied | _Pieces) -> None:
        self._chars -= sum(map(len, event.texts)) if isinstance(event, _Pieces) else _chars(event)


def _chars(event: Event) -> int:
    return len(event.text) if isinstance(event, (PersonSaid, Delta, Replied)) else 0

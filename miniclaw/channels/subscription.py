"""The events for a connected client, and the queue in which they wait for it.

The events are plain Structs with a ``type`` when they are encoded, so that they can be sent over a wire unchanged.
``id`` is the channel's own id of a message, and ``to`` that of the message that is answered.

A queue is bounded, in events and in characters. A client that does not take its events in time is left behind and has
to connect again; no task waits for it.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, TypeAlias

import trio
from msgspec import Struct

MAX_QUEUED_EVENTS: Final = 256
"""Most events that may wait for one client, inclusive."""

MAX_QUEUED_CHARS: Final = 2_000_000
"""Most characters of text in the events of one client, inclusive; several times the longest answer."""

MAX_TAKEN_CHARS: Final = 200_000
"""Characters of text in one batch; the event that reaches or exceeds this number ends the batch."""

GATHER_SECONDS: Final = 0.02
"""How long a person's message or a piece of an answer waits for others, to form one batch; the whole answer replaces
the pieces at the end of the queue."""

SAVED_GATHER_SECONDS: Final = 0.25
"""How long the notice that a message is saved or refused waits for others, to form one batch."""


class PersonSaid(Struct, frozen=True, tag="message"):
    """A person's message was taken; it will be answered."""

    id: str
    text: str


class Saved(Struct, frozen=True, tag="saved"):
    """A person's message is on disk."""

    id: str


class Refused(Struct, frozen=True, tag="error"):
    """A person's message is in no session and never will be, with the reason; it must not be sent again."""

    detail: str
    id: str


class Delta(Struct, frozen=True, tag="delta"):
    """The next piece of an answer: the continuation of the pieces before it."""

    text: str
    to: str | None


class Replied(Struct, frozen=True, tag="reply"):
    """A message is answered, or never will be.

    Attributes:
        text: The whole answer; it replaces all of its pieces.
        failed: If true, the text is no answer, or an unfinished one, and gives the reason.
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


class Subscription:
    """The queue of one client. Only the hub calls `put`; all methods run on the trio thread.

    Attributes:
        left_behind: True if the queue exceeded a bound: the queued events were dropped, and no more are accepted.
    """

    def __init__(self) -> None:
        self.left_behind = False
        self._waiting: deque[list[Event]] = deque()  # one event each, or pieces that the client gets as one
        self._chars = 0  # in `_waiting`
        self._due = math.inf  # when the first of them is due, on trio's clock
        self._in_haste = False
        self._changed = trio.Event()
        self._emptied = trio.Event()

    def __repr__(self) -> str:
        return f"<Subscription waiting={len(self._waiting)} left_behind={self.left_behind}>"

    def put(self, event: Event) -> None:
        """Queue an event, or leave the client behind if the queue exceeds a bound."""
        if self.left_behind:
            return
        last = self._waiting[-1][0] if self._waiting else None
        goes_on = isinstance(last, Delta) and isinstance(event, Delta | Replied) and last.to == event.to
        if goes_on and isinstance(event, Delta):
            self._waiting[-1].append(event)
        else:
            if goes_on:
                self._chars -= sum(map(_chars, self._waiting.pop()))  # the whole answer contains these pieces
            self._waiting.append([event])
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
        """Return the next batch, at least one event, in order; None if the client was left behind.

        Cancellation: no event was taken.
        """
        await trio.lowlevel.checkpoint()
        while not self.left_behind and not (self._waiting and (self._in_haste or self._due <= trio.current_time())):
            self._changed = trio.Event()
            if self._due == math.inf:  # the usual case; a cancel scope costs more than the event
                await self._changed.wait()
            else:
                with trio.move_on_at(self._due):
                    await self._changed.wait()
        if self.left_behind:
            return None
        events: list[Event] = []
        chars = 0
        while self._waiting and (not events or chars < MAX_TAKEN_CHARS):
            together = self._waiting.popleft()
            first = together[0]
            events.append(Delta("".join(map(_text, together)), first.to) if isinstance(first, Delta) else first)
            chars += _chars(events[-1])
        self._chars -= chars
        if not self._waiting:
            self._due = math.inf
            self._emptied.set()
        return events

    async def emptied(self) -> None:
        """Wait until the queue is empty; from now on events do not wait to form a batch."""
        self._in_haste = True
        self._changed.set()
        await trio.lowlevel.checkpoint()
        while self._waiting:
            self._emptied = trio.Event()
            await self._emptied.wait()


def _text(event: Event) -> str:
    return event.text if isinstance(event, (PersonSaid, Delta, Replied)) else ""


def _chars(event: Event) -> int:
    return len(_text(event))

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
"""Longest time that a piece of an answer waits for others, to form one batch; the whole answer replaces the pieces at
the end of the queue, and is due at once."""

NOTICE_SECONDS: Final = 0.5
"""Longest time that a notice (a message was taken, saved or refused) waits for the answer that is under way."""


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


class Subscription:
    """The queue of one client. Only the hub calls `put`; all methods run on the trio thread.

    Attributes:
        left_behind: True if the queue exceeded a bound: the queued events were dropped, and no more are accepted.
    """

    def __init__(self) -> None:
        self.left_behind: bool = False
        self._waiting: deque[list[Event]] = deque()  # one event each, or pieces that the client gets as one
        self._chars = 0  # in `_waiting`
        self._due = math.inf  # when the first of them is due, on trio's clock
        self._ended = False
        self._ready = trio.Event()
        self._waits = trio.CancelScope()  # of `next_events`; its deadline is `_due`

    def __repr__(self) -> str:
        return f"<Subscription waiting={len(self._waiting)} left_behind={self.left_behind}>"

    def put(self, event: Event, *, within: float = 0) -> None:
        """Queue an event, or leave the client behind if the queue exceeds a bound.

        Args:
            event: The event.
            within: Longest time in seconds that it waits for others, to form one batch. All that wait go together, once
                the first of them is due.
        """
        if self.left_behind or self._ended:
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
            self._ready.set()
        elif not within:
            self._due = -math.inf
            self._ready.set()
        elif (due := trio.current_time() + within) < self._due:
            self._due = self._waits.deadline = due  # moved without a step of the task that waits

    async def next_events(self) -> list[Event] | None:
        """Return the next batch, at least one event, in order; None if the client was left behind, or after `end`.

        Cancellation: no event was taken.
        """
        if self._is_ready():
            await trio.lowlevel.checkpoint()
        while not self._is_ready():
            self._ready = trio.Event()
            with trio.CancelScope(deadline=self._due) as self._waits:
                await self._ready.wait()
        if self.left_behind or not self._waiting:
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
        return events

    def _is_ready(self) -> bool:
        return self.left_behind or self._ended or self._due <= trio.current_time()

    def end(self) -> None:
        """Take no more events; those that wait are due now."""
        self._ended = True
        self._ready.set()


def _text(event: Event) -> str:
    return event.text if isinstance(event, (PersonSaid, Delta, Replied)) else ""


def _chars(event: Event) -> int:
    return len(_text(event))

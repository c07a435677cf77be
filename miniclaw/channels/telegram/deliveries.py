"""Messages on their way to the agent, and the times at which they are handed over. Pure; times are trio's.

A chat has one message at the agent at a time, until its answer is on disk. The chat's other messages wait here, and at
Telegram, where they survive any failure of this program. Refusals and failures therefore do not change the order of a
chat, and no chat waits for another.

A message whose turn failed, and that is not on disk, is handed over again, after growing delays of at most
`MAX_DELAY_SECONDS`.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import trio
from msgspec import Struct, field

from miniclaw.backoff import delay_seconds
from miniclaw.channels.base import InboundMessage

FIRST_DELAY_SECONDS: Final = 2.0
MAX_DELAY_SECONDS: Final = 30.0
REFUSED_DELAY_SECONDS: Final = 1.0
"""Delay of a message for which the agent had no room."""

FOREVER: Final = float("inf")


class Delivery(Struct, eq=False):
    """A message on its way.

    Attributes:
        update_id: Id of the update that brought it.
        turn_over: Set when its turn is over; the chat then shows no typing indication for it any more.
        saved: True if the message is on disk. The agent does not need it again, and confirms it by itself.
        told: True if the person was notified of the failure of its turn.
        due: Earliest time of the next hand-over; `FOREVER`: the agent has it.
        handed_over: Number of hand-overs so far.
    """

    update_id: int
    message: InboundMessage
    turn_over: trio.Event = field(default_factory=trio.Event)
    saved: bool = False
    told: bool = False
    due: float = 0.0
    handed_over: int = 0


class Deliveries:
    """All deliveries, by chat. Changed on the trio thread only, in synchronous steps."""

    def __init__(self) -> None:
        self._chats: dict[str, deque[Delivery]] = {}
        self._by_id: dict[str, Delivery] = {}

    def __repr__(self) -> str:
        return f"<Deliveries chats={len(self._chats)} messages={len(self._by_id)}>"

    def add(self, update_id: int, message: InboundMessage) -> None:
        """Append a message to those of its chat; it must have an `InboundMessage.inbound_id`."""
        delivery = Delivery(update_id, message)
        self._by_id[message.inbound_id or ""] = delivery
        self._chats.setdefault(message.chat_id, deque()).append(delivery)

    def find(self, message: InboundMessage | None) -> Delivery | None:
        """Return the delivery of a message, or None if the message is not on its way."""
        return None if message is None else self._by_id.get(message.inbound_id or "")

    def due(self, now: float) -> list[Delivery]:
        """Return the deliveries to hand over now."""
        return [chat[0] for chat in self._chats.values() if chat[0].due <= now]

    def next_due(self) -> float:
        """Return the time of the next hand-over; `FOREVER`: there is none until a delivery is added or changes."""
        return min((chat[0].due for chat in self._chats.values()), default=FOREVER)

    def hand_over(self, delivery: Delivery) -> None:
        """Take note that the agent has a message."""
        delivery.due = FOREVER
        delivery.handed_over += 1

    def refuse(self, delivery: Delivery, now: float) -> None:
        """Take note that the agent had no room for a message."""
        delivery.due = now + REFUSED_DELAY_SECONDS

    def end_turn(self, delivery: Delivery, now: float, *, failed: bool, told: bool) -> None:
        """Take note that the turn of a message has ended.

        It has failed if the reply was no answer, or an unfinished one. The person is told if the reply was sent.
        """
        if failed:
            delivery.told = delivery.told or told
            if not delivery.saved:
                delivery.due = now + delay_seconds(
                    delivery.handed_over, first=FIRST_DELAY_SECONDS, longest=MAX_DELAY_SECONDS
                )

    def save(self, delivery: Delivery) -> None:
        """Take note that a message is on disk."""
        delivery.saved = True
        delivery.told = False  # a failure from now on is another one, and is reported, too
        delivery.due = FOREVER

    def finish(self, delivery: Delivery) -> None:
        """Forget a message whose turn is over and on disk."""
        self._by_id.pop(delivery.message.inbound_id or "", None)
        chat = self._chats[delivery.message.chat_id]
        chat.remove(delivery)
        if not chat:
            del self._chats[delivery.message.chat_id]

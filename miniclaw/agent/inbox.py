"""The inbox: people's messages that wait for the agent.

Each chat has a queue of its own, and the chats take turns. The number of waiting messages is bounded for each chat and
for each channel, and the number of chats being answered for each channel. At a bound only the sender, or the channel,
waits: a flooding chat delays itself, and a channel that floods or hangs delays its own chats.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Final, TypeAlias

import trio

from miniclaw.channels.base import InboundMessage

MAX_WAITING_PER_CHAT: Final = 8
"""Most messages of one chat that may wait, inclusive, besides the one that is being answered."""

MAX_WAITING_PER_CHANNEL: Final = 256
"""Most messages of one channel that may wait, in all its chats together, inclusive."""

MAX_TURNS_PER_CHANNEL: Final = 16
"""Most chats of one channel answered at the same time, inclusive; its other chats wait for their turn."""

ChatKey: TypeAlias = tuple[str, str]
"""Channel name and chat id."""


class _Chat:
    def __init__(self) -> None:
        self.waiting: deque[InboundMessage] = deque()
        self.room = trio.Semaphore(MAX_WAITING_PER_CHAT)
        self.senders = 0  # tasks that are in `send`
        self.busy = False  # it waits for its turn or has it


class Inbox:
    """Queues of messages from the channels to the agent; implements `miniclaw.channels.base.InboundSender`.

    Its state is changed on the trio thread only, in synchronous steps.
    """

    def __init__(self) -> None:
        self._chats: dict[ChatKey, _Chat] = {}  # those with a message waiting, being sent, or being answered
        self._rooms: dict[str, trio.Semaphore] = {}  # by channel
        self._ready: deque[ChatKey] = deque()  # chats with a message waiting and none being answered
        self._turns: Counter[str] = Counter()  # messages being answered, by channel
        self._closed = False
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"<Inbox chats={len(self._chats)} ready={len(self._ready)} waiting={self.waiting()}>"

    def waiting(self) -> int:
        """Return the number of waiting messages."""
        return sum(len(chat.waiting) for chat in self._chats.values())

    # For the channels -----------------------------------------------------------------------------------------

    async def send(self, message: InboundMessage, /) -> None:
        """Queue a message; wait while its chat or its channel is at its bound (`InboundSender.send`)."""
        key = (message.channel, message.chat_id)
        chat = self._chat(key)
        chat.senders += 1
        try:
            # The chat's room first: a chat never has more than its share of the tasks that wait for its channel.
            await _acquire(chat.room)
            try:
                await _acquire(self._room(message.channel))
            except BaseException:
                chat.room.release()
                raise
        finally:
            chat.senders -= 1
            self._forget_idle(key)
        self._put(key, message)

    def send_nowait(self, message: InboundMessage, /) -> None:
        """Queue a message without waiting (`InboundSender.send_nowait`)."""
        key = (message.channel, message.chat_id)
        room = self._room(message.channel)
        chat = self._chat(key)
        try:
            chat.room.acquire_nowait()
            try:
                room.acquire_nowait()
            except trio.WouldBlock:
                chat.room.release()
                raise
        except trio.WouldBlock:
            self._forget_idle(key)
            raise
        self._put(key, message)

    def close(self) -> None:
        """Take no more messages; the agent still gets those that wait."""
        self._closed = True
        self._changed.set()

    def _room(self, channel: str) -> trio.Semaphore:
        room = self._rooms.get(channel)
        if room is None:
            room = self._rooms[channel] = trio.Semaphore(MAX_WAITING_PER_CHANNEL)
        return room

    def _chat(self, key: ChatKey) -> _Chat:
        chat = self._chats.get(key)
        if chat is None:
            chat = self._chats[key] = _Chat()
        return chat

    def _put(self, key: ChatKey, message: InboundMessage) -> None:
        chat = self._chat(key)
        if self._closed:
            self._release(key, chat)
            raise trio.ClosedResourceError("the agent takes no more messages")
        chat.waiting.append(message)
        if not chat.busy:
            chat.busy = True
            self._ready.append(key)
            if self._turns[key[0]] < MAX_TURNS_PER_CHANNEL:
                self._changed.set()

    # For the agent --------------------------------------------------------------------------------------------

    async def next_message(self) -> InboundMessage | None:
        """Return the next message of the first chat that may have its turn, or None once the inbox is closed and empty.

        No other message of that chat is returned until `done` is called for this one.

        Cancellation: no message was taken.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while (message := self.next_nowait()) is None:
            if self._closed and not any(chat.waiting for chat in self._chats.values()):
                return None
            self._changed = trio.Event()
            await self._changed.wait()
        return message

    def next_nowait(self) -> InboundMessage | None:
        """Return the next message as `next_message` does, or None if none may be answered now."""
        for key in self._ready:
            if self._turns[key[0]] < MAX_TURNS_PER_CHANNEL:
                self._ready.remove(key)
                self._turns[key[0]] += 1
                return self._take(key)
        return None

    def next_after(self, message: InboundMessage) -> InboundMessage | None:
        """Note that a message is answered, as `done`, and return the next one, as `next_nowait`.

        It is the only one that may be answered now and could not before: no task is woken for another.
        """
        self._end(message)
        following = self.next_nowait()
        if self._closed:
            self._changed.set()
        return following

    def done(self, message: InboundMessage) -> None:
        """Note that a message is answered. A chat with more messages joins the end of the line again."""
        self._end(message)
        if self._ready or self._closed:
            self._changed.set()

    def _end(self, message: InboundMessage) -> None:
        key = (message.channel, message.chat_id)
        chat = self._chats[key]
        self._turns[message.channel] -= 1
        if chat.waiting:
            self._ready.append(key)
        else:
            chat.busy = False
            self._forget_idle(key)

    async def until_idle(self) -> None:
        """Wait until no message is being answered. Only the task that calls `next_message` may wait."""
        while self._turns.total():
            self._changed = trio.Event()
            await self._changed.wait()

    def take_rest(self) -> list[InboundMessage]:
        """Remove and return all waiting messages, in order within a chat, also of chats that are being answered."""
        keys = [key for key, chat in self._chats.items() for _ in chat.waiting]
        self._ready.clear()
        return [self._take(key) for key in keys]

    def _take(self, key: ChatKey) -> InboundMessage:
        chat = self._chats[key]
        message = chat.waiting.popleft()
        self._release(key, chat)
        return message

    def _release(self, key: ChatKey, chat: _Chat) -> None:
        chat.room.release()
        self._room(key[0]).release()
        self._forget_idle(key)

    def _forget_idle(self, key: ChatKey) -> None:
        chat = self._chats[key]
        # A message between `acquire` and `_put` is counted in `room` alone.
        if not (chat.busy or chat.waiting or chat.senders) and chat.room.value == MAX_WAITING_PER_CHAT:
            del self._chats[key]


async def _acquire(room: trio.Semaphore) -> None:
    """Take a place, without a checkpoint if one is free."""
    await trio.lowlevel.checkpoint_if_cancelled()
    try:
        room.acquire_nowait()
    except trio.WouldBlock:
        await room.acquire()

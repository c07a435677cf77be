"""The live channel: chats with people who are connected right now, over any wire.

The channel is a hub. Any number of clients `attach` to a chat, and all of them get the same events; `post` hands over a
person's message. The hub keeps only the messages of a chat that are not answered yet, and the answer so far; an idle
chat has no state here, since the conversation is in the session. The hub knows nothing of sessions or HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal, TypeAlias

import trio
from msgspec import Struct

from miniclaw.channels.base import InboundMessage, InboundSender, OutboundDelta, OutboundMessage
from miniclaw.channels.subscription import (
    GATHER_SECONDS,
    NOTICE_SECONDS,
    Delta,
    Event,
    PersonSaid,
    Refused,
    Replied,
    Saved,
    Subscription,
)
from miniclaw.errors import ChannelNotRunningError
from miniclaw.loggers import get_logger
from miniclaw.session.names import is_channel

Phase: TypeAlias = Literal["starting", "running", "stopping"]

_MAX_TOLD: Final = 1000  # notices that a chat remembers until the answer is saved; beyond that all are forgotten

log: Final = get_logger("miniclaw.channels.live")


class AnswerSoFar(Struct, frozen=True):
    """The text so far of an answer that is being produced, and the id of the message that it answers."""

    to: str | None
    text: str


class UnderWay(Struct, frozen=True):
    """The unanswered messages of a chat, and the answer in progress.

    Attributes:
        waiting: Messages that were taken and are not answered yet, oldest first; the first one may be in the session
            already.
        answer: The answer in progress, from its first piece on.
    """

    waiting: tuple[PersonSaid, ...] = ()
    answer: AnswerSoFar | None = None


class _Posted:
    """A message that is not answered yet."""

    def __init__(self, message: InboundMessage) -> None:
        self.message = message
        self.taken = False  # by the inbox; the clients are notified then
        self.settled = trio.Event()  # it was taken, or its sender gave up


class _Chat:
    """The state of a chat. The hub changes it, on the trio thread only, in synchronous steps."""

    def __init__(self) -> None:
        self.subscriptions: list[Subscription] = []
        self.posted: dict[str | None, _Posted] = {}  # by inbound id, in the order of their taking
        self.answering: InboundMessage | None = None
        self.pieces: list[str] = []  # of that answer
        # Notices that the clients have got, by inbound id; kept until the answer is saved.
        self.told: dict[str, Saved | Refused] = {}


class LiveChannel:
    """Implements `Channel`, `StreamingChannel`, `ConfirmingChannel` and `RefusingChannel` for connected clients.

    Args:
        name: The channel's name.
    """

    def __init__(self, name: str) -> None:
        if not is_channel(name):
            raise ValueError(f"a channel is 1 to 32 of a-z, 0-9 and -, not {name!r}")
        self.name = name
        self._chats: dict[str, _Chat] = {}  # those with a client attached or a message under way
        self._inbound: InboundSender | None = None
        self._phase: Phase = "starting"
        self._sending: set[trio.CancelScope] = set()  # of messages that wait for room in the inbox

    def __repr__(self) -> str:
        clients = sum(len(chat.subscriptions) for chat in self._chats.values())
        return f"<LiveChannel {self.name} {self._phase} chats={len(self._chats)} clients={clients}>"

    # For clients ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def attach(self, chat_id: str) -> AsyncIterator[Subscription]:
        """Subscribe to a chat for a block.

        Entering and leaving have no checkpoint. The result of `under_way` right after entering, and the events from
        then on, are therefore consistent.
        """
        subscription = Subscription()
        self._chat(chat_id).subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            if subscription in self._look(chat_id).subscriptions:
                self._look(chat_id).subscriptions.remove(subscription)
            self._forget_idle(chat_id)

    def under_way(self, chat_id: str) -> UnderWay:
        """Return the unanswered messages of a chat, and the answer in progress."""
        chat = self._look(chat_id)
        waiting = tuple(_said(posted.message) for posted in chat.posted.values() if posted.taken)
        answering = chat.answering
        return UnderWay(waiting, AnswerSoFar(answering.inbound_id, "".join(chat.pieces)) if answering else None)

    def is_in_flight(self, chat_id: str, inbound_id: str) -> bool:
        """Return whether a message was posted and is not answered yet."""
        return inbound_id in self._look(chat_id).posted

    async def post(self, chat_id: str, inbound_id: str, text: str) -> None:
        """Hand over a person's message; wait while the chat or the channel has too many waiting messages.

        A message that is posted again while it waits or is being answered counts as the same message.

        Raises:
            ChannelNotRunningError: The channel does not run yet, or no longer; the message was not taken.

        Cancellation: the message was not taken. There is no checkpoint if there is room.
        """
        while (earlier := self._look(chat_id).posted.get(inbound_id)) is not None:
            if earlier.taken:
                # A client that posts again has missed the notice.
                if event := self._look(chat_id).told.get(inbound_id):
                    self._tell(chat_id, event)
                await trio.lowlevel.checkpoint()
                return
            await earlier.settled.wait()
        if self._inbound is None:
            await trio.lowlevel.checkpoint()
            raise ChannelNotRunningError(self.name, self._phase)
        message = InboundMessage(self.name, chat_id, text, inbound_id=inbound_id)
        posted = self._chat(chat_id).posted[inbound_id] = _Posted(message)
        try:
            try:
                self._inbound.send_nowait(message)
            except trio.WouldBlock:
                await self._wait_for_room(self._inbound, message)
            self._take(message)
        except trio.ClosedResourceError:
            raise ChannelNotRunningError(self.name, "stopping") from None
        finally:
            if not posted.taken:
                self._end(message)
            posted.settled.set()

    async def _wait_for_room(self, inbound: InboundSender, message: InboundMessage) -> None:
        """Hand over a message once there is room; raises `trio.ClosedResourceError` if the channel stops first."""
        scope = trio.CancelScope()
        self._sending.add(scope)
        try:
            with scope:
                await inbound.send(message)
        finally:
            self._sending.discard(scope)
        if scope.cancelled_caught:
            raise trio.ClosedResourceError

    # For the agent --------------------------------------------------------------------------------------------

    async def run(
        self, inbound: InboundSender, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept posts until cancelled (`Channel.run`). A post that still waits for room then fails."""
        self._inbound, self._phase = inbound, "running"
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            self._inbound, self._phase = None, "stopping"
            for scope in self._sending:
                scope.cancel()

    async def send_delta(self, delta: OutboundDelta) -> None:
        """Queue the next piece for all clients, without a checkpoint (`StreamingChannel.send_delta`)."""
        self._take(delta.reply_to)
        chat = self._chat(delta.chat_id)
        if chat.answering != delta.reply_to:
            chat.answering, chat.pieces = delta.reply_to, []
        chat.pieces.append(delta.text)
        self._tell(delta.chat_id, Delta(delta.text, delta.reply_to.inbound_id), within=GATHER_SECONDS)

    async def send(self, message: OutboundMessage) -> None:
        """Queue an answer for all clients, without a checkpoint; without a client, it is in the session alone."""
        to = message.reply_to
        if to is not None:
            self._take(to)
            self._end(to)
        self._tell(message.chat_id, Replied(message.content, message.failed, to.inbound_id if to else None))
        self._forget_idle(message.chat_id)

    def confirm(self, message: InboundMessage, *, answered: bool) -> None:
        """Notify the clients, once, that a message is saved (`ConfirmingChannel.confirm`)."""
        inbound_id = message.inbound_id
        if inbound_id is None or message.chat_id not in self._chats:
            return
        self._inform(message, Saved(inbound_id))
        if answered:
            self._chats[message.chat_id].told.pop(inbound_id, None)
            self._end(message)  # it was answered before it was delivered again
        self._forget_idle(message.chat_id)

    def refuse(self, message: InboundMessage, reason: str) -> None:
        """Notify the clients, once, that a message is refused; no later notice says that it is saved."""
        if message.inbound_id is not None and message.chat_id in self._chats:
            self._inform(message, Refused(reason, message.inbound_id))

    # ----------------------------------------------------------------------------------------------------------

    def _chat(self, chat_id: str) -> _Chat:
        chat = self._chats.get(chat_id)
        if chat is None:
            chat = self._chats[chat_id] = _Chat()
        return chat

    def _look(self, chat_id: str) -> _Chat:
        """Return the state of a chat, for reading: an idle chat gets none."""
        return self._chats.get(chat_id) or _Chat()

    def _take(self, message: InboundMessage) -> None:
        """Note that a message was taken, and notify the clients once; the loop may do so before the posting task."""
        waiting = self._look(message.chat_id).posted
        posted = waiting.get(message.inbound_id)
        if posted is not None and not posted.taken:
            posted.taken = True
            # Moved to the end: the order is that of taking, which need not be that of posting.
            waiting[message.inbound_id] = waiting.pop(message.inbound_id)
            self._tell(message.chat_id, _said(message), within=NOTICE_SECONDS)

    def _end(self, message: InboundMessage) -> None:
        """Forget a message that is answered, or that was not taken."""
        chat = self._look(message.chat_id)
        chat.posted.pop(message.inbound_id, None)
        if chat.answering == message:
            chat.answering, chat.pieces = None, []
        self._forget_idle(message.chat_id)

    def _inform(self, message: InboundMessage, event: Saved | Refused) -> None:
        self._take(message)
        chat = self._chats[message.chat_id]
        if event.id in chat.told:
            return
        if len(chat.told) >= _MAX_TOLD:
            chat.told.clear()
        chat.told[event.id] = event
        # Without a message under way there is no answer that could take the notice along.
        self._tell(message.chat_id, event, within=NOTICE_SECONDS if chat.posted else 0)

    def _tell(self, chat_id: str, event: Event, *, within: float = 0) -> None:
        """Put an event into all subscriptions of a chat, to be sent within so many seconds."""
        chat = self._look(chat_id)
        for subscription in chat.subscriptions:
            subscription.put(event, within=within)
        if any(one.left_behind for one in chat.subscriptions):
            log.warning("Client left behind; it does not take what it is sent", channel=self.name)
            chat.subscriptions = [one for one in chat.subscriptions if not one.left_behind]

    def _forget_idle(self, chat_id: str) -> None:
        chat = self._look(chat_id)
        if not (chat.subscriptions or chat.posted or chat.answering):
            self._chats.pop(chat_id, None)


def _said(message: InboundMessage) -> PersonSaid:
    return PersonSaid(message.inbound_id or "", message.content)

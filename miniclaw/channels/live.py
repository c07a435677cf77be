"""The live channel: chats whose people are connected right now, over whatever wire.

It is a hub. Clients `attach` to a chat, as many as they like, and all of them are told the same; with `post` they
say something. It keeps of a chat only what is under way (messages that are not answered yet, and how far the answer
has come), and nothing of one where nothing is: what was said is in the session. It knows nothing of sessions or HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal, TypeAlias

import trio
from msgspec import Struct

from miniclaw.channels.base import InboundMessage, InboundSender, OutboundDelta, OutboundMessage
from miniclaw.channels.subscription import Delta, Event, PersonSaid, Refused, Replied, Saved, Subscription
from miniclaw.errors import ChannelNotRunningError
from miniclaw.loggers import get_logger
from miniclaw.session.names import is_channel

Phase: TypeAlias = Literal["starting", "running", "stopping"]

_MAX_TOLD: Final = 1000  # of a chat's messages that are saved while their answer is not; forgotten beyond that

log = get_logger("miniclaw.channels.live")


class AnswerSoFar(Struct, frozen=True):
    """An answer that is being produced.

    Attributes:
        to: Which message it answers, by its id.
        text: How far it has come.
    """

    to: str | None
    text: str


class UnderWay(Struct, frozen=True):
    """What is going on in a chat right now.

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
        self.taken = False  # by the inbox; then everybody is told of it
        self.settled = trio.Event()  # it was taken, or its sender gave up


class _Chat:
    """All of it is changed on the trio thread, by the hub, in synchronous steps."""

    def __init__(self) -> None:
        self.subscriptions: list[Subscription] = []
        self.posted: dict[str | None, _Posted] = {}  # by inbound id, in the order of their taking
        self.answering: InboundMessage | None = None
        self.pieces: list[str] = []  # of that answer
        # Messages of which the clients were told, and whose answer is not saved yet.
        self.told: dict[str, Saved | Refused] = {}

    def tell(self, event: Event) -> bool:
        """Let everybody know; return whether somebody was left behind for it."""
        for subscription in self.subscriptions:
            subscription.put(event)
        before = len(self.subscriptions)
        self.subscriptions = [one for one in self.subscriptions if not one.left_behind]
        return len(self.subscriptions) < before


class LiveChannel:
    """Implements `Channel`, `StreamingChannel` and `ConfirmingChannel` for connected clients.

    Args:
        name: The channel's name.
    """

    def __init__(self, name: str) -> None:
        if not is_channel(name):
            raise ValueError(f"a channel is 1 to 32 of a-z, 0-9 and -, not {name!r}")
        self.name = name
        self._chats: dict[str, _Chat] = {}  # those with somebody attached or something under way
        self._inbound: InboundSender | None = None
        self._phase: Phase = "starting"
        self._sending: set[trio.CancelScope] = set()  # of messages that wait for room in the inbox

    def __repr__(self) -> str:
        clients = sum(len(chat.subscriptions) for chat in self._chats.values())
        return f"<LiveChannel {self.name} {self._phase} chats={len(self._chats)} clients={clients}>"

    # For clients ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def attach(self, chat_id: str) -> AsyncIterator[Subscription]:
        """Listen to a chat for a block.

        Entering and leaving do not wait: what `under_way` says right after entering, and the events that come, fit
        together.
        """
        subscription = Subscription()
        self._chat(chat_id).subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            chat = self._chats.get(chat_id)
            if chat is not None and subscription in chat.subscriptions:
                chat.subscriptions.remove(subscription)
            self._forget_idle(chat_id)

    def under_way(self, chat_id: str) -> UnderWay:
        """Return what is going on in a chat."""
        chat = self._chats.get(chat_id)
        if chat is None:
            return UnderWay()
        waiting = tuple(_said(posted.message) for posted in chat.posted.values() if posted.taken)
        if chat.answering is None:
            return UnderWay(waiting)
        return UnderWay(waiting, AnswerSoFar(chat.answering.inbound_id, "".join(chat.pieces)))

    def is_in_flight(self, chat_id: str, inbound_id: str) -> bool:
        """Return whether a message was posted and is not answered yet."""
        chat = self._chats.get(chat_id)
        return chat is not None and inbound_id in chat.posted

    async def post(self, chat_id: str, inbound_id: str, text: str) -> None:
        """Hand over what a person wrote; waits while the chat, or the channel, has too many waiting.

        One that is posted again while it waits or is being answered is the same one.

        Raises:
            ChannelNotRunningError: Nobody takes it, yet or any more; it was not taken.

        Cancellation: it was not taken.
        """
        await trio.lowlevel.checkpoint()
        while (earlier := self._posted(chat_id, inbound_id)) is not None:
            if earlier.taken:
                if event := self._chat(chat_id).told.get(
                    inbound_id
                ):  # who sends it again was not there when it was told
                    self._tell(chat_id, event)
                return
            await earlier.settled.wait()
        if self._inbound is None:
            raise ChannelNotRunningError(self.name, self._phase)
        message = InboundMessage(self.name, chat_id, text, inbound_id=inbound_id)
        posted = self._chat(chat_id).posted[inbound_id] = _Posted(message)
        scope = trio.CancelScope()
        self._sending.add(scope)
        try:
            with scope:
                await self._inbound.send(message)
                self._take(message)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise ChannelNotRunningError(self.name, "stopping") from None
        finally:
            self._sending.discard(scope)
            if not posted.taken:
                self._end(message)
            posted.settled.set()
        if scope.cancelled_caught:
            raise ChannelNotRunningError(self.name, "stopping")

    # For the agent --------------------------------------------------------------------------------------------

    async def run(
        self,
        inbound: InboundSender,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Channel.run`; takes what is posted until it is cancelled. What waits for room then is refused."""
        self._inbound, self._phase = inbound, "running"
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            self._inbound, self._phase = None, "stopping"
            for scope in self._sending:
                scope.cancel()

    async def send_delta(self, delta: OutboundDelta) -> None:
        """See `StreamingChannel.send_delta`; it waits for nobody."""
        await trio.lowlevel.checkpoint()
        self._take(delta.reply_to)
        chat = self._chat(delta.chat_id)
        if chat.answering != delta.reply_to:
            chat.answering, chat.pieces = delta.reply_to, []
        chat.pieces.append(delta.text)
        self._tell(delta.chat_id, Delta(delta.text, delta.reply_to.inbound_id))

    async def send(self, message: OutboundMessage) -> None:
        """See `Channel.send`; where nobody is connected, the answer waits in the session."""
        await trio.lowlevel.checkpoint()
        to = message.reply_to
        if to is not None:
            self._take(to)
            self._end(to)
        self._tell(message.chat_id, Replied(message.content, message.failed, to.inbound_id if to else None))
        self._forget_idle(message.chat_id)

    def confirm(self, message: InboundMessage, *, answered: bool) -> None:
        """See `ConfirmingChannel.confirm`; the clients are told once."""
        inbound_id = message.inbound_id
        if inbound_id is None or message.chat_id not in self._chats:
            return
        self._inform(message, Saved(inbound_id))
        if answered:
            self._chats[message.chat_id].told.pop(inbound_id, None)
            self._end(message)  # it was answered before it was delivered again
        self._forget_idle(message.chat_id)

    def refuse(self, message: InboundMessage, reason: str) -> None:
        """See `RefusingChannel.refuse`; the clients are told once, and never after that that it is saved."""
        if message.inbound_id is not None and message.chat_id in self._chats:
            self._inform(message, Refused(reason, message.inbound_id))

    # ----------------------------------------------------------------------------------------------------------

    def _chat(self, chat_id: str) -> _Chat:
        return self._chats.setdefault(chat_id, _Chat())

    def _posted(self, chat_id: str, inbound_id: str | None) -> _Posted | None:
        chat = self._chats.get(chat_id)
        return None if chat is None else chat.posted.get(inbound_id)

    def _take(self, message: InboundMessage) -> None:
        """Note that a message was taken, and say so once; the loop may be faster than the task that posted it."""
        posted = self._posted(message.chat_id, message.inbound_id)
        if posted is not None and not posted.taken:
            posted.taken = True
            # Behind those that were taken before it, however long each of them had waited for that.
            waiting = self._chats[message.chat_id].posted
            waiting[message.inbound_id] = waiting.pop(message.inbound_id)
            self._tell(message.chat_id, _said(message))

    def _end(self, message: InboundMessage) -> None:
        """Forget a message that is answered, or that was not taken."""
        chat = self._chats.get(message.chat_id)
        if chat is None:
            return
        chat.posted.pop(message.inbound_id, None)
        if chat.answering == message:
            chat.answering, chat.pieces = None, []
        self._forget_idle(message.chat_id)

    def _inform(self, message: InboundMessage, event: Saved | Refused) -> None:
        """Tell the clients what became of a message, once."""
        self._take(message)
        chat = self._chats[message.chat_id]
        if event.id in chat.told:
            return
        if len(chat.told) >= _MAX_TOLD:
            chat.told.clear()
        chat.told[event.id] = event
        self._tell(message.chat_id, event)

    def _tell(self, chat_id: str, event: Event) -> None:
        chat = self._chats.get(chat_id)
        if chat is not None and chat.tell(event):
            log.warning("Client left behind; it does not take what it is sent", channel=self.name)

    def _forget_idle(self, chat_id: str) -> None:
        chat = self._chats.get(chat_id)
        if chat is not None and not chat.subscriptions and not chat.posted and chat.answering is None:
            del self._chats[chat_id]


def _said(message: InboundMessage) -> PersonSaid:
    return PersonSaid(message.inbound_id or "", message.content)

"""The Telegram channel: receives updates, sends replies, and confirms an update only when it is safe.

Three activities run at the same time: updates are polled; messages are handed over to the agent; replies of the agent
and notices of the channel are sent. An update is *open* until the agent has confirmed that its message and the answer
are on disk (see `ConfirmingChannel`). An update with nothing to record is open until the channel has handled it.
Telegram is asked to forget only the updates before the first open one (see `offsets`).

Shutdown: cancelling `run` ends the polling at once. `send` and `confirm` continue to work, and `close` reports the
latest confirmations to Telegram.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import trio
from msgspec import Raw

from miniclaw.channels.base import InboundMessage, InboundSender, OutboundMessage
from miniclaw.channels.telegram.client import BotClient, BotError
from miniclaw.channels.telegram.deliveries import Deliveries
from miniclaw.channels.telegram.meaning import CHANNEL, Notice, Stranger, interpret
from miniclaw.channels.telegram.offsets import Offsets
from miniclaw.channels.telegram.poller import Poller
from miniclaw.channels.telegram.sender import Sender
from miniclaw.channels.telegram.wire import Update, UpdateFormatError, decode_update
from miniclaw.config.telegram import TelegramConfig
from miniclaw.errors import ChannelError
from miniclaw.loggers import get_logger

POLL_INTERVAL_SECONDS: Final = 1.0
"""Time from a poll without new updates to the next, unless an update is closed earlier.

While an update is open, Telegram answers a poll at once.
"""

CLOSING_SECONDS: Final = 1.0
"""Time limit for the last report of confirmations to Telegram, at shutdown."""

MAX_STRANGERS_LOGGED: Final = 100
MAX_SAID_ONCE: Final = 1000

_USERNAME: Final = re.compile(r"[A-Za-z0-9_]{1,64}")

log: Final = get_logger("miniclaw.telegram")


class TelegramChannel:
    """Implements `miniclaw.channels.base.Channel` and `ConfirmingChannel`.

    Args:
        client: Calls the Bot API.
        config: The table ``[telegram]``.
        sleep: Waits between attempts of a call.
    """

    name = CHANNEL

    def __init__(
        self, client: BotClient, config: TelegramConfig, *, sleep: Callable[[float], Awaitable[None]] = trio.sleep
    ) -> None:
        self._poller = Poller(client, sleep=sleep)
        self._sender = Sender(client, sleep=sleep)
        self._allowed_users = frozenset(config.allowed_users)  # replaced by `allow`
        self._bot_name: str | None = None
        # All of these are changed on the trio thread only, in synchronous steps.
        self._offsets = Offsets()
        self._deliveries = Deliveries()
        self._closed = trio.Event()  # set when an update was closed; replaced before each poll
        self._changed = trio.Event()  # set when there may be something to hand over; replaced before each look
        self._strangers: set[int] = set()  # ids that were logged
        self._said: dict[str, None] = {}  # keys of notices that are sent only once; the oldest first
        self._complained = False  # about an update without an id

    def __repr__(self) -> str:
        return f"<TelegramChannel {self._offsets!r} {self._deliveries!r}>"

    # For the gateway ------------------------------------------------------------------------------------------

    async def run(
        self, inbound: InboundSender, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Receive updates until cancelled (`Channel.run`). The start does not wait for a connection to Telegram.

        Cancellation: the agent keeps the messages that it has; `send` and `confirm` continue to work.
        """
        if not self._allowed_users:
            log.warning(
                "The Telegram bot answers no user: telegram.allowed_users is empty",
                advice="write to the bot; the log then names the id to add there",
            )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hand_over, inbound, nursery)
            task_status.started()
            await self._receive(nursery)

    def allow(self, users: Iterable[int]) -> None:
        """Let these users talk to the bot from now on, and no others; on the trio thread.

        Args:
            users: Their ids. Messages already taken from other users are still answered.
        """
        self._allowed_users = frozenset(users)

    async def close(self) -> None:
        """Report the confirmations since the last poll, unless there is trouble; takes at most `CLOSING_SECONDS`."""
        offset = self._offsets.offset
        if offset is None or not self._poller.is_well:
            return
        try:
            await self._poller.forget_below(offset, CLOSING_SECONDS)
        except BotError as error:  # the updates are delivered again at the next start
            log.debug("Telegram could not be told what is confirmed", error=str(error))
        else:
            self._offsets.heard(offset)

    # For the agent --------------------------------------------------------------------------------------------

    async def send(self, message: OutboundMessage) -> None:
        """Send a message to its chat (`Channel.send`).

        Until a message is on disk, the failure of its turn is reported to the person once, however often the message is
        handed over.
        """
        delivery = self._deliveries.find(message.reply_to)
        metadata = message.reply_to.metadata if message.reply_to is not None else {}
        if delivery is None:
            await self._sender.send(message.chat_id, message.content, metadata)
            return
        delivery.turn_over.set()
        told = False
        try:
            if not (message.failed and delivery.told):
                await self._sender.send(message.chat_id, message.content, metadata)
                told = True
        finally:
            self._deliveries.end_turn(delivery, trio.current_time(), failed=message.failed, told=told)
            self._changed.set()

    def confirm(self, message: InboundMessage, *, answered: bool) -> None:
        """Take note that a message is on disk; once it is answered, too, close its update."""
        delivery = self._deliveries.find(message)
        if delivery is None:
            return
        if not answered:
            self._deliveries.save(delivery)
            return
        delivery.turn_over.set()
        self._deliveries.finish(delivery)
        self._close(delivery.update_id)
        self._changed.set()

    # Updates in -----------------------------------------------------------------------------------------------

    async def _receive(self, nursery: trio.Nursery) -> None:
        bot = await self._poller.get_me()
        self._bot_name = bot.username
        log.info("Telegram bot is ready", bot=_printable_name(bot.username), allowed_users=len(self._allowed_users))
        while True:
            self._closed = trio.Event()
            began = trio.current_time()
            offset = self._offsets.offset
            updates = await self._poller.poll(offset, wait=not self._offsets.open)
            self._offsets.heard(offset)
            news = [self._take(data, nursery) for data in updates]
            if not any(news):
                with trio.move_on_at(began + POLL_INTERVAL_SECONDS):
                    await self._closed.wait()

    def _take(self, data: Raw, nursery: trio.Nursery) -> bool:
        """Take an update; return whether it is new."""
        try:
            update = decode_update(data)
        except UpdateFormatError as error:
            return self._take_malformed(error)
        if not self._offsets.take(update.update_id):
            return False
        self._act(update, nursery)
        return True

    def _take_malformed(self, error: UpdateFormatError) -> bool:
        if error.update_id is None:  # it cannot be confirmed, so it may be delivered for ever
            if not self._complained:
                log.warning("Telegram delivers an update without an id", error=str(error))
            self._complained = True
            return False
        if not self._offsets.take(error.update_id):
            return False
        log.warning("Telegram update was not understood and is ignored", update_id=error.update_id, error=str(error))
        self._close(error.update_id)
        return True

    def _act(self, update: Update, nursery: trio.Nursery) -> None:
        meaning = interpret(update, self._allowed_users, self._bot_name)
        if isinstance(meaning, InboundMessage):
            self._deliveries.add(update.update_id, meaning)
            self._changed.set()
            return
        if isinstance(meaning, Notice) and self._is_news(meaning.once):
            nursery.start_soon(self._say, update.update_id, meaning)
            return
        if isinstance(meaning, Stranger):
            self._log_stranger(meaning)
        else:
            reason = "said before" if isinstance(meaning, Notice) else meaning.reason
            log.debug("Telegram update is ignored", update_id=update.update_id, reason=reason)
        self._close(update.update_id)

    async def _say(self, update_id: int, notice: Notice) -> None:
        """Send a notice of the channel itself; a notice that fails is not sent again."""
        try:
            await self._sender.send(notice.about.chat_id, notice.text, notice.about.metadata)
        except ChannelError as error:
            log.warning("Notice could not be delivered", channel=self.name, error=str(error))
        self._close(update_id)

    def _is_news(self, once: str | None) -> bool:
        if once is None:
            return True
        if once in self._said:
            return False
        self._said[once] = None
        if len(self._said) > MAX_SAID_ONCE:
            del self._said[next(iter(self._said))]
        return True

    def _log_stranger(self, stranger: Stranger) -> None:
        if stranger.user_id in self._strangers or len(self._strangers) >= MAX_STRANGERS_LOGGED:
            return
        if not stranger.private:  # the members of a group are private
            log.debug("Telegram message of a stranger in a group is ignored", user_id=stranger.user_id)
            return
        self._strangers.add(stranger.user_id)
        log.warning(
            "Telegram message of a stranger is ignored",
            user_id=stranger.user_id,
            username=_printable_name(stranger.username),
            advice="to let this person in, add the id to telegram.allowed_users",
        )
        if len(self._strangers) == MAX_STRANGERS_LOGGED:
            log.warning("No more strangers on Telegram are logged", logged=MAX_STRANGERS_LOGGED)

    def _close(self, update_id: int) -> None:
        self._offsets.close(update_id)
        self._closed.set()

    # Messages to the agent ------------------------------------------------------------------------------------

    async def _hand_over(self, inbound: InboundSender, nursery: trio.Nursery) -> None:
        while True:
            self._changed = trio.Event()
            for delivery in self._deliveries.due(trio.current_time()):
                message = delivery.message
                try:
                    inbound.send_nowait(message)
                except (trio.WouldBlock, trio.ClosedResourceError):
                    self._deliveries.refuse(delivery, trio.current_time())
                    continue
                self._deliveries.hand_over(delivery)
                if delivery.handed_over == 1:
                    nursery.start_soon(self._sender.type_until, delivery.turn_over, message.chat_id, message.metadata)
            with trio.move_on_at(self._deliveries.next_due()):
                await self._changed.wait()


def _printable_name(name: str | None) -> str | None:
    """Return a public name for the log, if it has the usual form: strangers choose theirs."""
    return name if name is None or _USERNAME.fullmatch(name) else "(odd)"

"""Sending of a reply in as many messages as it needs, and of the typing indication.

A part is sent again after a temporary failure, also if the failed attempt may have arrived: a part that is delivered
twice is better than one that is lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio

from miniclaw.backoff import delay_seconds
from miniclaw.channels.telegram.client import BotClient, BotError
from miniclaw.channels.telegram.meaning import MESSAGE_ID, THREAD_ID
from miniclaw.channels.telegram.splitter import split_text
from miniclaw.errors import ChannelError
from miniclaw.formats import without_surrogates

FIRST_DELAY_SECONDS: Final = 0.5
MAX_DELAY_SECONDS: Final = 8.0

SENDING_SECONDS: Final = 300
"""Time limit for sending a part, waits included; the last attempt may end later."""

TYPING_DELAY_SECONDS: Final = 0.3
"""Delay before the typing indication is shown for the first time."""

TYPING_INTERVAL_SECONDS: Final = 4.5
"""Time between two typing indications; Telegram shows each for five seconds."""

_MAY_PASS: Final = frozenset({"network", "server", "busy"})


class Sender:
    """Sends texts to chats.

    Args:
        client: Calls the Bot API.
        sleep: Waits between attempts.
    """

    def __init__(self, client: BotClient, *, sleep: Callable[[float], Awaitable[None]] = trio.sleep) -> None:
        self._client = client
        self._sleep = sleep

    async def send(self, chat_id: str, text: str, metadata: Mapping[str, str]) -> None:
        """Send a text as plain text; in a group the first part is a reply to the message with this metadata.

        Raises:
            ChannelError: The text was not sent, or not the whole of it.
        """
        parts = split_text(without_surrogates(text))
        if not parts:
            raise ChannelError("there is nothing to see in the text, and Telegram takes no such message")
        address = _address(chat_id, metadata)
        for number, part in enumerate(parts):
            values = {**address, "text": part}
            if number == 0 and MESSAGE_ID in metadata:
                reply = {"message_id": int(metadata[MESSAGE_ID]), "allow_sending_without_reply": True}
                values["reply_parameters"] = reply
            try:
                await self._send_part(values)
            except ChannelError as error:
                behind = f"{number} of {len(parts)} parts were sent; " if number else ""
                raise ChannelError(f"{behind}{error}") from None
            address["chat_id"] = values["chat_id"]

    async def _send_part(self, values: dict[str, Any]) -> None:
        """Send a part. Afterwards `values` has the chat's present id."""
        deadline = trio.current_time() + SENDING_SECONDS
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._client.call("sendMessage", values)
            except BotError as error:
                if error.accepted:
                    return
                if error.moved_to is not None and error.moved_to != values["chat_id"]:  # a group became a supergroup
                    values.pop("reply_parameters", None)  # messages have other ids there
                    values["chat_id"] = error.moved_to
                    continue
                if error.trouble not in _MAY_PASS:
                    raise
                delay = delay_seconds(
                    attempt,
                    first=FIRST_DELAY_SECONDS,
                    longest=MAX_DELAY_SECONDS,
                    chance=None,
                    retry_after=error.retry_after,
                )
                if trio.current_time() + delay > deadline:
                    raise
                await self._sleep(delay)
            else:
                return

    async def type_until(self, over: trio.Event, chat_id: str, metadata: Mapping[str, str]) -> None:
        """Show the typing indication until `over` is set. Failures are ignored."""
        delay = TYPING_DELAY_SECONDS
        while True:
            with trio.move_on_after(delay):
                await over.wait()
                return
            try:
                await self._client.call("sendChatAction", {**_address(chat_id, metadata), "action": "typing"})
            except BotError as error:
                delay = max(TYPING_INTERVAL_SECONDS, error.retry_after or 0)
            else:
                delay = TYPING_INTERVAL_SECONDS


def _address(chat_id: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    address: dict[str, Any] = {"chat_id": int(chat_id)}
    if THREAD_ID in metadata:
        address["message_thread_id"] = int(metadata[THREAD_ID])
    return address

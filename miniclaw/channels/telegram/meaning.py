"""The meaning of an update: a message for the agent, a notice from the channel itself, or nothing. Pure."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Final, TypeAlias

from msgspec import Struct

from miniclaw.channels.base import InboundMessage
from miniclaw.channels.telegram.wire import TelegramMessage, Update

CHANNEL: Final = "telegram"

MESSAGE_ID: Final = "message_id"
"""Metadata key of a message in a group: the message's id there, for the reply."""

THREAD_ID: Final = "thread_id"
"""Metadata key of a message in a topic of a forum: the topic's id."""

GREETING: Final = "Hello! Write me anything, and I answer. I remember this conversation."
ONLY_TEXT: Final = "I understand only text; I cannot see what came with this message ({media})."
NO_EDITS: Final = (
    "I do not see edits; I answer what was sent first. To have the new text answered, send it as a new message."
)
CAPTION_NOTE: Final = "[This came with {media}, which cannot be seen here.]"

_COMMAND: Final = re.compile(r"/(?P<name>[A-Za-z0-9_]{1,64})(@(?P<bot>[A-Za-z0-9_]{1,64}))?(?=\s|$)")
_GROUPS: Final = frozenset({"group", "supergroup"})


class Notice(Struct, frozen=True):
    """A sentence that the channel itself says.

    Attributes:
        about: The message that caused it; it has the address as well.
        text: The sentence.
        once: Key of a notice that is sent only once: until the program exits, its key is not used again. None: the
            notice is always sent.
    """

    about: InboundMessage
    text: str
    once: str | None = None


class Stranger(Struct, frozen=True):
    """A user who may not talk to the bot; gets no answer.

    Attributes:
        user_id: The user's id, for the configuration.
        username: The user's public name, if any.
        private: True if the message was to the bot alone.
    """

    user_id: int
    username: str | None
    private: bool


class Nothing(Struct, frozen=True):
    """An update to ignore, with the reason for the log."""

    reason: str


Meaning: TypeAlias = InboundMessage | Notice | Stranger | Nothing


def interpret(update: Update, allowed_users: Container[int], bot_name: str | None) -> Meaning:
    """Return the meaning of an update.

    Args:
        update: The update.
        allowed_users: Ids of the users who may talk to the bot.
        bot_name: The bot's own public name, if it is known: commands to other bots of a group are ignored.
    """
    message = update.message
    if message is None:
        return Nothing("no message")
    private = message.chat.type == "private"
    if not private and message.chat.type not in _GROUPS:
        return Nothing("no private chat and no group")
    sender = message.from_user
    if sender is None or sender.is_bot or message.sender_chat is not None:
        return Nothing("not from a person")
    if sender.id not in allowed_users:
        return Stranger(sender.id, sender.username, private)
    return _from_friend(update, message, private, bot_name)


def _from_friend(update: Update, message: TelegramMessage, private: bool, bot_name: str | None) -> Meaning:
    text = message.text if message.text is not None else message.caption
    command = _COMMAND.match(text or "")
    if command and command["bot"] and bot_name and command["bot"].lower() != bot_name.lower():
        return Nothing("a command for another bot")
    media = update.media
    content = text or ""
    if media and text:
        content += "\n\n" + CAPTION_NOTE.format(media=media)
    inbound = InboundMessage(
        CHANNEL, str(message.chat.id), content, _metadata(message, private), f"update-{update.update_id}"
    )
    if update.is_edit:
        return Notice(inbound, NO_EDITS, once=f"edit {message.chat.id}") if text else Nothing("an edit without text")
    if command and command["name"].lower() == "start":
        return Notice(inbound, GREETING)
    if content.strip():
        return inbound
    if media:
        once = f"album {message.chat.id} {message.media_group_id}" if message.media_group_id else None
        return Notice(inbound, ONLY_TEXT.format(media=media), once=once)
    return Nothing("no text")


def _metadata(message: TelegramMessage, private: bool) -> dict[str, str]:
    metadata = {} if private else {MESSAGE_ID: str(message.message_id)}
    if message.is_topic_message and message.message_thread_id is not None:
        metadata[THREAD_ID] = str(message.message_thread_id)
    return metadata

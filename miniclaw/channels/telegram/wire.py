"""The parts of the Bot API's JSON that miniclaw reads. Pure.

Unknown fields are skipped, and an unknown kind of update is no error: Telegram adds some with every version.
See https://core.telegram.org/bots/api.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final, TypeVar

import msgspec
from msgspec import Raw, Struct, field

T = TypeVar("T")

ALLOWED_UPDATES: Final = ("message", "edited_message")
"""The kinds of update that a poll requests."""

_MEDIA: Final = {
    "animation": "an animation",
    "audio": "an audio file",
    "checklist": "a checklist",
    "contact": "a contact",
    "dice": "a dice",
    "document": "a file",
    "game": "a game",
    "location": "a location",
    "paid_media": "paid media",
    "photo": "a photo",
    "poll": "a poll",
    "sticker": "a sticker",
    "story": "a story",
    "venue": "a place",
    "video": "a video",
    "video_note": "a video message",
    "voice": "a voice message",
}
_GENERAL: Final = ("document", "location")


class User(Struct, frozen=True):
    """A user or a bot."""

    id: int
    is_bot: bool = False
    username: str | None = None


class Chat(Struct, frozen=True):
    """A chat; its `type` is ``private``, ``group``, ``supergroup`` or ``channel``."""

    id: int
    type: str


class TelegramMessage(Struct, frozen=True):
    """A message.

    Attributes:
        sender_chat: The chat in whose name it was sent; `from_user` is then a stand-in.
        media_group_id: The id that the photos of one album share.
    """

    message_id: int
    chat: Chat
    from_user: User | None = field(default=None, name="from")
    sender_chat: Chat | None = None
    text: str | None = None
    caption: str | None = None
    media_group_id: str | None = None
    message_thread_id: int | None = None
    is_topic_message: bool = False


class Update(Struct, frozen=True):
    """A new or edited message, or an event of another kind.

    Attributes:
        update_id: The id by which the update is confirmed.
        message: The message; None: the update is of another kind.
        media: The attachment, or the content instead of text, in words such as "a photo"; None: there is none.
        is_edit: True if the message is a new version of an older one.
    """

    update_id: int
    message: TelegramMessage | None = None
    media: str | None = None
    is_edit: bool = False


class UpdateFormatError(ValueError):
    """A malformed update.

    Attributes:
        update_id: The update's id, if it could be read.
    """

    def __init__(self, problem: str, update_id: int | None = None) -> None:
        self.update_id = update_id
        super().__init__(problem)


_ABSENT: Final = Raw(b"null")


class _Envelope(Struct):
    update_id: int
    message: Raw = _ABSENT
    edited_message: Raw = _ABSENT


class _JustId(Struct):
    update_id: int


def decode_update(data: bytes | Raw) -> Update:
    """Decode an update.

    Raises:
        UpdateFormatError: The data is no update.
    """
    try:
        update_id = msgspec.json.decode(data, type=_JustId).update_id
    except (ValueError, RecursionError) as error:
        raise UpdateFormatError(f"an update without an id: {error}") from error
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)
        is_edit = envelope.message == _ABSENT
        raw = envelope.edited_message if is_edit else envelope.message
        if raw == _ABSENT:
            return Update(update_id)
        message = msgspec.json.decode(raw, type=TelegramMessage)
        kinds = msgspec.json.decode(raw, type=dict[str, Raw])
    except (ValueError, RecursionError) as error:
        raise UpdateFormatError(str(error), update_id) from error
    return Update(update_id, message, _media(kinds), is_edit)


def _media(kinds: Container[str]) -> str | None:
    found = [kind for kind in _MEDIA if kind in kinds]
    # Telegram sends a general field beside the specific one: an animation is also a document.
    special = [kind for kind in found if kind not in _GENERAL]
    return _MEDIA[(special or found)[0]] if found else None


class Parameters(Struct, frozen=True):
    """Details of an error, in addition to its description."""

    retry_after: float | None = None
    migrate_to_chat_id: int | None = None


class Answer(Struct, frozen=True):
    """The envelope of every answer of the Bot API."""

    ok: bool
    result: Raw = _ABSENT
    error_code: int | None = None
    description: str = ""
    parameters: Parameters = Parameters()


def decode_as(kind: type[T], data: bytes | Raw) -> T | None:
    """Return the data as a value of a type, or None if the data is no such value."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError):
        return None

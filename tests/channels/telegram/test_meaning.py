"""What an update means, on the wire as Telegram sends it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniclaw.channels.base import InboundMessage
from miniclaw.channels.telegram.meaning import (
    GREETING,
    MESSAGE_ID,
    NO_EDITS,
    THREAD_ID,
    Meaning,
    Nothing,
    Notice,
    Stranger,
    interpret,
)
from miniclaw.channels.telegram.wire import UpdateFormatError, decode_update
from tests.fakes.bot_api import ME, FakeBotApi

GROUP = {"id": -100123, "type": "supergroup", "title": "Us", "is_forum": True}
PHOTO: dict[str, Any] = {"photo": [{"file_id": "x", "file_unique_id": "y", "width": 90, "height": 90}]}


def read(**kinds: Any) -> Meaning:
    return interpret(decode_update(json.dumps({"update_id": 7, **kinds}).encode()), {ME}, "claw_bot")


def written(text: str | None = None, **fields: Any) -> Meaning:
    return read(message=FakeBotApi().message(text, **fields))


def for_agent(meaning: Meaning) -> InboundMessage:
    assert isinstance(meaning, InboundMessage), meaning
    return meaning


def notice(meaning: Meaning) -> Notice:
    assert isinstance(meaning, Notice), meaning
    return meaning


def test_interpret_text_is_for_the_agent() -> None:
    """The session is that of Telegram's chat, and the update's id is the message's."""
    message = for_agent(written("hello"))
    assert (message.channel, message.chat_id, message.content) == ("telegram", str(ME), "hello")
    assert message.inbound_id == "update-7"
    assert message.metadata == {}


def test_interpret_group_message_is_replied_to() -> None:
    """In a group the answer says what it answers, in the same topic."""
    message = for_agent(written("hello", chat=GROUP, message_thread_id=5, is_topic_message=True))
    assert message.chat_id == "-100123"
    assert message.metadata == {MESSAGE_ID: "2", THREAD_ID: "5"}


@pytest.mark.parametrize("chat", [None, GROUP])
def test_interpret_stranger_is_told_apart(chat: dict[str, Any] | None) -> None:
    """Who is not on the list is a stranger, alone or in a group, whatever is sent."""
    for meaning in (
        written("hello", user=7, chat=chat),
        written("/start", user=7, chat=chat),
        written(user=7, chat=chat),
    ):
        assert meaning == Stranger(7, "user_7", chat is None)


@pytest.mark.parametrize(
    "fields",
    [
        {"from": {"id": ME, "is_bot": True}},
        {"from": None},
        {"sender_chat": {"id": -100123, "type": "supergroup"}},
        {"chat": {"id": ME, "type": "channel"}},
        {"chat": {"id": ME, "type": "something new"}},
    ],
)
def test_interpret_no_person_is_nothing(fields: dict[str, Any]) -> None:
    """Bots, anonymous administrators and channels are nobody, whatever id they come with."""
    assert isinstance(read(message=FakeBotApi().message("hello") | fields), Nothing)


def test_interpret_start_is_greeted_and_other_commands_are_for_the_agent() -> None:
    """Only /start is Telegram's own; a longer word is another command."""
    for text in ("/start", "/start deep-link", "/START@Claw_Bot"):
        assert notice(written(text)).text == GREETING
    for text in ("/help", "/started", "/start/now", "please /start"):
        assert for_agent(written(text)).content == text


def test_interpret_command_for_another_bot_is_nothing() -> None:
    """In a group with several bots each gets its own."""
    assert isinstance(written("/help@other_bot", chat=GROUP), Nothing)
    assert isinstance(written("/help@claw_bot", chat=GROUP), InboundMessage)


def test_interpret_caption_is_text_with_a_note() -> None:
    """The model gets the caption and knows that there was something to see."""
    content = for_agent(written(caption="what is this?", **PHOTO)).content
    assert content == "what is this?\n\n[This came with a photo, which cannot be seen here.]"


@pytest.mark.parametrize(
    ("field", "words"),
    [("photo", "a photo"), ("sticker", "a sticker"), ("voice", "a voice message"), ("document", "a file"), ("poll", "a poll"),
     ("video_note", "a video message"), ("location", "a location"), ("contact", "a contact"), ("dice", "a dice")],
)  # fmt: skip
def test_interpret_without_text_gets_one_sentence(field: str, words: str) -> None:
    """What cannot be understood is said by its name."""
    assert words in notice(written(None, **{field: {}})).text


def test_interpret_general_fields_are_not_named() -> None:
    """An animation is also a document, a venue also a location."""
    assert "an animation" in notice(written(animation={}, document={})).text
    assert "a place" in notice(written(venue={}, location={})).text


def test_interpret_album_gets_one_sentence() -> None:
    """Ten photos of an album are said once."""
    first, second = (notice(written(media_group_id="99", **PHOTO)) for _ in range(2))
    assert first.once == second.once is not None
    assert notice(written(**PHOTO)).once is None


def test_interpret_edit_is_told_once_a_chat() -> None:
    """An edit is no new turn."""
    meaning = notice(read(edited_message=FakeBotApi().message("hallo", edit_date=1)))
    assert meaning.text == NO_EDITS
    assert meaning.once is not None
    assert isinstance(read(edited_message=FakeBotApi().message(location={}, edit_date=1)), Nothing)
    assert isinstance(read(edited_message=FakeBotApi().message("x", user=7)), Stranger)


@pytest.mark.parametrize(
    "kinds",
    [
        {},
        {"channel_post": {"message_id": 1, "chat": {"id": 1, "type": "channel"}, "date": 1, "text": "x"}},
        {"my_chat_member": {"chat": {"id": 1, "type": "private"}}},
        {"inline_query": {"id": "1", "query": "x"}},
        {"something_new": [1, 2, {"three": None}]},
        {"message": None},
    ],
)
def test_interpret_other_kinds_are_nothing(kinds: dict[str, Any]) -> None:
    """What was not asked for, or does not exist yet, is no error."""
    assert read(**kinds) == Nothing("no message")


@pytest.mark.parametrize("field", ["new_chat_members", "pinned_message", "group_created", "something_new"])
def test_interpret_service_message_is_nothing(field: str) -> None:
    """What Telegram says in a chat is not answered."""
    assert written(None, **{field: {}}) == Nothing("no text")


@pytest.mark.parametrize(
    "text",
    [
        '{"update_id": 7, "message": 5}',
        '{"update_id": 7, "message": {"message_id": 1}}',
        '{"update_id": 7, "message": [}',
    ],
)
def test_decode_update_malformed_message_tells_the_id(text: str) -> None:
    """So that the update can be confirmed."""
    with pytest.raises(UpdateFormatError) as caught:
        decode_update(text.encode())
    assert caught.value.update_id == (None if text.endswith("[}") else 7)


@given(
    st.one_of(
        st.binary(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
    )
)
@settings(deadline=None)
def test_decode_update_anything_else_is_an_error(data: bytes) -> None:
    """No bytes raise anything else."""
    with pytest.raises(UpdateFormatError) as caught:
        decode_update(data)
    assert caught.value.update_id is None


def test_decode_update_deep_nesting_is_an_error() -> None:
    """Brackets without end do not end the program."""
    with pytest.raises(UpdateFormatError):
        decode_update(b'{"update_id": 7, "message": ' + b"[" * 100_000)

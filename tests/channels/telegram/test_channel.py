"""The Telegram channel with the real loop and a Bot API on loopback: what is answered how, and confirmed when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from miniclaw.channels.base import ConfirmingChannel, OutboundMessage
from miniclaw.channels.telegram import deliveries, sender
from miniclaw.channels.telegram.channel import POLL_INTERVAL_SECONDS
from miniclaw.channels.telegram.meaning import GREETING, NO_EDITS
from miniclaw.errors import ChannelError
from miniclaw.session.types import Message
from tests.fakes.agent import ScriptedModel, StreamingModel
from tests.fakes.bot_api import BAD_GATEWAY, BLOCKED, ME, open_bot_api, refuse, reset, slow_down, truncated, whole
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.telegram import open_telegram_house

OTHER = 43
GROUP = {"id": -100123, "type": "supergroup", "title": "Us"}


async def test_channel_message_is_answered_recorded_and_then_confirmed(sessions_dir: Path) -> None:
    """A message comes to the session of its chat, its answer goes out as plain text, and then Telegram forgets it."""
    async with open_bot_api() as api, open_telegram_house(api, sessions_dir) as house:
        update_id = api.write("hello")
        await api.until_confirmed(update_id)
        assert api.sent == [{"chat_id": ME, "text": "hello"}]
        assert await house.said() == [("user", "hello"), ("assistant", "hello")]
        assert (sessions_dir / f"telegram_{ME}.json").read_text().count(f"update-{update_id}") == 1
        assert isinstance(house.channel, ConfirmingChannel)


async def test_channel_update_is_not_confirmed_before_its_answer_is_on_disk(sessions_dir: Path) -> None:
    """While the model thinks, polls go on and deliver to other chats; the first update stays with Telegram."""
    gate = trio.Event()

    async def think(messages: Sequence[Message]) -> str:
        if messages[-1].content == "slow":
            await gate.wait()
        return messages[-1].content.upper()

    async with (
        open_bot_api() as api,
        open_telegram_house(api, sessions_dir, model=ScriptedModel(think), allowed_users=(ME, OTHER)),
    ):
        slow = api.write("slow")
        await api.until(lambda: api.count("sendChatAction"))
        fast = api.write("fast", user=OTHER)
        await api.until(lambda: api.texts(OTHER) == ["FAST"])
        await api.until(lambda: len(api.offsets) > 4)
        assert api.confirmed == []
        assert {offset for offset in api.offsets[2:] if offset} == {slow}
        gate.set()
        await api.until_confirmed(fast)
        assert api.texts() == ["SLOW"]
        assert api.confirmed == [slow, fast]


async def test_channel_many_messages_of_many_chats_keep_their_order(sessions_dir: Path) -> None:
    """More than Telegram delivers at once, and than the agent has room for: each chat's in order, none twice."""
    users = tuple(range(1, 11))
    async with open_bot_api() as api:
        for number in range(25):
            for user in users:
                last = api.write(f"{number}", user=user)
        async with open_telegram_house(api, sessions_dir, allowed_users=users) as house:
            await api.until_confirmed(last)
            for user in users:
                assert api.texts(user) == [str(number) for number in range(25)]
                assert [text for role, text in await house.said(user) if role == "user"] == api.texts(user)


async def test_channel_after_a_restart_what_was_not_confirmed_comes_again_once(sessions_dir: Path) -> None:
    """Telegram delivers again what was answered and not confirmed; it is recognised and not answered again."""
    async with open_bot_api() as api:
        async with open_telegram_house(api, sessions_dir):
            first = api.write("hello")
            await api.until_confirmed(first)
        api.updates.append({"update_id": first, "message": api.message("hello")})
        second = api.write("again")
        async with open_telegram_house(api, sessions_dir) as house:
            await api.until_confirmed(second)
            assert [text for _, text in await house.said()] == ["hello", "hello", "again", "again"]
        assert api.texts() == ["hello", "again"]


async def test_channel_shut_down_in_mid_turn_says_so_after_the_start(sessions_dir: Path) -> None:
    """A turn that was interrupted is not answered at the next start; the person is told, and it is confirmed."""
    model = StreamingModel(trio.Event())
    async with open_bot_api() as api:
        with trio.CancelScope() as scope:
            async with open_telegram_house(api, sessions_dir, model=model):
                update_id = api.write("hello")
                await model.waiting.wait()
                scope.cancel()
        assert api.confirmed == []
        async with open_telegram_house(api, sessions_dir):
            await api.until_confirmed(update_id)
        assert len(api.texts()) == 1
        assert "stopped before the answer was complete" in api.texts()[0]


async def test_channel_closing_confirms_what_was_answered_last(sessions_dir: Path) -> None:
    """A turn that is finished in the grace of the shutdown is confirmed before the end."""
    gate = trio.Event()
    model = StreamingModel(gate, "late")
    async with open_bot_api() as api:
        async with open_telegram_house(api, sessions_dir, model=model) as house:
            update_id = api.write("hello")
            await model.waiting.wait()
            house.scope.cancel()
            gate.set()
        assert api.texts() == ["late"]
        assert api.confirmed == [update_id]


async def test_channel_what_cannot_be_recorded_is_told_once_and_handed_over_until_it_can(
    sessions_dir: Path, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that cannot be read: one apology, however often it is tried; once it can, one answer, in order."""
    monkeypatch.setattr(deliveries, "FIRST_DELAY_SECONDS", 0.1)
    logs.expect_error("Message could not be recorded")
    path = sessions_dir / f"telegram_{ME}.json"
    async with open_bot_api() as api, open_telegram_house(api, sessions_dir) as house:
        path.mkdir()  # no file can be read there, and none put
        (sessions_dir / ".quarantine").touch()  # nor can it be moved out of the way
        first = api.write("first")
        second = api.write("second")
        await api.until(lambda: api.sent)
        await api.until(lambda: len(logs.named("Message could not be recorded")) >= 2)  # polls go on all the while
        assert len(api.texts()) == 1
        assert "could not be recorded" in api.texts()[0]
        assert api.confirmed == []
        path.rmdir()
        (sessions_dir / ".quarantine").unlink()
        await api.until_confirmed(second)
        assert api.texts()[1:] == ["first", "second"]
        assert [text for _, text in await house.said()] == ["first", "first", "second", "second"]
        assert api.confirmed == [first, second]


# What is answered how -------------------------------------------------------------------------------------------


async def test_channel_strangers_get_silence_and_are_logged_once(sessions_dir: Path, logs: LogRecorder) -> None:
    """The log tells the id that the configuration wants; the stranger hears nothing, and nothing is recorded."""
    async with open_bot_api() as api, open_telegram_house(api, sessions_dir):
        api.write("let me in", user=99)
        api.write("please", user=99)
        last = api.write("hi", user=98, chat=GROUP)
        await api.until_confirmed(last)
        assert api.sent == []
        assert api.count("sendChatAction") == 0
    event = logs.one("Telegram message of a stranger is ignored")
    assert (event["user_id"], event["username"], event["level"]) == (99, "user_99", "warning")
    assert "telegram.allowed_users" in event["advice"]
    assert list(sessions_dir.glob("*.json")) == []


async def test_channel_strangers_in_the_log_are_bounded(sessions_dir: Path, logs: LogRecorder) -> None:
    """A hundred strangers are logged, and that there are more, and no more."""
    async with open_bot_api() as api, open_telegram_house(api, sessions_dir):
        for user in range(1000, 1150):
            last = api.write("hi", user=user)
        await api.until_confirmed(last)
    assert len(logs.named("Telegram message of a stranger is ignored")) == 100
    assert logs.one("No more strangers on Telegram are logged")["logged"] == 100


async def test_channel_without_allowed_users_says_how_to_add_oneself(sessions_dir: Path, logs: LogRecorder) -> None:
    """An empty list is nobody."""
    async with open_bot_api() as api, open_telegram_house(api, sessions_dir, allowed_users=()):
        await api.until_confirmed(api.write("hello"))
        assert api.sent == []
    assert logs.one("The Telegram bot answers no user: telegram.allowed_users is empty")["level"] == "warning"
    assert logs.one("Telegram message of a stranger is ignored")["user_id"] == ME


async def test_channel_own_sentences_are_sent_without_the_model(sessions_dir: Path) -> None:
    """A greeting, one word about edits, one about each thing that is no text; none of it is recorded."""
    async with open_bot_api() as api, open_telegram_house(api, sessions_dir):
        api.write("/start")
        await api.until(lambda: api.texts() == [GREETING])
        for _ in range(3):
            api.add(edited_message=api.message("hallo", edit_date=1))
        await api.until(lambda: api.texts()[1:] == [NO_EDITS])
        api.write(sticker={})
        for _ in range(3):
            api.write(photo=[], media_group_id="9")
        last = api.add(something_new={"a": 1})
        await api.until_confirmed(last)
        assert {text.rpartition("(")[2] for text in api.texts()[2:]} == {"a sticker).", "a photo)."}  # in any order
        assert len(api.texts()) == 4
    assert list(sessions_dir.glob("*.json")) == []


async def test_channel_bad_updates_are_confirmed_and_stop_nothing(sessions_dir: Path, logs: LogRecorder) -> None:
    """Unknown kinds are ignored at DEBUG, malformed ones with a WARNING, and the message behind them is answered."""
    async with open_bot_api() as api:
        api.add(poll_answer={"poll_id": "1"})
        api.add(message=["not", "a", "message"])
        api.add(message={"message_id": "x"})
        last = api.write("hello")
        async with open_telegram_house(api, sessions_dir):
            await api.until_confirmed(last)
        assert api.texts() == ["hello"]
    assert len(logs.named("Telegram update was not understood and is ignored")) == 2
    assert logs.one("Telegram update is ignored")["level"] == "debug"


async def test_channel_update_without_an_id_is_no_busy_loop(sessions_dir: Path, logs: LogRecorder) -> None:
    """It cannot be confirmed and comes again and again: told once, polled at a walking pace, and what follows is answered."""
    async with open_bot_api() as api:
        api.always["getUpdates"] = whole(200, b'{"ok": true, "result": [{"message": {"text": "x"}}]}')
        began = trio.current_time()  # before the first poll, which may come late
        async with open_telegram_house(api, sessions_dir):
            await api.until(lambda: api.count("getUpdates") >= 4)
            assert trio.current_time() - began >= 3 * POLL_INTERVAL_SECONDS
            del api.always["getUpdates"]
            await api.until_confirmed(api.write("hello"))
            assert api.texts() == ["hello"]
    assert logs.one("Telegram delivers an update without an id")["level"] == "warning"


async def test_channel_group_message_is_replied_to(sessions_dir: Path) -> None:
    """In a group the first part of an answer is a reply to the message that it answers."""

    async def long(_messages: Sequence[Message]) -> str:
        return "x" * 5000

    async with open_bot_api() as api, open_telegram_house(api, sessions_dir, model=ScriptedModel(long)):
        await api.until_confirmed(api.write("hello", chat=GROUP))
        first, second = api.sent
        assert first["reply_parameters"] == {"message_id": 2, "allow_sending_without_reply": True}
        assert "reply_parameters" not in second
        assert [message["chat_id"] for message in api.sent] == [GROUP["id"]] * 2
    assert (sessions_dir / f"telegram_{GROUP['id']}.json").exists()


async def test_channel_typing_is_shown_while_the_answer_is_awaited(
    sessions_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins soon, its failures are nobody's concern, and it ends with the answer."""
    monkeypatch.setattr(sender, "TYPING_INTERVAL_SECONDS", PATIENCE_SECONDS)
    gate = trio.Event()
    async with open_bot_api() as api, open_telegram_house(api, sessions_dir, model=StreamingModel(gate, "hi")):
        api.fail("sendChatAction", BAD_GATEWAY)
        update_id = api.write("hello")
        await api.until(lambda: api.count("sendChatAction"))
        assert ("sendChatAction", {"chat_id": ME, "action": "typing"}) in api.calls
        gate.set()
        await api.until_confirmed(update_id)
        assert api.count("sendChatAction") == 1


# Sending --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [slow_down(3), BAD_GATEWAY, reset])
async def test_channel_reply_is_tried_again(trouble: object, sessions_dir: Path) -> None:
    """What may pass is tried again, not sooner than Telegram asks for."""
    async with open_bot_api() as api:
        api.fail("sendMessage", trouble, trouble)  # type: ignore[arg-type]
        async with open_telegram_house(api, sessions_dir) as house:
            await api.until_confirmed(api.write("hello"))
        assert api.texts() == ["hello"]
        assert len(house.naps.seconds) == 2
        if trouble not in (BAD_GATEWAY, reset):
            assert min(house.naps.seconds) >= 3


async def test_channel_reply_that_telegram_has_is_not_sent_again(sessions_dir: Path) -> None:
    """A success whose answer is cut off is a success."""
    async with open_bot_api() as api:
        api.fail("sendMessage", truncated)
        async with open_telegram_house(api, sessions_dir):
            await api.until_confirmed(api.write("hello"))
        assert api.count("sendMessage") == 1


async def test_channel_reply_to_who_blocked_the_bot_is_an_error_and_confirmed(
    sessions_dir: Path, logs: LogRecorder
) -> None:
    """The answer is recorded; that it was not delivered is logged; other chats go on."""
    logs.expect_error("Reply could not be delivered")
    async with open_bot_api() as api:
        api.fail("sendMessage", BLOCKED)
        async with open_telegram_house(api, sessions_dir) as house:
            await api.until_confirmed(api.write("hello"))
            assert await house.said() == [("user", "hello"), ("assistant", "hello")]
        assert api.sent == []
    assert "blocked by the user" in logs.one("Reply could not be delivered")["error"]


async def test_channel_reply_follows_a_group_that_moved(sessions_dir: Path) -> None:
    """A group that became a supergroup has another id; all parts of the answer go there."""
    group = {"id": -5, "type": "group", "title": "Us"}
    moved = refuse(400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=-1005)

    async def long(_messages: Sequence[Message]) -> str:
        return "x" * 5000

    async with open_bot_api() as api:
        api.fail("sendMessage", moved)
        async with open_telegram_house(api, sessions_dir, model=ScriptedModel(long)):
            await api.until_confirmed(api.write("hello", chat=group))
        assert [message["chat_id"] for message in api.sent] == [-1005, -1005]


async def test_channel_send_without_a_message_to_answer(sessions_dir: Path) -> None:
    """Something for a chat that nobody asked for is sent, too; half a surrogate pair is replaced; nothing is refused."""
    async with open_bot_api() as api, open_telegram_house(api, sessions_dir) as house:
        await house.channel.send(OutboundMessage("telegram", str(ME), "by the way \ud83d"))
        assert api.sent == [{"chat_id": ME, "text": "by the way \ufffd"}]
        with pytest.raises(ChannelError, match="nothing to see"):
            await house.channel.send(OutboundMessage("telegram", str(ME), " \n"))


async def test_channel_reply_says_how_much_of_it_was_sent(sessions_dir: Path) -> None:
    """A long answer that breaks off is told as that."""
    async with open_bot_api() as api, open_telegram_house(api, sessions_dir) as house:
        sent = 0

        def count(method: str, _values: object) -> None:
            nonlocal sent
            sent += method == "sendMessage"
            if sent == 2:
                api.always["sendMessage"] = BLOCKED

        api.on_call = count
        with pytest.raises(ChannelError, match=r"1 of 3 parts were sent; .*blocked"):
            await house.channel.send(OutboundMessage("telegram", str(ME), "x" * 10_000))

"""The agent loop with answers that come piece by piece, and with those that do not come to their end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from miniclaw.agent import inbox as inboxes
from miniclaw.agent import loop, reply
from miniclaw.agent.inbox import MAX_TURNS_PER_CHANNEL, MAX_WAITING_PER_CHAT, Inbox
from miniclaw.agent.transcript import is_mark
from miniclaw.errors import ModelError
from miniclaw.session.format.codec import decode_session
from miniclaw.session.types import ToolCall
from tests.fakes.agent import House, StreamingMailbox, StreamingModel, inbound, open_house, serve
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS

STOPPED = ("system", "[interrupted] the program was stopped before the answer was complete")


async def test_loop_pieces_reach_a_channel_that_takes_them_before_the_whole(
    sessions_dir: Path, clock: WallClock
) -> None:
    """A streaming channel gets each piece as it comes, then the whole; the session gets the whole only."""
    async with open_house(sessions_dir, clock) as house:
        channel = house.channel = StreamingMailbox()
        go_on = trio.Event()
        async with trio.open_nursery() as nursery:
            model = StreamingModel("Hel", "lo", go_on, " you")
            nursery.start_soon(serve, house.loop(model), inbound("hi"))
            await model.waiting.wait()
            assert (channel.streamed, channel.sent) == ("Hello", [])
            go_on.set()
        assert (channel.streamed, channel.sent[0].content) == ("Hello you", "Hello you")
        assert [delta.reply_to for delta in channel.deltas] == [inbound("hi")] * 3
        assert await house.said("web_a") == [("user", "hi"), ("assistant", "Hello you")]


async def test_loop_channel_without_pieces_gets_the_whole(sessions_dir: Path, clock: WallClock) -> None:
    """A channel that does not stream gets one message."""
    async with open_house(sessions_dir, clock) as house:
        await serve(house.loop(StreamingModel("Hel", "lo")), inbound("hi"))
        assert [sent.content for sent in house.channel.sent] == ["Hello"]


async def test_loop_pieces_that_cannot_be_delivered_cost_nothing_but_themselves(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """After a piece that failed no more are sent; the answer is recorded, and sent whole."""
    async with open_house(sessions_dir, clock) as house:
        channel = house.channel = StreamingMailbox(broken_after=1)
        await serve(house.loop(StreamingModel("one ", "two ", "three")), inbound("hi"))
        assert (channel.streamed, channel.sent[0].content) == ("one ", "one two three")
        assert len(logs.named("Piece of a reply could not be delivered")) == 1
        assert (await house.said("web_a"))[1] == ("assistant", "one two three")


async def test_loop_answer_that_breaks_off_is_kept_and_marked(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """What was said before the model failed is recorded, delivered with the reason behind it, and marked."""
    logs.expect_error("Model did not answer")
    async with open_house(sessions_dir, clock) as house:
        channel = house.channel = StreamingMailbox()
        model = StreamingModel("half an ", ModelError("the line is dead", detail="ECONNRESET"))
        await serve(house.loop(model), inbound("hi"))
        (sent,) = channel.sent
        assert sent.failed
        assert sent.content == "half an \n\nThe answer ends here: the line is dead"
        assert sent.content.startswith(channel.streamed)
        assert await house.said("web_a") == [
            ("user", "hi"),
            ("assistant", "half an "),
            ("system", "[interrupted] the line is dead"),
        ]
        assert model.closed
    assert logs.one("Model did not answer")["detail"] == "ECONNRESET"


@pytest.mark.parametrize("said", [[], ["  \n"]])
async def test_loop_model_that_says_nothing_is_no_answer(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, said: list[str]
) -> None:
    """An empty answer is told as one; it is not recorded as if the model had answered."""
    logs.expect_error("Model did not answer")
    async with open_house(sessions_dir, clock) as house:
        await serve(house.loop(StreamingModel(*said)), inbound("hi"))
        assert house.channel.sent[0].failed
        assert house.channel.sent[0].content.endswith("the model's answer is empty")
        assert ("user", "hi") in await house.said("web_a")


async def test_loop_endless_model_is_cut_at_a_bound(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever model answers, an answer has a greatest length; up to there it is kept."""
    logs.expect_error("Model did not answer")
    monkeypatch.setattr(reply, "MAX_REPLY_CHARS", 100)
    async with open_house(sessions_dir, clock) as house:
        await serve(house.loop(StreamingModel(*["x" * 30] * 1000)), inbound("hi"))
        assert "longer than 100 characters" in house.channel.sent[0].content
        assert (await house.said("web_a"))[1] == ("assistant", "x" * 100)


async def test_loop_bug_in_a_model_is_told_by_its_type_only(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """The person is not shown the text of a foreign exception, and what was said before it stays."""
    logs.expect_error("Model failed")
    async with open_house(sessions_dir, clock) as house:
        await serve(house.loop(StreamingModel("well, ", ValueError("/home/me"))), inbound("hi"))
        assert house.channel.sent[0].content.endswith("the model failed (ValueError)")
        assert (await house.said("web_a"))[1] == ("assistant", "well, ")


async def test_loop_calls_of_tools_are_recorded_with_the_answer(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """What the model wanted to call stands in the session; where that is all it said, the person is told."""
    logs.expect_error("Model did not answer")
    call = ToolCall("c1", "clock", "{}")
    async with open_house(sessions_dir, clock) as house:
        await serve(house.loop(StreamingModel("Let me see.", call)), inbound("hi"))
        await serve(house.loop(StreamingModel(call)), inbound("hi"))
        assert [sent.failed for sent in house.channel.sent] == [False, True]
        assert "an unknown tool (clock)" in house.channel.sent[1].content
        session = await house.manager.get_session("web_a")
        assert session is not None
        assert [message.tool_calls for message in session.messages] == [None, (call,), None, (call,)]


async def test_loop_more_calls_than_the_bound_are_cut(sessions_dir: Path, clock: WallClock, logs: LogRecorder) -> None:
    """Calls are bounded as text is."""
    logs.expect_error("Model did not answer")
    async with open_house(sessions_dir, clock) as house:
        calls = [ToolCall(str(number), "x", "") for number in range(reply.MAX_TOOL_CALLS + 1)]
        await serve(house.loop(StreamingModel(*calls)), inbound("hi"))
        assert "more than 64 tools" in house.channel.sent[0].content


# Cut by a shutdown ----------------------------------------------------------------------------------------------


async def cut(house: House, model: StreamingModel, *contents: str, chats: Sequence[str] = ("a",)) -> None:
    """Run the loop until the model waits, and cancel it; the messages are of these chats, by turns."""
    messages = Inbox()
    async with trio.open_nursery() as nursery:
        await nursery.start(house.loop(model).run, messages)
        for content, chat in zip(contents, cycle(chats), strict=False):
            await messages.send(inbound(content, chat))
        await model.waiting.wait()
        nursery.cancel_scope.cancel()


async def test_loop_cancelled_turn_is_kept_and_marked_as_interrupted(sessions_dir: Path, clock: WallClock) -> None:
    """Question, unfinished answer and mark are in the session, and survive in its file as they are."""
    async with open_house(sessions_dir, clock) as house:
        model = StreamingModel("as far as", trio.Event())
        await cut(house, model, "hi")
        assert await house.said("web_a") == [("user", "hi"), ("assistant", "as far as"), STOPPED]
        assert house.channel.sent == []
        assert model.closed
        await house.manager.save_all_sessions()
    loaded = decode_session((sessions_dir / "web_a.json").read_bytes())
    assert [is_mark(message) for message in loaded.messages] == [False, False, True]


async def test_loop_cancelled_before_the_first_piece_has_the_mark_alone(sessions_dir: Path, clock: WallClock) -> None:
    """A question without any answer is seen to be one that was cut."""
    async with open_house(sessions_dir, clock) as house:
        await cut(house, StreamingModel(trio.Event()), "hi")
        assert await house.said("web_a") == [("user", "hi"), STOPPED]


async def test_loop_cancelled_with_messages_waiting_records_them(sessions_dir: Path, clock: WallClock) -> None:
    """What was taken from a channel is never lost, also if its turn had not begun."""
    async with open_house(sessions_dir, clock) as house:
        await cut(house, StreamingModel("a", trio.Event()), "one", "two", "three")
        assert await house.said("web_a") == [
            ("user", "one"), ("assistant", "a"), STOPPED, ("user", "two"), STOPPED, ("user", "three"), STOPPED,
        ]  # fmt: skip


async def test_loop_cancelled_before_it_recorded_the_question_records_it(sessions_dir: Path, clock: WallClock) -> None:
    """A turn that is cancelled in its first step has its question recorded all the same."""
    async with open_house(sessions_dir, clock) as house:
        with trio.CancelScope() as scope:
            scope.cancel()
            await house.loop(StreamingModel("never")).handle(inbound("hi"))
        assert await house.said("web_a") == [("user", "hi"), STOPPED]


async def test_loop_cancelled_with_a_session_deleted_meanwhile_does_not_bring_it_back(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A mark is no reason for a deleted session to return."""
    async with open_house(sessions_dir, clock) as house:
        model = StreamingModel("a", trio.Event())
        inbox = Inbox()
        async with trio.open_nursery() as nursery:
            await nursery.start(house.loop(model).run, inbox)
            await inbox.send(inbound("hi"))
            await model.waiting.wait()
            await house.manager.delete_session("web_a")
            nursery.cancel_scope.cancel()
        assert await house.manager.get_session("web_a") is None
        assert logs.one("Session was deleted during the turn")["session_id"] == "web_a"


async def test_loop_cancelled_with_a_lone_surrogate_records_what_the_person_saw(
    sessions_dir: Path, clock: WallClock
) -> None:
    """An unfinished answer that no file could hold is shown and recorded with U+FFFD in place of the surrogate."""
    async with open_house(sessions_dir, clock) as house:
        channel = house.channel = StreamingMailbox()
        await cut(house, StreamingModel("abc", "\udcff", trio.Event()), "hi")
        assert channel.streamed == "abc\ufffd"
        assert await house.said("web_a") == [("user", "hi"), ("assistant", "abc\ufffd"), STOPPED]


# Floods ---------------------------------------------------------------------------------------------------------


async def test_loop_flooding_chat_does_not_starve_another(sessions_dir: Path, clock: WallClock) -> None:
    """While one chat's answer hangs and its messages pile up to their bound, another chat is answered."""
    async with open_house(sessions_dir, clock) as house, trio.open_nursery() as nursery:
        inbox = Inbox()
        model = StreamingModel("never", trio.Event())
        await nursery.start(house.loop(model).run, inbox)
        await inbox.send(inbound("first", "loud"))
        await model.waiting.wait()
        for number in range(MAX_WAITING_PER_CHAT):
            inbox.send_nowait(inbound(str(number), "loud"))
        with pytest.raises(trio.WouldBlock):
            inbox.send_nowait(inbound("one too many", "loud"))
        model.waiting = trio.Event()
        inbox.send_nowait(inbound("hello", "quiet"))
        with trio.fail_after(PATIENCE_SECONDS):
            await model.waiting.wait()
        assert await house.said("web_quiet") == [("user", "hello")]
        nursery.cancel_scope.cancel()


async def test_loop_with_all_turns_taken_lets_the_others_wait(sessions_dir: Path, clock: WallClock) -> None:
    """No more than so many chats are answered at a time; the next one comes as soon as one is done."""
    async with open_house(sessions_dir, clock) as house:
        go_on = trio.Event()
        inbox = Inbox()
        async with trio.open_nursery() as nursery:
            await nursery.start(house.loop(StreamingModel("hi", go_on)).run, inbox)
            for number in range(MAX_TURNS_PER_CHANNEL + 5):
                inbox.send_nowait(inbound("hello", str(number)))
            while house.manager.live_sessions() < MAX_TURNS_PER_CHANNEL:
                await trio.lowlevel.checkpoint()
            await wait_all_tasks_blocked()
            assert (house.manager.live_sessions(), inbox.waiting()) == (MAX_TURNS_PER_CHANNEL, 5)
            go_on.set()
            inbox.close()
        assert len(house.channel.sent) == MAX_TURNS_PER_CHANNEL + 5


async def test_loop_answer_with_a_lone_surrogate_is_sent_and_recorded_alike(
    sessions_dir: Path, clock: WallClock
) -> None:
    """Pieces, answer and session have U+FFFD in place of a surrogate, which no file or wire can hold."""
    async with open_house(sessions_dir, clock) as house:
        channel = house.channel = StreamingMailbox()
        await serve(house.loop(StreamingModel("abc", "\ud800", "d")), inbound("hi"))
        assert channel.streamed == channel.sent[0].content == "abc\ufffdd"
        assert not channel.sent[0].failed
        assert await house.said("web_a") == [("user", "hi"), ("assistant", "abc\ufffdd")]


async def test_loop_tool_call_with_a_lone_surrogate_is_recorded(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """Each text of a call is made valid, as the pieces of an answer are."""
    logs.expect_error("Model did not answer")
    async with open_house(sessions_dir, clock) as house:
        await serve(house.loop(StreamingModel(ToolCall("\ud800", "c\ud800", '"\ud800"'))), inbound("hi"))
        [_, answer] = (await house.manager.get_or_create_session("web", "a")).messages
        assert answer.tool_calls == (ToolCall("\ufffd", "c\ufffd", '"\ufffd"'),)


async def test_loop_model_error_with_a_lone_surrogate_marks_the_answer(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """The reason of a model is a text of it as well: the person gets it, and it stands in the mark."""
    logs.expect_error("Model did not answer")
    async with open_house(sessions_dir, clock) as house:
        await serve(house.loop(StreamingModel("abc", ModelError("\ud800!"))), inbound("hi"))
        assert house.channel.sent[0].content == "abc\n\nThe answer ends here: \ufffd!"
        assert await house.said("web_a") == [
            ("user", "hi"), ("assistant", "abc"), ("system", "[interrupted] \ufffd!"),
        ]  # fmt: skip


async def test_loop_cancelled_with_a_waiting_message_that_cannot_be_recorded_records_the_others(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """One message that no session can hold is an ERROR in the log and costs no other."""
    logs.expect_error("Message could not be recorded")
    async with open_house(sessions_dir, clock) as house:
        await cut(house, StreamingModel("a", trio.Event()), "one", "\udcff", "three")
        assert [text for role, text in await house.said("web_a") if role == "user"] == ["one", "three"]


async def test_loop_without_time_to_record_says_so(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recording has its deadline, too: the end of the program waits for nothing without one."""
    logs.expect_error("Messages that waited could not all be recorded before the end")
    async with open_house(sessions_dir, clock) as house:
        monkeypatch.setattr(loop, "RECORDING_SECONDS", 0)
        monkeypatch.setattr(inboxes, "MAX_TURNS_PER_CHANNEL", 1)
        # The second session is not in memory, so that the disk is asked for it.
        await cut(house, StreamingModel("a", trio.Event()), "one", "two", chats=("a", "b"))
        assert ("user", "one") in await house.said("web_a")
        assert await house.manager.get_session("web_b") is None

"""What of a conversation is sent: for any conversation and any budget the rules of the API hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.agent.context_window import MESSAGE_CHARS, TooLongError, cost, fit
from miniclaw.session.types import Message, ToolCall
from tests.fakes.openai import NOW

CALLS = [ToolCall(call_id, "clock", "{}") for call_id in "abc"]


def user(content: str) -> Message:
    return Message("user", content, NOW)


def assistant(content: str, *calls: ToolCall) -> Message:
    return Message("assistant", content, NOW, calls or None)


def result(call_id: str, content: str = "noon") -> Message:
    return Message("tool_result", content, NOW, tool_call_id=call_id)


def mark(text: str = "[interrupted] stopped") -> Message:
    return Message("system", text, NOW)


messages = st.lists(
    st.one_of(
        st.builds(user, st.text("u", max_size=20)),
        st.builds(assistant, st.text("a", max_size=20)),
        st.lists(st.sampled_from(CALLS), max_size=4).flatmap(
            lambda calls: st.builds(lambda text: assistant(text, *calls), st.text("a", max_size=5))
        ),
        st.builds(result, st.sampled_from("abcd")),
        st.just(mark()),
    ),
    max_size=25,
)


@given(messages, st.integers(0, 400))
def test_fit_any_conversation_is_one_that_the_api_takes(conversation: list[Message], budget: int) -> None:
    """It begins with the person, fits, and each call has its one result right behind it and each result its call."""
    try:
        fitting = fit(conversation, budget)
    except TooLongError:
        start = max(index for index, message in enumerate(conversation) if message.role == "user")
        assert cost(conversation[start]) > budget or len(conversation) > start + 1
        return
    assert [message for message in fitting[:1] if message.role != "user"] == []
    assert sum(map(cost, fitting)) <= budget
    open_calls: list[str] = []
    for before, message in zip([None, *fitting], fitting, strict=False):
        if message.role == "tool_result":
            assert message.tool_call_id in open_calls
            open_calls.remove(str(message.tool_call_id))
            continue
        assert open_calls == []
        assert message.role in {"user", "assistant"}
        assert before is None or before.role != message.role or message.tool_calls or before.tool_calls
        open_calls = [call.id for call in message.tool_calls or ()]
        assert len(set(open_calls)) == len(open_calls)
    assert open_calls == []


@given(messages)
def test_fit_with_room_for_all_loses_no_word_of_the_conversation(conversation: list[Message]) -> None:
    """From the person's first word on, every text of person and model is there, in its order."""
    fitting = fit(conversation, 1_000_000)
    first = next((index for index, message in enumerate(conversation) if message.role == "user"), len(conversation))
    for role in ("user", "assistant"):
        said = "".join(message.content for message in conversation[first:] if message.role == role)
        assert "".join(message.content for message in fitting if message.role == role).replace("\n", "") == said


def test_fit_takes_the_newest_whole_turns() -> None:
    """What does not fit goes turn by turn from the old end, never half a turn."""
    conversation = [user("1"), assistant("one"), user("2"), assistant("two", CALLS[0]), result("a"), user("3")]
    needed = sum(map(cost, conversation[2:]))
    assert fit(conversation, needed) == conversation[2:]
    assert fit(conversation, needed - 1) == conversation[5:]
    assert fit(conversation, needed + cost(user("1")) + cost(assistant("one"))) == conversation


def test_fit_calls_and_results_without_each_other_are_left_out() -> None:
    """An unanswered call, a result of nothing, a second result: gone; the text beside them stays."""
    conversation = [
        user("1"), assistant("x", CALLS[0], CALLS[1]), result("b"), result("b", "again"), result("d"), user("2"), result("a"),
        assistant("", CALLS[2]), user("3"),
    ]  # fmt: skip
    assert fit(conversation, 1000) == [user("1"), assistant("x", CALLS[1]), result("b"), user("2\n\n3")]


def test_fit_marks_are_not_sent_and_questions_without_answer_are_joined() -> None:
    """The sides alternate, as the templates of some models demand, also after turns that were cut."""
    conversation = [user("1"), mark(), user("2"), assistant("half"), mark(), user("3")]
    assert fit(conversation, 1000) == [user("1\n\n2"), assistant("half"), user("3")]


def test_fit_newest_message_beyond_the_budget_is_an_error() -> None:
    """A message is sent whole or not at all."""
    assert fit([user("x" * 10)], 10 + MESSAGE_CHARS) == [user("x" * 10)]
    with pytest.raises(TooLongError):
        fit([user("short"), user("x" * 11)], 10 + MESSAGE_CHARS)


def test_fit_without_a_question_is_nothing() -> None:
    """A conversation in which nobody asked has nothing to send."""
    assert fit([assistant("hello")], 100) == []
    assert fit([], 100) == []

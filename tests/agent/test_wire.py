"""Putting answers together: what servers leave out, repeat and write in their own way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.agent.openai.wire import ReplyDecoder
from miniclaw.session.types import ToolCall


def feed(*parts: dict[str, Any]) -> ReplyDecoder:
    decoder = ReplyDecoder()
    for part in parts:
        decoder.feed(json.dumps({"choices": [{"delta": part}]}))
    return decoder


def call(**fields: Any) -> dict[str, Any]:
    return {"tool_calls": [fields]}


def test_reply_decoder_calls_without_numbers_are_told_apart_by_their_ids() -> None:
    """Some servers do not number calls; a new id is a new call, and a piece without one belongs to the last."""
    decoder = feed(
        call(id="a", function={"name": "x", "arguments": '{"n"'}),
        call(function={"arguments": ": 1}"}),
        call(id="b", function={"name": "y", "arguments": "{}"}),
        call(id="a", function={"arguments": " "}),
    )
    assert decoder.calls() == [ToolCall("a", "x", '{"n": 1} '), ToolCall("b", "y", "{}")]


def test_reply_decoder_calls_without_ids_get_some() -> None:
    """A call that has no id gets one, so that its result can name it."""
    decoder = feed({"tool_calls": [{"function": {"name": "x"}}, {"function": {"name": "y"}}]})
    assert decoder.calls() != []
    assert all(call.id for call in decoder.calls())


def test_reply_decoder_name_that_is_repeated_stands_once() -> None:
    """Some servers send id and name with each piece."""
    decoder = feed(
        call(index=0, id="a", function={"name": "x", "arguments": "{"}),
        call(index=0, id="a", function={"name": "x", "arguments": "}"}),
    )
    assert decoder.calls() == [ToolCall("a", "x", "{}")]


def test_reply_decoder_arguments_as_an_object_become_text() -> None:
    """Some servers send arguments as an object, whole."""
    assert feed(call(id="a", function={"name": "x", "arguments": {"n": 1}})).calls() == [ToolCall("a", "x", '{"n":1}')]


def test_reply_decoder_refusal_is_text() -> None:
    """A model that refuses says so to the person."""
    assert ReplyDecoder().feed('{"choices":[{"delta":{"refusal":"I will not."}}]}') == "I will not."


@pytest.mark.parametrize("data", ["{}", '{"choices":null}', '{"choices":[]}', '{"choices":[{}]}', '{"error":null}'])
def test_reply_decoder_chunk_that_says_nothing_is_nothing(data: str) -> None:
    """Chunks without a choice, such as those about usage, are no error."""
    assert ReplyDecoder().feed(data) == ""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "delta", "tool_calls", "function", "index", "error", "content", "name"]), values
        )
    ),
    max_leaves=12,
)


@given(st.lists(json_values, max_size=4))
def test_reply_decoder_any_json_is_text_or_one_kind_of_error(chunks: list[Any]) -> None:
    """Whatever JSON comes, it is text or a ValueError."""
    decoder = ReplyDecoder()
    for chunk in chunks:
        try:
            assert isinstance(decoder.feed(json.dumps(chunk)), str)
            decoder.calls()
        except ValueError:
            return

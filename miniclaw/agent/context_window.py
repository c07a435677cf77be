"""The part of a conversation that a model is given. Pure.

The part consists of whole turns, the newest that fit a budget of characters. A turn is a person's message and all
messages up to the person's next one, so the part begins at a message of the person and ends where the conversation
ends. A tool call without its result is left out, and so is a result without its call. Messages of the role ``system``
are left out: they are marks (see `miniclaw.agent.transcript`) and notes for people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from miniclaw.session.types import Message, ToolCall

MESSAGE_CHARS: Final = 16
"""Cost of a message in addition to its text and its calls."""


class TooLongError(ValueError):
    """The newest turn alone exceeds the budget."""


def fit(messages: Sequence[Message], budget: int) -> list[Message]:
    """Return the newest turns that fit a budget.

    Args:
        messages: The whole conversation, oldest first. It is read from its end until the budget is used up.
        budget: In characters, inclusive; each message costs `MESSAGE_CHARS` in addition to its text and its calls.

    Raises:
        TooLongError: The newest turn alone exceeds the budget.
    """
    turns: list[list[Message]] = []
    end = len(messages)
    for start in range(len(messages) - 1, -1, -1):
        if messages[start].role != "user":
            continue
        turn = _clean(messages[start:end])
        end = start
        budget -= sum(map(cost, turn))
        if budget < 0:
            break
        turns.append(turn)
    if not turns and end < len(messages):
        raise TooLongError
    return _merge([message for turn in reversed(turns) for message in turn])


def cost(message: Message) -> int:
    """Return the cost of a message, in characters of the budget."""
    calls = sum(len(call.id) + len(call.name) + len(call.arguments) for call in message.tool_calls or ())
    return MESSAGE_CHARS + len(message.content) + calls


def _clean(turn: Sequence[Message]) -> list[Message]:
    """Return a turn without ``system`` messages, calls without results, and results without calls."""
    clean: list[Message] = []
    index = 0
    while index < len(turn):
        message = turn[index]
        index += 1
        if message.role == "user":
            clean.append(message)
        elif message.role == "assistant":
            # The results of its calls end at the next user or assistant message; a mark between them is skipped.
            results: dict[str | None, Message] = {}
            while index < len(turn) and turn[index].role in {"tool_result", "system"}:
                if turn[index].role == "tool_result":
                    results.setdefault(turn[index].tool_call_id, turn[index])
                index += 1
            calls: dict[str, ToolCall] = {}
            for call in message.tool_calls or ():
                if call.id in results:
                    calls.setdefault(call.id, call)
            if calls or message.content:
                clean.append(replace(message, tool_calls=tuple(calls.values()) or None, tool_call_id=None))
            clean.extend(results[call_id] for call_id in calls)
    return clean


def _merge(messages: Sequence[Message]) -> list[Message]:
    """Join consecutive messages of one side: the templates of some models require that the sides alternate."""
    merged: list[Message] = []
    for message in messages:
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.role == message.role != "tool_result"
            and not (last.tool_calls or message.tool_calls)
        ):
            merged[-1] = replace(last, content=f"{last.content}\n\n{message.content}")
        else:
            merged.append(message)
    return merged

"""What of a conversation a model is given. Pure.

It begins at a message of the person, ends where the conversation ends, holds whole turns, and fits a budget of
characters: the newest turns that do. A turn is what a person wrote and what followed until they wrote again. A result
of a tool stands only behind its call, and a call only before its result: what lacks the other is left out. Messages of
the role ``system`` are not part of it: they are marks (see `miniclaw.agent.transcript`) and notes for people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from miniclaw.session.types import Message, ToolCall

MESSAGE_CHARS: Final = 16
"""What a message costs besides its text."""


class TooLongError(ValueError):
    """The newest turn alone does not fit."""


def fit(messages: Sequence[Message], budget: int) -> list[Message]:
    """Return the newest turns that fit a budget.

    Args:
        messages: The whole conversation, oldest first. Only as much of its end is looked at as is needed.
        budget: In characters, inclusive; each message costs `MESSAGE_CHARS` besides its text and its calls.

    Raises:
        TooLongError: Not even the newest turn fits.
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
    """Return how many characters of the budget a message takes."""
    calls = sum(len(call.id) + len(call.name) + len(call.arguments) for call in message.tool_calls or ())
    return MESSAGE_CHARS + len(message.content) + calls


def _clean(turn: Sequence[Message]) -> list[Message]:
    """Return a turn without notes, and without calls and results that lack each other."""
    clean: list[Message] = []
    index = 0
    while index < len(turn):
        message = turn[index]
        index += 1
        if message.role == "user":
            clean.append(message)
        elif message.role == "assistant":
            # The results of its calls are those until somebody speaks again; a mark between them is none.
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
    """Join what one side said in several messages: the templates of some models demand that the sides alternate."""
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

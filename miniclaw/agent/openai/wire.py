"""The wire format of OpenAI's chat completions, as far as miniclaw uses it. Pure.

The request: https://platform.openai.com/docs/api-reference/chat/create. The response, piece by piece:
https://platform.openai.com/docs/api-reference/chat-streaming. Servers omit some fields and add others, so fields that
are not needed are not checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from miniclaw.session.types import Message, ToolCall

MAX_ARGUMENTS_CHARS: Final = 256 * 1024
"""Most characters of the arguments, ids and names of all calls in an answer together, inclusive."""

MAX_CALLS: Final = 64
"""Most calls in one answer, inclusive."""


# Request --------------------------------------------------------------------------------------------------------


def encode_request(model: str, messages: Sequence[Message], system: str | None) -> bytes:
    """Return the body of a request.

    Args:
        model: The server's name of the model.
        messages: The part of the conversation that `miniclaw.agent.context_window.fit` returns.
        system: The system prompt, if any.
    """
    wire = [{"role": "system", "content": system}] if system else []
    return msgspec.json.encode({"model": model, "stream": True, "messages": [*wire, *map(_to_wire, messages)]})


def _to_wire(message: Message) -> dict[str, Any]:
    if message.role == "tool_result":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content}
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        wire["content"] = message.content or None
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _object(call.arguments)}}
            for call in message.tool_calls
        ]
    return wire


def _object(arguments: str) -> str:
    """Return the arguments if they are a JSON object, else ``{}``: some servers refuse malformed ones."""
    try:
        msgspec.json.decode(arguments, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        return "{}"
    return arguments


# Response -------------------------------------------------------------------------------------------------------


_NULL: Final = msgspec.Raw(b"null")


class _Function(Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _Call(Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Part(Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Struct):
    delta: _Part | None = None
    message: _Part | None = None  # of an answer that is not streamed
    finish_reason: str | None = None


class _Chunk(Struct):
    choices: list[_Choice] | None = None
    error: msgspec.Raw = _NULL


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class ServerError(ValueError):
    """An error that the server reports, in its own words, which are not for the person."""


class ReplyDecoder:
    """Assembles an answer from its chunks.

    Attributes:
        finish_reason: The server's name for the reason of the answer's end; None: the answer has not ended.
    """

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self._calls: dict[int, list[str]] = {}  # id, name, arguments, by the server's number
        self._chars = 0

    def feed(self, data: bytes | str) -> str:
        """Take a chunk and return the text in it.

        Raises:
            ServerError: The chunk reports an error.
            ValueError: The chunk is malformed, or the calls exceed a bound; the text gives the problem.
        """
        try:
            chunk = _decode_chunk(data)
        except msgspec.ValidationError as error:
            raise ValueError("JSON of another kind") from error
        except (ValueError, RecursionError) as error:
            raise ValueError("something that is no JSON") from error
        if bytes(chunk.error) != b"null":
            raise ServerError(bytes(chunk.error).decode(errors="replace"))
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        part = choice.delta or choice.message or _Part()
        for position, call in enumerate(part.tool_calls or ()):
            self._take_call(position, call)
        self.finish_reason = choice.finish_reason or self.finish_reason
        return (part.content or "") + (part.refusal or "")

    @property
    def began(self) -> bool:
        """True if the answer has a call so far."""
        return bool(self._calls)

    def calls(self) -> list[ToolCall]:
        """Return the calls, which are complete once the answer is.

        Raises:
            ValueError: A call has no name.
        """
        calls = [self._calls[index] for index in sorted(self._calls)]
        if not all(name for _, name, _ in calls):
            raise ValueError("a call of a tool without a name")
        return [
            ToolCall(call_id or f"call_{number}", name, arguments)
            for number, (call_id, name, arguments) in enumerate(calls)
        ]

    def _take_call(self, position: int, piece: _Call) -> None:
        index = piece.index if piece.index is not None else self._index_of(position, piece)
        call = self._calls.setdefault(index, ["", "", ""])
        if len(self._calls) > MAX_CALLS:
            raise ValueError(f"more than {MAX_CALLS} calls of tools")
        function = piece.function or _Function()
        arguments = function.arguments or ""
        if isinstance(arguments, dict):  # some servers send an object
            arguments = msgspec.json.encode(arguments).decode()
        name = function.name or ""
        # Id and name come once, in the first piece; some servers repeat them.
        call[0], call[1] = call[0] or piece.id or "", call[1] or name
        call[2] += arguments
        self._chars += len(piece.id or "") + len(name) + len(arguments)
        if self._chars > MAX_ARGUMENTS_CHARS:
            raise ValueError(f"calls of tools with more than {MAX_ARGUMENTS_CHARS:,} characters")

    def _index_of(self, position: int, piece: _Call) -> int:
        """Return the index of a call for a server that sends none: a new id is a new call."""
        known = [index for index, call in self._calls.items() if piece.id is None or call[0] == piece.id]
        if piece.id is None:
            return max(known, default=position)
        return known[0] if known else len(self._calls)

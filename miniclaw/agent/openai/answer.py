"""The answer of an OpenAI-compatible server: HTTP chunks in, pieces of text and calls of tools out.

All input from a server is bounded: the answer and each event in bytes, the calls, the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Final

import httpx2
import trio

from miniclaw.agent.models import ModelEvent
from miniclaw.agent.openai.sse import EventDecoder
from miniclaw.agent.openai.wire import ReplyDecoder, ServerError
from miniclaw.errors import ModelError
from miniclaw.formats import format_duration
from miniclaw.http_client import END_SECONDS, describe, read_some, shorten
from miniclaw.secret import Secret, StreamRedactor

MAX_STREAM_BYTES: Final = 64 * 1024 * 1024
"""Largest streamed answer, inclusive. An event of some hundred bytes carries a piece of a few letters."""

MAX_WHOLE_BYTES: Final = 4 * 1024 * 1024
"""Largest answer of a server that does not stream, inclusive."""

MAX_ERROR_BYTES: Final = 64 * 1024
"""Most bytes read of a response that reports an error, inclusive."""

_DONE: Final = "[DONE]"


class Answer:
    """An asynchronous iterator over the parts of an answer.

    Args:
        response: The response, with its head read and status 200; the caller closes it.
        chunks: The response's content; the caller closes it.
        secret: Removed from the text, should the server send it back.
        asked: Time on trio's clock of the question.
        turn_timeout: Time limit for the whole answer, from the question on.
    """

    def __init__(
        self,
        response: httpx2.Response,
        chunks: AsyncGenerator[bytes, None],
        *,
        secret: Secret | None,
        asked: float,
        turn_timeout: timedelta,
    ) -> None:
        self._chunks = chunks
        self._asked = asked
        self._turn_timeout = turn_timeout
        self._streams = _streams(response)
        self._events = EventDecoder()
        self._reply = ReplyDecoder()
        self._redactor = StreamRedactor(secret)
        self._ready: deque[ModelEvent] = deque()
        self._bytes = 0
        self._ended = False
        self._failure: ModelError | None = None  # raised once the parts before it are taken

    def __aiter__(self) -> AsyncIterator[ModelEvent]:
        return self

    async def __anext__(self) -> ModelEvent:
        while not self._ready:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                # The stream has no further content: its end is read so that the connection can be used again.
                with trio.move_on_after(END_SECONDS), suppress(httpx2.HTTPError):
                    await anext(self._chunks, None)
                raise StopAsyncIteration
            try:
                with trio.fail_at(self._asked + self._turn_timeout.total_seconds()):
                    await self._read()
            except trio.TooSlowError:
                within = format_duration(self._turn_timeout)
                self._fail(ModelError(f"the model did not finish its answer within {within}", kind="timeout"))
            except httpx2.HTTPError as error:
                broke = "the connection to the model's server broke off"
                self._fail(ModelError(broke, detail=describe(error), kind="broken_off"))
        return self._ready.popleft()

    async def wait_for_first(self) -> None:
        """Read until the answer begins, or is over.

        Raises:
            httpx2.HTTPError: The connection failed before that.
            ModelError: The response is no answer.
        """
        while not (self._ready or self._reply.began or self._ended or self._failure):
            await self._read()
        if self._failure is not None and not self._ready:
            raise self._failure

    async def _read(self) -> None:
        """Read the next bytes, or the end of the content."""
        await trio.lowlevel.checkpoint()
        if not self._streams:
            data, complete = await read_some(self._chunks, MAX_WHOLE_BYTES)
            if complete:
                self._take(data)
                self._finish()
            else:
                self._fail(no_answer(f"more than {MAX_WHOLE_BYTES:,} bytes at once"))
            return
        chunk = await anext(self._chunks, None)
        if chunk is None:
            self._end_of_stream()
            return
        self._bytes += len(chunk)
        try:
            for event in self._events.feed(chunk):
                self._take(event)
        except ValueError as error:
            self._fail(no_answer(str(error)))
        if self._bytes > MAX_STREAM_BYTES:
            self._fail(no_answer(f"more than {MAX_STREAM_BYTES:,} bytes"))

    def _take(self, data: str | bytes) -> None:
        if self._ended or self._failure:
            return
        if isinstance(data, str) and data.strip() == _DONE:
            self._finish()
            return
        try:
            text = self._redactor.feed(self._reply.feed(data))
        except ServerError as error:
            reported = "the model's server reported an error"
            self._fail(ModelError(reported, detail=shorten(str(error)), kind="server_error"))
        except ValueError as error:
            self._fail(no_answer(str(error), detail=shorten(str(error.__cause__ or error))))
        else:
            if text:
                self._ready.append(text)

    def _end_of_stream(self) -> None:
        # Some servers omit the last event, [DONE]. A stream without it and without a finish reason was cut short.
        if self._reply.finish_reason:
            self._finish()
        elif self._bytes:
            cut = "the model's server broke off before the answer was complete"
            self._fail(ModelError(cut, kind="broken_off"))
        else:
            self._fail(ModelError("the model's server sent nothing", kind="invalid_answer"))

    def _finish(self) -> None:
        if self._ended or self._failure:
            return
        self._ended = True
        self._flush()
        try:
            self._ready.extend(self._reply.calls())
        except ValueError as error:
            self._fail(no_answer(str(error)))

    def _fail(self, failure: ModelError) -> None:
        if self._failure is None:
            self._failure = failure
            self._flush()

    def _flush(self) -> None:
        if rest := self._redactor.flush():
            self._ready.append(rest)


def _streams(response: httpx2.Response) -> bool:
    """Return whether the answer is a stream of events; False: it is one JSON document.

    Raises:
        ModelError: It is neither.
    """
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type in {"text/event-stream", ""}:
        return True
    if content_type == "application/json":
        return False
    raise no_answer(f"{shorten(content_type)[:60]}; is base_url right?")


def no_answer(what: str, *, detail: str | None = None) -> ModelError:
    """Return the error for a response that is no answer."""
    return ModelError(f"the model's server sent what is no answer: {what}", detail=detail, kind="invalid_answer")

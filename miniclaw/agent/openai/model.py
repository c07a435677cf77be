"""Models behind an OpenAI-compatible server: Ollama, llama.cpp, vLLM, OpenRouter, OpenAI and others.

A question is asked again after status 429, after 5xx, and after a connection that
failed, unless a part of the answer has come. It is never asked again after another 4xx, since the response would be the
same.

Importing this module needs httpx2, the extra ``openai``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import httpx2
import trio

from miniclaw.agent.context_window import TooLongError, fit
from miniclaw.agent.models import ModelEvent
from miniclaw.agent.openai.answer import MAX_ERROR_BYTES, Answer, no_answer
from miniclaw.agent.openai.wire import encode_request
from miniclaw.agent.system_prompt import SystemPromptError, read_system_prompt
from miniclaw.backoff import delay_seconds, parse_retry_after
from miniclaw.clock import Now, utc_now
from miniclaw.config.model import ModelConfig
from miniclaw.errors import ModelError, ModelErrorKind
from miniclaw.formats import format_duration
from miniclaw.http_client import UNREACHABLE, describe, open_post, read_some, shorten
from miniclaw.loggers import get_logger
from miniclaw.secret import Secret
from miniclaw.session.types import Message

FIRST_DELAY_SECONDS: Final = 0.5
MAX_DELAY_SECONDS: Final = 8.0
"""Longest delay chosen here; a server may ask for a longer one."""

log: Final = get_logger("miniclaw.agent.openai")


class _TemporaryError(ModelError):
    """The failure of an attempt that may succeed the next time; no part of the answer has come."""

    retry_after: float | None = None  # seconds that the server asks to wait


class OpenAIModel:
    """Asks a server that speaks OpenAI's chat completions; implements `miniclaw.agent.models.Model`.

    Args:
        client: The HTTP client, shared by all chats; the caller closes it.
        config: The server, the model and the deadlines.
        key: The key for the server; None: requests carry none.
        system_prompt: Path of the system prompt; the file may be missing.
        clock: The wall clock.
        sleep: Waits between attempts.
    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        config: ModelConfig,
        *,
        key: Secret | None,
        system_prompt: Path,
        clock: Now = utc_now,
        sleep: Callable[[float], Awaitable[None]] = trio.sleep,
    ) -> None:
        self.name: str = f"openai/{config.model}"
        self._client = client
        self._config = config
        self._key = key
        self._system_prompt = system_prompt
        self._clock = clock
        self._sleep = sleep
        self._url = f"{config.base_url}/chat/completions"

    @asynccontextmanager
    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        """Ask the server for the answer (`Model.stream`). It has begun, or is over, when the block begins."""
        asked = trio.current_time()
        async with AsyncExitStack() as stack:
            try:
                with trio.fail_at(asked + self._config.first_token_timeout.total_seconds()):
                    answer = await self._ask(messages, stack, asked)
            except trio.TooSlowError:
                within = format_duration(self._config.first_token_timeout)
                raise ModelError(f"the model did not begin to answer within {within}", kind="timeout") from None
            yield answer

    async def _ask(self, messages: Sequence[Message], stack: AsyncExitStack, asked: float) -> Answer:
        """Ask until the answer begins; resources to be closed after the answer are pushed to the stack."""
        body = await self._body(messages)
        deadline = asked + self._config.first_token_timeout.total_seconds()
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._attempt(body, stack, asked)
            except _TemporaryError as error:
                delay = delay_seconds(
                    attempt,
                    first=FIRST_DELAY_SECONDS,
                    longest=MAX_DELAY_SECONDS,
                    chance=None,
                    retry_after=error.retry_after,
                )
                if attempt > self._config.max_retries or trio.current_time() + delay >= deadline:
                    raise
                log.info(
                    "Model is asked again",
                    model=self.name, attempt=attempt, delay_seconds=round(delay, 3),
                    error=str(error), detail=error.detail,
                )  # fmt: skip
            await self._sleep(delay)

    async def _body(self, messages: Sequence[Message]) -> bytes:
        budget = self._config.history_budget
        try:
            read = partial(read_system_prompt, self._system_prompt, budget // 2)
            system = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
            fitting = fit(messages, budget - len(system or ""))
        except SystemPromptError as error:
            raise ModelError(f"the system prompt cannot be used: {error}", kind="prompt") from error
        except TooLongError:
            too_long = f"the message is longer than history_budget, {budget:,} characters"
            raise ModelError(too_long, kind="prompt") from None
        return encode_request(self._config.model or "", fitting, system)

    async def _attempt(self, body: bytes, stack: AsyncExitStack, asked: float) -> Answer:
        headers = {"accept": "text/event-stream"}
        if self._key is not None:
            headers["authorization"] = f"Bearer {self._key.reveal()}"
        try:
            async with AsyncExitStack() as opened:
                response, chunks = await opened.enter_async_context(open_post(self._client, self._url, body, headers))
                if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
                    raise no_answer("something compressed")
                if response.status_code != 200:
                    data, _ = await read_some(chunks, MAX_ERROR_BYTES)
                    raise self._refused(response, data)
                answer = Answer(response, chunks, secret=self._key, asked=asked, turn_timeout=self._config.turn_timeout)
                await answer.wait_for_first()
                stack.push_async_exit(opened.pop_all())
                return answer
        except UNREACHABLE as error:
            missing = "the model's server cannot be reached"
            raise _TemporaryError(missing, detail=describe(error), kind="unreachable") from None
        except (httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
            broke = "the connection to the model's server broke off"
            raise _TemporaryError(broke, detail=describe(error), kind="broken_off") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            not_asked = "the model's server could not be asked"
            raise ModelError(not_asked, detail=describe(error), kind="unreachable") from None

    def _refused(self, response: httpx2.Response, data: bytes) -> ModelError:
        """Return the error to raise for a response with an error status."""
        status = response.status_code
        kind, reason = self._trouble(status)
        detail = shorten(f"HTTP {status}: {data.decode(errors='replace')}")
        if not is_worth_a_retry(status):
            return ModelError(reason, detail=detail, kind=kind)
        error = _TemporaryError(reason, detail=detail, kind=kind)
        error.retry_after = parse_retry_after(response.headers.get("retry-after"), self._clock())
        return error

    def _trouble(self, status: int) -> tuple[ModelErrorKind, str]:
        if status in {401, 403}:
            return "unauthorized", f"the model's server {'refused the' if self._key else 'wants a'} key (HTTP {status})"
        if status == 404:
            return (
                "refused",
                f"the model's server does not know {self._config.model!r}, or base_url is wrong (HTTP 404)",
            )
        if status == 429:
            busy = "the model's server is asked too often or its quota is used up (HTTP 429); try again later"
            return "rate_limited", busy
        if 300 <= status <= 399:
            elsewhere = f"the model's server sends elsewhere (HTTP {status}); base_url has to be the address itself"
            return "refused", elsewhere
        if status >= 500:
            return "server_error", f"the model's server has trouble (HTTP {status}); try again later"
        return "refused", f"the model's server refused the question (HTTP {status})"


def is_worth_a_retry(status: int) -> bool:
    """Return whether a request with this response status may succeed the next time."""
    return status == 429 or 500 <= status <= 599

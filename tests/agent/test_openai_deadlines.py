"""Models over HTTP, against a real server on loopback: when a question is asked again, and when it is given up."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from miniclaw.session.types import Message
from tests.fakes.logs import LogRecorder
from tests.fakes.model_server import NONE, Exchange, Headers, Script, open_model_server, saying, unused_port
from tests.fakes.openai import NOW, open_asker

# Asking again ---------------------------------------------------------------------------------------------------


def failing(status: int, headers: Headers = NONE) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.fail(status, headers=headers)

    return script


async def reset(exchange: Exchange) -> None:
    await exchange.reset()


async def hang_up(exchange: Exchange) -> None:
    """Close without a word."""


async def break_off_before_the_answer(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})


@pytest.mark.parametrize(
    "trouble", [failing(429), failing(500), failing(503), reset, hang_up, break_off_before_the_answer]
)
async def test_openai_trouble_that_may_pass_is_tried_again(trouble: Script, logs: LogRecorder) -> None:
    """429, 5xx and connections that break before the answer are asked again, after a wait, and that is logged."""
    async with open_model_server(trouble, saying("hi")) as server, open_asker(server.base_url) as asker:
        heard = await asker.ask()
        assert (heard.text, heard.error) == ("hi", None)
        assert [request.body for request in server.requests] == [server.requests[0].body] * 2
    assert len(asker.delays) == 1
    assert 0.25 <= asker.delays[0] <= 0.5
    assert logs.one("Model is asked again")["attempt"] == 1


async def test_openai_server_that_is_not_there_is_tried_again_and_then_told() -> None:
    """A refused connection is asked again, longer each time, and then it is an error."""
    async with open_asker(f"http://127.0.0.1:{await unused_port()}/v1", max_retries=3) as asker:
        heard = await asker.ask()
    assert str(heard.error) == "the model's server cannot be reached"
    assert len(asker.delays) == 3
    assert all(low <= delay <= 2 * low for delay, low in zip(asker.delays, (0.25, 0.5, 1.0), strict=True))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 422])
async def test_openai_other_4xx_is_never_tried_again(status: int) -> None:
    """What would be refused again is not asked again; the sentence has the status, the log what the server said."""
    async with open_model_server(failing(status)) as server, open_asker(server.base_url) as asker:
        heard = await asker.ask()
        assert len(server.requests) == 1
    assert heard.error is not None
    assert f"(HTTP {status})" in str(heard.error)
    assert heard.error.detail == f'HTTP {status}: {{"error": {{"message": "no"}}}}'


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("Mon, 23 Nov 2026 12:00:11 GMT", 11.0), ("Mon, 23 Nov 2026 11:00:00 GMT", None)],
)
async def test_openai_retry_after_is_respected(header: str, seconds: float | None) -> None:
    """A server says how long to wait, in seconds or as a date; a date that is past means nothing."""
    async with (
        open_model_server(failing(429, {"Retry-After": header}), saying("hi")) as server,
        open_asker(server.base_url) as asker,
    ):
        assert (await asker.ask()).text == "hi"
    assert asker.delays == [seconds] if seconds else asker.delays[0] <= 0.5


async def test_openai_retry_after_beyond_the_deadline_is_told_at_once() -> None:
    """Nobody waits for an answer that would come too late."""
    async with open_model_server(failing(503, {"retry-after": "3600"})) as server, open_asker(server.base_url) as asker:
        heard = await asker.ask()
        assert len(server.requests) == 1
    assert "try again later" in str(heard.error)
    assert asker.delays == []


async def test_openai_no_retry_once_the_answer_has_begun() -> None:
    """What the person has seen is never asked for a second time; it is kept and the break is told."""

    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("half an ")
        await wait_all_tasks_blocked()
        await exchange.reset()

    async with open_model_server(script) as server, open_asker(server.base_url) as asker:
        heard = await asker.ask()
        assert len(server.requests) == 1
    assert heard.text == "half an "
    assert str(heard.error) == "the connection to the model's server broke off"


async def test_openai_no_retries_configured_asks_once() -> None:
    """max_retries = 0 is never."""
    async with open_model_server(failing(500)) as server, open_asker(server.base_url, max_retries=0) as asker:
        assert "HTTP 500" in str((await asker.ask()).error)
        assert len(server.requests) == 1


# Deadlines ------------------------------------------------------------------------------------------------------


async def test_openai_first_token_deadline_holds_over_comments_and_empty_pieces(mock_clock: MockClock) -> None:
    """A server that only says that it is alive has not begun to answer."""
    alive = trio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(b": still working\n\n")
        await exchange.event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        alive.set()
        await trio.sleep_forever()

    async with (
        open_model_server(script) as server,
        open_asker(server.base_url, first_token_timeout=timedelta(seconds=30)) as asker,
        trio.open_nursery() as nursery,
    ):

        async def jump() -> None:
            await alive.wait()
            mock_clock.jump(30)

        nursery.start_soon(jump)
        heard = await asker.ask()
    assert str(heard.error) == "the model did not begin to answer within 30s"


async def test_openai_turn_deadline_cuts_an_endless_answer(mock_clock: MockClock) -> None:
    """An answer that goes on and on is cut at its deadline; what came is kept."""

    async def script(exchange: Exchange) -> None:
        await exchange.head()
        while True:
            await exchange.say("more ")
            await wait_all_tasks_blocked()
            mock_clock.jump(10)

    async with (
        open_model_server(script) as server,
        open_asker(
            server.base_url, first_token_timeout=timedelta(seconds=60), turn_timeout=timedelta(seconds=60)
        ) as asker,
    ):
        heard = await asker.ask()
    assert str(heard.error) == "the model did not finish its answer within 1m"
    assert 4 <= len(heard.pieces) <= 7


async def test_openai_slow_reader_is_not_cut_by_the_deadline(mock_clock: MockClock) -> None:
    """The deadline is the server's: what was received before it can be read after it, at leisure."""
    async with (
        open_model_server(saying("one ", "two")) as server,
        open_asker(server.base_url) as asker,
        asker.model.stream([Message("user", "hello", NOW)]) as events,
    ):
        await server.quiet.wait()
        assert await anext(events) == "one "
        mock_clock.jump(599)
        assert [event async for event in events] == ["two"]

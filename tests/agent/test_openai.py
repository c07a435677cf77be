"""Models over HTTP, against a real server on loopback: what is asked, what is answered, and when it is asked again."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from miniclaw.session.types import Message, ToolCall
from tests.fakes.logs import LogRecorder
from tests.fakes.model_server import NONE, Exchange, Headers, Script, open_model_server, saying, unused_port
from tests.fakes.openai import KEY, NOW, open_asker


async def test_openai_answer_comes_piece_by_piece() -> None:
    """Each piece can be had while the server has not sent the next one."""
    go_on = trio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("Hel", "lo ")
        await go_on.wait()
        await exchange.say("you")
        await exchange.end()

    heard = []
    async with (
        open_model_server(script) as server,
        open_asker(server.base_url) as asker,
        asker.model.stream([Message("user", "hello", NOW)]) as events,
    ):
        async for event in events:
            heard.append(event)
            if heard == ["Hel", "lo "]:
                go_on.set()
    assert heard == ["Hel", "lo ", "you"]


async def test_openai_request_is_what_the_api_wants() -> None:
    """Address, key, model, streaming, roles and calls are as the API has them."""
    call = ToolCall("c1", "clock", '{"zone": "UTC"}')
    async with open_model_server(saying("fine")) as server, open_asker(server.base_url) as asker:
        messages = [
            Message("user", "what time is it?", NOW),
            Message("assistant", "", NOW, (call,)),
            Message("tool_result", "noon", NOW, tool_call_id="c1"),
            Message("assistant", "noon", NOW),
            Message("user", "and now?", NOW),
        ]
        async with asker.model.stream(messages) as events:
            assert [event async for event in events] == ["fine"]
        (request,) = server.requests
    assert request.target == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    wire_call = {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": '{"zone": "UTC"}'}}
    assert request.body == {
        "model": "tiny",
        "stream": True,
        "messages": [
            {"role": "user", "content": "what time is it?"},
            {"role": "assistant", "content": None, "tool_calls": [wire_call]},
            {"role": "tool", "tool_call_id": "c1", "content": "noon"},
            {"role": "assistant", "content": "noon"},
            {"role": "user", "content": "and now?"},
        ],
    }


async def test_openai_without_key_sends_none() -> None:
    """A server at home needs no key and gets none."""
    async with open_model_server(saying("hi")) as server, open_asker(server.base_url, key=None) as asker:
        assert (await asker.ask()).text == "hi"
        assert "authorization" not in server.requests[0].headers


async def test_openai_connection_is_used_again() -> None:
    """One client serves all turns: a second question takes the connection of the first."""

    async def script(exchange: Exchange) -> None:
        exchange.keeps_open = True
        await saying("hi")(exchange)

    async with open_model_server(script) as server, open_asker(server.base_url) as asker:
        for _ in range(3):
            assert (await asker.ask()).text == "hi"
            await wait_all_tasks_blocked()
        assert (len(server.requests), server.connections) == (3, 1)


async def test_openai_cookies_are_not_kept() -> None:
    """What a server wants remembered is not."""

    async def script(exchange: Exchange) -> None:
        await exchange.head(headers={"set-cookie": "who=you; Path=/"})
        await exchange.say("hi")
        await exchange.end()

    async with open_model_server(script) as server, open_asker(server.base_url) as asker:
        await asker.ask()
        await asker.ask()
        assert "cookie" not in server.requests[1].headers


async def test_openai_system_prompt_leads_and_a_change_holds_at_once(tmp_path: Path) -> None:
    """SYSTEM.md stands before the conversation, as it is at that moment."""
    prompt = tmp_path / "SYSTEM.md"
    async with (
        open_model_server(saying("hi")) as server,
        open_asker(server.base_url, system_prompt=prompt) as asker,
    ):
        await asker.ask("one")
        for text in ("Be brief.", "Be kind.\n"):
            prompt.write_text(text)
            await asker.ask("one")
        prompt.write_bytes(b"\xff")
        heard = await asker.ask("one")
        sent = [[message["content"] for message in request.body["messages"]] for request in server.requests]
    assert sent == [["one"], ["Be brief.", "one"], ["Be kind.", "one"]]
    assert "SYSTEM.md is not UTF-8" in str(heard.error)


async def test_openai_history_fits_the_budget_with_the_system_prompt(tmp_path: Path) -> None:
    """System prompt and conversation together stay within the budget; a message beyond it is not asked."""
    prompt = tmp_path / "SYSTEM.md"
    prompt.write_text("s" * 400)
    async with (
        open_model_server(saying("hi")) as server,
        open_asker(server.base_url, system_prompt=prompt, history_budget=1000) as asker,
    ):
        messages = [Message("user", "a" * 300, NOW), Message("assistant", "b", NOW), Message("user", "c" * 300, NOW)]
        async with asker.model.stream(messages) as events:
            assert [event async for event in events] == ["hi"]
        too_long = await asker.ask("x" * 585)
        just = await asker.ask("x" * 584)
        sent = [[message["content"][0] for message in request.body["messages"]] for request in server.requests]
    assert "history_budget, 1,000 characters" in str(too_long.error)
    assert just.error is None
    assert sent == [["s", "c"], ["s", "x"]]


async def test_openai_tool_calls_in_pieces_come_whole() -> None:
    """Calls that are streamed in pieces, several at a time, come after the text, each whole."""
    pieces = [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "clock", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"zo'}},
        {"index": 1, "id": "b", "function": {"name": "weather", "arguments": "{}"}},
        {"index": 0, "function": {"arguments": 'ne": 1}'}},
    ]

    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.event({"choices": [{"delta": {"role": "assistant", "content": None}}]})
        for piece in pieces:
            await exchange.event({"choices": [{"delta": {"tool_calls": [piece]}}]})
        await exchange.end("tool_calls")

    async with open_model_server(script) as server, open_asker(server.base_url) as asker:
        heard = await asker.ask()
    assert heard.error is None
    assert heard.calls == [ToolCall("a", "clock", '{"zone": 1}'), ToolCall("b", "weather", "{}")]


async def test_openai_server_that_does_not_stream_is_understood() -> None:
    """A whole answer in one JSON document is an answer, too."""

    async def script(exchange: Exchange) -> None:
        await exchange.head(content_type="application/json; charset=utf-8")
        await exchange.chunk(b'{"choices": [{"message": {"role": "assistant", "content": "whole"}}]}')
        await exchange.close_chunks()

    async with open_model_server(script) as server, open_asker(server.base_url) as asker:
        heard = await asker.ask()
    assert (heard.text, heard.error) == ("whole", None)


async def test_openai_stream_without_its_last_event_is_complete_once_the_model_finished() -> None:
    """[DONE] may be missing where the model has said that it is done."""

    async def script(exchange: Exchange) -> None:
        await exchange.head(content_type=None)
        await exchange.event({"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}]})
        await exchange.event({"choices": [], "usage": {"total_tokens": 3}})
        await exchange.close_chunks()

    async with open_model_server(script) as server, open_asker(server.base_url) as asker:
        heard = await asker.ask()
    assert (heard.text, heard.error) == ("hi", None)


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


async def test_openai_left_early_closes_its_connection() -> None:
    """A turn that is cancelled, or wants no more, leaves no connection behind."""

    async def script(exchange: Exchange) -> None:
        await exchange.head()
        while True:
            await exchange.say("more ")
            await wait_all_tasks_blocked()

    with trio.fail_after(20):
        async with open_model_server(script) as server, open_asker(server.base_url) as asker:
            for cancels in (True, False):
                with trio.CancelScope() as scope:
                    async with asker.model.stream([Message("user", "hello", NOW)]) as events:
                        assert await anext(events) == "more "
                        if cancels:
                            scope.cancel()
                            await trio.lowlevel.checkpoint()
                await server.quiet.wait()
            assert server.connections == 2


async def test_openai_questions_run_at_the_same_time() -> None:
    """More chats than connections are kept can be answered at once."""
    asked = 0
    all_asked = trio.Event()

    async def script(exchange: Exchange) -> None:
        nonlocal asked
        asked += 1
        if asked == 20:
            all_asked.set()
        await all_asked.wait()
        await saying("hi")(exchange)

    with trio.fail_after(20):
        async with (
            open_model_server(script) as server,
            open_asker(server.base_url) as asker,
            trio.open_nursery() as nursery,
        ):
            for _ in range(20):
                nursery.start_soon(asker.ask)


async def test_openai_library_logs_no_addresses(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever listens to the standard library's log hears nothing of addresses and headers."""
    caplog.set_level(logging.DEBUG)
    async with open_model_server(saying("hi")) as server, open_asker(server.base_url) as asker:
        await asker.ask()
    assert [record for record in caplog.records if record.name.startswith(("httpx2", "httpcore2"))] == []


def test_openai_request_body_is_json_that_any_server_reads() -> None:
    """Arguments that a model wrote wrongly once do not spoil the conversation for ever."""
    from miniclaw.agent.wire import encode_request

    for arguments in ('{"half', "[]", "", "\udcff", "[" * 100_000):
        call = ToolCall("a", "clock", arguments)
        body = json.loads(encode_request("m", [Message("assistant", "x", NOW, (call,))], None))
        assert body["messages"][0]["tool_calls"][0]["function"]["arguments"] == "{}"

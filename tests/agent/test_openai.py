"""Models over HTTP, against a real server on loopback: what is asked and what is answered."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from miniclaw.session.types import Message, ToolCall
from tests.fakes.model_server import Exchange, open_model_server, saying
from tests.fakes.openai import KEY, NOW, open_asker
from tests.fakes.patience import PATIENCE_SECONDS


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


async def test_openai_left_early_closes_its_connection() -> None:
    """A turn that is cancelled, or wants no more, leaves no connection behind."""

    async def script(exchange: Exchange) -> None:
        await exchange.head()
        while True:
            await exchange.say("more ")
            await wait_all_tasks_blocked()

    with trio.fail_after(PATIENCE_SECONDS):
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

    with trio.fail_after(PATIENCE_SECONDS):
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
    from miniclaw.agent.openai.wire import encode_request

    for arguments in ('{"half', "[]", "", "\udcff", "[" * 100_000):
        call = ToolCall("a", "clock", arguments)
        body = json.loads(encode_request("m", [Message("assistant", "x", NOW, (call,))], None))
        assert body["messages"][0]["tool_calls"][0]["function"]["arguments"] == "{}"

"""Servers that send nonsense, too much, or nothing: a clear answer each, what came before is kept, no secret is told."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from miniclaw.agent.openai import answer
from tests.fakes.model_server import Exchange, Script, open_model_server
from tests.fakes.openai import KEY, open_asker
from tests.fakes.patience import PATIENCE_SECONDS


def sending(*chunks: bytes, content_type: str | None = "text/event-stream", status: int = 200) -> Script:
    """Return the script of an answer of these bytes, in chunks, whole as HTTP."""

    async def script(exchange: Exchange) -> None:
        await exchange.head(status, content_type)
        for chunk in chunks:
            await exchange.chunk(chunk)
        await exchange.close_chunks()

    return script


def raw(data: bytes) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.raw(data)

    return script


def compressed(encoding: str) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.head(headers={"content-encoding": encoding})
        await exchange.chunk(gzip.compress(bytes(1_000_000)))
        await exchange.close_chunks()

    return script


def redirecting(status: int) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.fail(status, headers={"location": "https://evil.example/v1"})

    return script


def event(text: str) -> bytes:
    return b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % text.encode()


HTML = b"<!doctype html><title>Welcome</title>"
SAID = event("said before ")
DONE = b"data: [DONE]\n\n"

NOT_BEGUN: dict[str, tuple[Script, str]] = {
    "nothing": (sending(), "sent nothing"),
    "html": (sending(HTML, content_type="text/html"), "text/html; is base_url right?"),
    "plain": (sending(SAID, content_type="text/plain"), "text/plain"),
    "odd content type": (sending(SAID, content_type="\x7f" + "x" * 5000), "is base_url right?"),
    "html as json": (sending(HTML, content_type="application/json"), "no JSON"),
    "json that is nothing": (sending(b"[]", content_type="application/json"), "JSON of another kind"),
    "json error": (sending(b'{"error": "no"}', content_type="application/json"), "reported an error"),
    "huge json": (sending(*[b" " * 65_536] * 65, content_type="application/json"), "4,194,304 bytes at once"),
    "gzip": (compressed("gzip"), "compressed"),
    "moved": (redirecting(301), "(HTTP 301); base_url has to be the address itself"),
    "moved, post again": (redirecting(308), "(HTTP 308)"),
    "created": (sending(SAID, status=201), "HTTP 201"),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "broke off"),
    "half a head": (raw(b"HTTP/1.1 200 OK\r\nContent-Ty"), "broke off"),
    "endless head": (raw(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000), "broke off"),
    "huge error": (sending(*[b"x" * 65_536] * 100, status=500), "HTTP 500"),
}


@pytest.mark.parametrize(("script", "reason"), NOT_BEGUN.values(), ids=NOT_BEGUN)
async def test_openai_answer_that_is_none_is_told_in_a_sentence(script: Script, reason: str) -> None:
    """What is no answer is said to be none, in one short sentence, and the next question is asked as ever."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_model_server(script) as server, open_asker(server.base_url) as asker:
            for _ in range(2):
                heard = await asker.ask()
                assert heard.pieces == []
                assert reason in str(heard.error)
                assert len(str(heard.error)) < 200
                assert str(heard.error).isprintable()
            await server.quiet.wait()


async def break_off(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(SAID)
    await wait_all_tasks_blocked()


async def break_off_in_a_chunk(exchange: Exchange) -> None:
    await break_off(exchange)
    await exchange.raw(b"ff\r\ndata: {")


async def reset(exchange: Exchange) -> None:
    await break_off(exchange)
    await exchange.reset()


async def flood(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(SAID)
    while True:
        await exchange.chunk(b": nothing\n\n" * 5000)


CALL = b'data: {"choices":[{"delta":{"tool_calls":[{"index":%d,"id":"a","function":{"name":"%b","arguments":"%b"}}]}}]}\n\n'

BEGUN: dict[str, tuple[Script, str]] = {
    "cut": (break_off, "broke off"),
    "cut in a chunk": (break_off_in_a_chunk, "broke off"),
    "reset": (reset, "broke off"),
    "end without an end": (sending(SAID), "broke off before the answer was complete"),
    "half a JSON object": (sending(SAID, b'data: {"choices":[{"del\n\n'), "no JSON"),
    "half a JSON object in the same chunk": (sending(SAID + b'data: {"choices":[{"del\n\n'), "no JSON"),
    "html in an event": (sending(SAID, b"data: <html>\n\n"), "no JSON"),
    "other JSON": (sending(SAID, b'data: {"choices":"many"}\n\n'), "JSON of another kind"),
    "deep JSON": (sending(SAID, b'data: {"error":' + b"[" * 200_000 + b"\n\n"), "no JSON"),
    "invalid UTF-8": (sending(SAID, event("\0").replace(b"\0", b"\xff\xfe")), "not UTF-8"),
    "half a surrogate pair": (sending(SAID, event("\\ud83d")), "no JSON"),
    "error in the stream": (sending(SAID, b'data: {"error":{"code":502,"message":"gone"}}\n\n'), "reported an error"),
    "huge line": (sending(SAID, *[b"x" * 65_536] * 40), "event of more than 1,048,576 bytes"),
    "huge event": (sending(SAID, *[b"data: " + b"x" * 65_536 + b"\n"] * 40), "event of more than 1,048,576 bytes"),
    "call without a name": (sending(SAID, CALL % (0, b"", b""), DONE), "without a name"),
    "many calls": (sending(SAID, *[CALL % (n, b"x", b"") for n in range(70)], DONE), "more than 64 calls"),
    "long arguments": (sending(SAID, *[CALL % (0, b"x", b"y" * 60_000)] * 5, DONE), "262,144 characters"),
}


@pytest.mark.parametrize(("script", "reason"), BEGUN.values(), ids=BEGUN)
async def test_openai_answer_that_goes_wrong_keeps_what_was_said(script: Script, reason: str) -> None:
    """What the server said before it went wrong is had, then comes the reason; it is not asked again."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_model_server(script) as server, open_asker(server.base_url) as asker:
            heard = await asker.ask()
            assert heard.text == "said before "
            assert heard.calls == []
            assert reason in str(heard.error)
            assert len(str(heard.error)) < 200
            assert len(server.requests) == 1
            await server.quiet.wait()


async def test_openai_endless_stream_of_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream without any text is read up to a bound and no further."""
    monkeypatch.setattr(answer, "MAX_STREAM_BYTES", 1_000_000)
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_model_server(flood) as server, open_asker(server.base_url) as asker:
            heard = await asker.ask()
            await server.quiet.wait()
    assert heard.text == "said before "
    assert "more than 1,000,000 bytes" in str(heard.error)


async def test_openai_after_the_end_nothing_counts() -> None:
    """What comes behind [DONE] is not part of the answer, and a connection held open is not waited for long."""

    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(SAID + DONE + event("more"))
        await trio.sleep_forever()

    with trio.fail_after(PATIENCE_SECONDS):
        async with open_model_server(script) as server, open_asker(server.base_url) as asker:
            heard = await asker.ask()
    assert (heard.text, heard.error) == ("said before ", None)


def echoing(status: int, dress: Callable[[str], str] = str) -> Script:
    """Return the script of a server that sends the key back."""

    async def script(exchange: Exchange) -> None:
        key = exchange.headers["authorization"].removeprefix("Bearer ")
        if status != 200:
            await exchange.fail(status, body=b'{"error": "wrong key: %b"}' % dress(key).encode())
            return
        await exchange.head()
        await exchange.say("your key is ", *dress(key), " and s", "k-test/")
        await exchange.event({"error": {"message": f"stolen: {dress(key)}"}})

    return script


@pytest.mark.parametrize("status", [401, 400, 429, 500, 301])
async def test_openai_key_in_an_error_is_hidden(status: int) -> None:
    """A server that sends the key back gets it into neither the sentence nor the log."""
    async with open_model_server(echoing(status)) as server, open_asker(server.base_url, max_retries=0) as asker:
        error = (await asker.ask()).error
    assert error is not None
    assert error.detail is not None
    assert "[secret]" in error.detail
    assert KEY not in f"{error!r} {error} {error.detail} {error.__cause__!r}"


async def test_openai_key_in_the_answer_is_hidden_however_it_is_cut() -> None:
    """The key is taken out of the text even where it comes letter by letter; what only resembles it stays."""
    async with open_model_server(echoing(200)) as server, open_asker(server.base_url) as asker:
        heard = await asker.ask()
    assert heard.text == "your key is [secret] and sk-test/"
    assert heard.error is not None
    assert heard.error.detail is not None
    assert KEY not in heard.error.detail


async def test_openai_key_that_is_no_header_is_an_error_without_it() -> None:
    """Even a key that the HTTP library refuses is not told."""
    async with open_model_server(sending()) as server, open_asker(server.base_url, key="sk-line\nbreak") as asker:
        heard = await asker.ask()
        assert server.requests == []
    assert heard.error is not None
    assert "could not be asked" in str(heard.error)
    assert "sk-line" not in f"{heard.error.detail} {heard.error.__cause__!r}"

"""One call of the Bot API: what every trouble becomes, and that the token is in none of it."""

from __future__ import annotations

import logging

import pytest
import trio

from miniclaw.channels.telegram.client import BotError
from tests.fakes.bot_api import (
    BAD_GATEWAY,
    BLOCKED,
    CONFLICT,
    NOT_FOUND,
    SERVER_ERROR,
    TOKEN,
    UNAUTHORIZED,
    WEBHOOK,
    FakeBotApi,
    Trouble,
    endless,
    hang,
    open_bot_api,
    refuse,
    reset,
    slow_down,
    truncated,
    whole,
)
from tests.fakes.model_server import Exchange, unused_port
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.telegram import open_bot_client


async def failing(api: FakeBotApi, trouble: Trouble, *, within_seconds: float = PATIENCE_SECONDS) -> BotError:
    """Return the error that a call raises."""
    api.fail("getMe", trouble)
    async with open_bot_client(api) as client:
        with pytest.raises(BotError) as caught:
            await client.call("getMe", {}, within_seconds=within_seconds)
    return caught.value


async def compressed(exchange: Exchange) -> None:
    await exchange.head(200, "application/json", {"content-encoding": "gzip"})
    await exchange.chunk(b"\x1f\x8b\x08\x00garbage")
    await exchange.close_chunks()


async def redirect(exchange: Exchange) -> None:
    await exchange.head(302, "text/html", {"location": "http://127.0.0.1:1/elsewhere"})
    await exchange.close_chunks()


async def echo_token(exchange: Exchange) -> None:
    await whole(500, exchange.target.encode())(exchange)


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        (CONFLICT, "conflict", "Telegram answered 409: Conflict"),
        (WEBHOOK, "webhook", "Telegram answered 409"),
        (UNAUTHORIZED, "token", "Telegram answered 401: Unauthorized"),
        (NOT_FOUND, "token", "Telegram answered 404"),
        (BLOCKED, "forbidden", "bot was blocked by the user"),
        (refuse(400, "Bad Request: chat not found"), "refused", "Bad Request: chat not found"),
        (SERVER_ERROR, "server", "Telegram answered 500"),
        (BAD_GATEWAY, "server", "Telegram answered 502: <html>"),
        (slow_down(7), "busy", "Telegram answered 429"),
        (whole(200, b'{"ok": false, "error_code": 400, "description": "no"}'), "refused", "Telegram answered 400: no"),
        (whole(200, b"<html>captive portal</html>", "text/html"), "answer", "no answer of the Bot API"),
        (whole(200, b"\xff\xfe"), "answer", "no answer of the Bot API"),
        (whole(200, b"[" * 100_000), "answer", "no answer of the Bot API"),
        (whole(200, b""), "answer", "no answer of the Bot API"),
        (whole(200, b'{"ok": true, "result": 1'), "answer", "no answer of the Bot API"),
        (compressed, "answer", "no answer of the Bot API"),
        (redirect, "answer", "Telegram answered 302"),
        (truncated, "network", "the connection to Telegram broke off"),
        (reset, "network", "the connection to Telegram broke off"),
        (endless, "answer", "no answer of the Bot API"),
        (echo_token, "server", "[secret]"),
    ],
)  # fmt: skip
async def test_call_trouble_is_an_error_of_its_kind_without_the_token(
    trouble: Trouble, kind: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever comes, the error says what it was; neither it nor any log, at DEBUG, holds the token."""
    with caplog.at_level(logging.DEBUG):
        async with open_bot_api() as api:
            error = await failing(api, trouble)
    assert error.trouble == kind
    assert words in str(error)
    chain: list[BaseException | None] = [
        error,
        error.__cause__,
        None if error.__suppress_context__ else error.__context__,
    ]
    assert not any(secret in repr(link) + str(link) for link in chain for secret in (TOKEN, TOKEN[10:]))
    assert not any(TOKEN[10:] in record.getMessage() for record in caplog.records)


async def test_call_without_an_answer_is_given_up() -> None:
    """A server that says nothing is not waited for longer than was said."""
    async with open_bot_api() as api:
        error = await failing(api, hang, within_seconds=0.1)
    assert (error.trouble, str(error)) == ("network", "Telegram did not answer within 0.1 s")


async def test_call_nobody_there_is_network_trouble(caplog: pytest.LogCaptureFixture) -> None:
    """A refused connection is told without the address, which holds the token."""
    async with open_bot_api() as api:
        api.api_base = f"http://127.0.0.1:{await unused_port()}"
        with caplog.at_level(logging.DEBUG):
            error = await failing(api, hang)
    assert error.trouble == "network"
    assert "cannot be reached" in str(error)
    assert TOKEN[10:] not in str(error) + caplog.text


@pytest.mark.parametrize(
    ("trouble", "seconds"),
    [
        (slow_down(7), 7), (slow_down(1e9), 3600), (slow_down(-5), 0), (refuse(429, "slow"), None),
        (refuse(429, "slow", retry_after=None), None),
    ],
)  # fmt: skip
async def test_call_retry_after_is_read_and_bounded(trouble: Trouble, seconds: float | None) -> None:
    """How long Telegram asks to wait, up to an hour."""
    async with open_bot_api() as api:
        assert (await failing(api, trouble)).retry_after == seconds


async def test_call_accepted_is_known_although_the_answer_is_lost() -> None:
    """A status of success means done, whatever became of the rest."""
    async with open_bot_api() as api:
        assert (await failing(api, truncated)).accepted
        assert (await failing(api, whole(200, b"{"))).accepted
        assert not (await failing(api, reset)).accepted
        assert not (await failing(api, BAD_GATEWAY)).accepted


async def test_call_cancelled_at_any_time_leaves_no_connection() -> None:
    """Polls are cancelled at every shutdown; a connection that waits is closed at once."""
    async with open_bot_api() as api, open_bot_client(api) as client:
        for _ in range(5):
            polls = api.count("getUpdates")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.call, "getUpdates", {"timeout": 50})
                await api.until(lambda polls=polls: api.count("getUpdates") > polls)  # type: ignore[misc]
                nursery.cancel_scope.cancel()
        await client.call("getMe", {})

"""By which kind each trouble with a server is counted."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import trio

from miniclaw.agent.openai.model import is_worth_a_retry
from miniclaw.errors import ModelErrorKind
from tests.fakes.model_server import Exchange, Script, open_model_server, unused_port
from tests.fakes.openai import open_asker
from tests.fakes.patience import PATIENCE_SECONDS


def failing(status: int) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.fail(status)

    return script


async def html(exchange: Exchange) -> None:
    await exchange.head(200, "text/html")
    await exchange.chunk(b"<!doctype html>")
    await exchange.close_chunks()


async def reset(exchange: Exchange) -> None:
    await exchange.reset()


async def cut(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.say("said before ")


async def error_in_the_stream(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.event({"error": {"message": "gone"}})
    await exchange.close_chunks()


async def nothing(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.close_chunks()


async def silence(exchange: Exchange) -> None:
    await trio.sleep_forever()


KINDS: dict[str, tuple[Script, ModelErrorKind]] = {
    "400": (failing(400), "refused"),
    "301": (failing(301), "refused"),
    "401": (failing(401), "unauthorized"),
    "403": (failing(403), "unauthorized"),
    "404": (failing(404), "refused"),
    "429": (failing(429), "rate_limited"),
    "500": (failing(500), "server_error"),
    "503": (failing(503), "server_error"),
    "error in the stream": (error_in_the_stream, "server_error"),
    "html": (html, "invalid_answer"),
    "nothing": (nothing, "invalid_answer"),
    "reset": (reset, "broken_off"),
    "cut": (cut, "broken_off"),
    "silence": (silence, "timeout"),
}


@pytest.mark.parametrize(("script", "kind"), KINDS.values(), ids=KINDS)
async def test_openai_error_has_its_kind(script: Script, kind: ModelErrorKind) -> None:
    """Whatever a server does, the error says of which kind that is."""
    patience = timedelta(seconds=0.2 if script is silence else PATIENCE_SECONDS)
    async with (
        open_model_server(script) as server,
        open_asker(server.base_url, max_retries=0, first_token_timeout=patience) as asker,
    ):
        error = (await asker.ask()).error
    assert error is not None
    assert error.kind == kind


async def test_openai_server_that_is_not_there_is_unreachable() -> None:
    """Nobody listens: that is a kind of its own."""
    async with open_asker(f"http://127.0.0.1:{await unused_port()}/v1", max_retries=0) as asker:
        error = (await asker.ask()).error
    assert error is not None
    assert error.kind == "unreachable"


async def test_openai_question_that_cannot_be_put_is_of_the_prompt(tmp_path: Path) -> None:
    """A system prompt that cannot be read, and a message that is too long, never reach the server."""
    prompt = tmp_path / "SYSTEM.md"
    prompt.mkdir()
    async with open_asker("http://127.0.0.1:9/v1", system_prompt=prompt) as asker:
        error = (await asker.ask()).error
        assert error is not None
        assert error.kind == "prompt"
    async with open_asker("http://127.0.0.1:9/v1", history_budget=10) as asker:
        error = (await asker.ask("x" * 100)).error
        assert error is not None
        assert error.kind == "prompt"


def test_is_worth_a_retry_429_and_5xx_only() -> None:
    """No other status is asked again."""
    assert [status for status in range(100, 1000) if is_worth_a_retry(status)] == [429, *range(500, 600)]

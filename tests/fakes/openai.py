"""The real `OpenAIModel` against a server of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from miniclaw.agent.models import ModelEvent
from miniclaw.agent.openai.model import OpenAIModel
from miniclaw.config.model import ModelConfig
from miniclaw.errors import ModelError
from miniclaw.http_client import open_http_client
from miniclaw.secret import Secret
from miniclaw.session.types import Message, ToolCall
from tests.fakes.clock import WallClock

KEY = "sk-test/0123456789abcdef"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Asker:
    """A model, and how long it waited between attempts.

    Attributes:
        model: The real one.
        delays: In seconds.
    """

    def __init__(self) -> None:
        self.model: OpenAIModel
        self.delays: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.delays.append(seconds)

    async def ask(self, *contents: str) -> Heard:
        """Ask, and return what was heard until the end or an error."""
        heard = Heard()
        messages = [Message("user", content, NOW) for content in contents or ("hello",)]
        try:
            async with self.model.stream(messages) as events:
                async for event in events:
                    heard.take(event)
        except ModelError as error:
            heard.error = error
        return heard


class Heard:
    """What came of a question."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.calls: list[ToolCall] = []
        self.error: ModelError | None = None

    def take(self, event: ModelEvent) -> None:
        if isinstance(event, str):
            self.pieces.append(event)
        else:
            self.calls.append(event)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@asynccontextmanager
async def open_asker(
    base_url: str, *, key: str | None = KEY, system_prompt: Path = Path("/nonexistent/SYSTEM.md"), **values: Any
) -> AsyncIterator[Asker]:
    config = ModelConfig(**{"provider": "openai", "base_url": base_url, "model": "tiny", **values})
    asker = Asker()
    async with open_http_client(connect_seconds=config.connect_timeout.total_seconds(), direct=True) as client:
        asker.model = OpenAIModel(
            client,
            config,
            key=Secret(key) if key else None,
            system_prompt=system_prompt,
            clock=WallClock(NOW),
            sleep=asker.sleep,
        )
        yield asker

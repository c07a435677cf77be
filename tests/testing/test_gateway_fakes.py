"""The fake channel and the fake model, in a real gateway."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio

from miniclaw.gateway import Config, Home, ModelError, Running, StreamingChannel, run_gateway
from miniclaw.testing import FakeChannel, FakeModel
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS


async def test_fakes_hold_a_conversation(tmp_path: Path, logs: LogRecorder) -> None:
    """Each question gets its own answer, also when two people ask at once; the model has seen the conversation."""
    logs.expect_error("Model did not answer")
    channel, model = FakeChannel(), FakeModel(["Good ", "morning"], "Fine", ModelError("it is tired"))
    assert isinstance(channel, StreamingChannel)
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            run = partial(run_gateway, Config(), Home(tmp_path), channels=[channel], model=model, handle_signals=False)
            running: Running = await nursery.start(run)
            assert (await channel.ask("Hello")).content == "Good morning"
            assert [piece.text for piece in channel.pieces] == ["Good ", "morning"]
            assert (await channel.ask("How are you?")).content == "Fine"
            failed = await channel.ask("And now?")
            assert (failed.failed, "it is tired" in failed.content) == (True, True)
            running.stop()
    assert [message.content for message in model.asked[1]] == ["Hello", "Good morning", "How are you?"]
    assert [message.failed for message in channel.sent] == [False, False, True]


async def test_fakes_answer_many_people_at_once(tmp_path: Path) -> None:
    """An answer reaches the one who asked; without prepared answers, the question is the answer."""
    channel, answers = FakeChannel("crowd"), {}

    async def ask(number: int) -> None:
        answers[number] = (await channel.ask(f"I am {number}", chat_id=str(number % 7))).content

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as gateway:
            gateway.start_soon(partial(run_gateway, Config(), Home(tmp_path), channels=[channel], model=FakeModel()))
            async with trio.open_nursery() as nursery:
                for number in range(30):
                    nursery.start_soon(ask, number)
            channel.end()
    assert answers == {number: f"I am {number}" for number in range(30)}

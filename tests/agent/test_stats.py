"""What the agent counts, at the loop that counts it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from miniclaw.agent.inbox import Inbox
from miniclaw.agent.models import EchoModel
from miniclaw.agent.stats import MODEL_ERROR_KINDS, TurnStats
from miniclaw.channels.base import InboundMessage
from miniclaw.errors import ModelError
from miniclaw.session.types import ToolCall
from tests.fakes.agent import StreamingModel, inbound, open_house, serve
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder


def ended(stats: TurnStats) -> dict[tuple[str, str], int]:
    return {(channel, str(outcome)): count for (channel, outcome), count in stats.turns.items() if count}


async def test_stats_answered_turn_has_its_latencies(
    sessions_dir: Path, clock: WallClock, mock_clock: MockClock
) -> None:
    """The first piece is timed when it comes and the turn when its answer is sent, both from the turn's beginning."""
    mock_clock.autojump_threshold = float("inf")
    first, second = trio.Event(), trio.Event()
    model = StreamingModel(first, "so ", second, "it is")
    async with open_house(sessions_dir, clock) as house, trio.open_nursery() as nursery:
        loop = house.loop(model)
        nursery.start_soon(loop.handle, inbound("hello"))
        await model.waiting.wait()
        assert loop.stats.in_flight == 1
        mock_clock.jump(3)
        model.waiting = trio.Event()
        first.set()
        await model.waiting.wait()
        mock_clock.jump(4)
        second.set()
        while loop.stats.in_flight:
            await trio.lowlevel.checkpoint()
        assert ended(loop.stats) == {("web", "answered"): 1}
        assert (loop.stats.first_token.count, loop.stats.first_token.sum) == (1, 3)
        assert (loop.stats.duration.count, loop.stats.duration.sum) == (1, 7)
        assert loop.stats.last_duration_seconds == 7


async def test_stats_failed_turn_counts_its_kind_and_no_latency(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A model that fails is counted by kind; how long it took to fail is no latency of answers."""
    logs.expect_error("Model did not answer")
    async with open_house(sessions_dir, clock) as house:
        loop = house.loop(StreamingModel("as far as", ModelError("too slow", kind="timeout")))
        await serve(loop, inbound("hello"))
        assert ended(loop.stats) == {("web", "failed"): 1}
        assert {kind: count for kind, count in loop.stats.model_errors.items() if count} == {"timeout": 1}
        assert (loop.stats.duration.count, loop.stats.first_token.count) == (0, 1)


@pytest.mark.parametrize(
    ("says", "kind", "told"),
    [
        (RuntimeError("a bug"), "bug", "Model failed"),
        (" ", "invalid_answer", "Model did not answer"),
        (ToolCall("1", "there_is_no_such_tool", "{}"), "invalid_answer", "Model did not answer"),
    ],
)
async def test_stats_errors_of_the_loop_itself_have_kinds(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, says: str | ToolCall | Exception, kind: str, told: str
) -> None:
    """What the loop makes of a model's nonsense is counted like what a model says itself."""
    logs.expect_error(told)
    async with open_house(sessions_dir, clock) as house:
        loop = house.loop(StreamingModel(says))
        await serve(loop, inbound("hello"))
        assert {found: count for found, count in loop.stats.model_errors.items() if count} == {kind: 1}


async def test_stats_interrupted_turn(sessions_dir: Path, clock: WallClock) -> None:
    """A turn that the end of the program cuts is interrupted, neither answered nor failed."""
    model = StreamingModel("as far as", trio.Event())
    async with open_house(sessions_dir, clock) as house:
        loop, inbox = house.loop(model), Inbox()
        inbox.send_nowait(inbound("hello"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(loop.run, inbox)
            await model.waiting.wait()
            nursery.cancel_scope.cancel()
        assert ended(loop.stats) == {("web", "interrupted"): 1}
        assert loop.stats.in_flight == 0


async def test_stats_message_that_was_answered_before_is_no_turn(sessions_dir: Path, clock: WallClock) -> None:
    """What is delivered again and needs no answer is not counted as one."""
    async with open_house(sessions_dir, clock) as house:
        loop = house.loop(EchoModel())
        message = InboundMessage("web", "a", "hello", inbound_id="7")
        await serve(loop, message)
        await serve(loop, message)
        assert ended(loop.stats) == {("web", "answered"): 1}


async def test_stats_unknown_labels_are_other(sessions_dir: Path) -> None:
    """Whatever is counted, there are as many labels as before, and one more."""
    stats = TurnStats(["web"])
    for number in range(100):
        with stats.turn(f"channel{number}"):
            pass
        stats.model_failed(f"kind{number}")
    assert ended(stats) == {("other", "interrupted"): 100}
    assert set(stats.model_errors) == set(MODEL_ERROR_KINDS)
    assert stats.model_errors["other"] == 100

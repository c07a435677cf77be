"""The agent loop between a channel and a model of an embedder, either of which may have any bug."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
from msgspec.structs import replace

from miniclaw.agent.inbox import Inbox
from miniclaw.agent.models import EchoModel, Model, ModelEvent
from miniclaw.errors import ModelBugError, ModelError
from miniclaw.session.calls.in_use import SessionInUse
from miniclaw.session.manager import SessionManager
from miniclaw.session.types import Message, ToolCall
from tests.fakes.agent import StreamingModel, inbound, open_house, serve
from tests.fakes.clock import WallClock
from tests.fakes.foreign import SHAPES, ForeignChannel, ForeignModel, UnprintableError
from tests.fakes.logs import LogRecorder

MODEL_FAILED = "Model failed"
CHANNEL_FAILED = "Channel failed"
NO_ANSWER = "Your message is recorded, but there is no answer: "


class Quiet:
    """A model whose `stream` is no async context manager."""

    name = "quiet"

    def __init__(self, gives: Any = None) -> None:
        self._gives = gives

    def stream(self, messages: Sequence[Message]) -> Any:
        return self._gives


class Swallowing:
    """A model that hides whatever goes wrong in its block."""

    name = "swallowing"

    @asynccontextmanager
    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        try:
            async with StreamingModel("as far as this", KeyError("gone")).stream(messages) as events:
                yield events
        except KeyError:
            pass


# A model's bugs -------------------------------------------------------------------------------------------------

BUGS: dict[str, Model] = {
    "no context manager": Quiet(),
    "a coroutine": Quiet([]),
    "no iterator": ForeignModel(gives=5),
    "None": ForeignModel(None),
    "bytes": ForeignModel(b"hi"),
    "a call without a name": ForeignModel(ToolCall("1", None, "{}")),  # type: ignore[arg-type]
    "a call with arguments as they are": ForeignModel(ToolCall("1", "clock", {})),  # type: ignore[arg-type]
    "an event that is itself a failure": ForeignModel(ValueError("not raised")),
}


@pytest.mark.parametrize("bug", BUGS)
async def test_loop_model_that_gives_the_wrong_thing_is_blamed(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, bug: str
) -> None:
    """The person gets a sentence, the log one ERROR with the traceback, the message stays, and the channel is well."""
    logs.expect_error(MODEL_FAILED)
    async with open_house(sessions_dir, clock) as house:
        house.channel = channel = ForeignChannel()
        loop = house.loop(BUGS[bug])
        await serve(loop, inbound("hi"))
        [sent] = channel.sent
        assert sent.failed
        assert sent.content.startswith(f"{NO_ANSWER}the model failed (")
        assert "Traceback" not in sent.content
        assert "Error" in logs.one(MODEL_FAILED)["traceback"]
        assert [role for role, _ in await house.said("web_a")] == ["user", "system"]
        assert loop.stats.model_errors["bug"] == 1
        assert sum(loop.ports["web"].failures.values()) == 0


@pytest.mark.parametrize("place", ["entering", "iterating", "leaving"])
@pytest.mark.parametrize("shape", sorted(SHAPES.keys() - {"stop"}))  # which is the end of an iterator
async def test_loop_model_that_raises_anything_anywhere_is_blamed_and_its_text_kept(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, place: str, shape: str
) -> None:
    """Also on leaving: a model whose reader fails in a nursery of its own says so only then."""
    logs.expect_error(MODEL_FAILED)
    async with open_house(sessions_dir, clock) as house:
        loop = house.loop(ForeignModel("as far as this", **{place: SHAPES[shape]}))
        await serve(loop, inbound("hi"))
        await serve(house.loop(EchoModel()), inbound("still there"))
        failed, answered = house.channel.sent
        assert failed.failed
        assert "the model failed (" in failed.content
        assert len(failed.content) < 200
        assert failed.content.startswith(NO_ANSWER if place == "entering" else "as far as this\n\n")
        assert (answered.content, answered.failed) == ("still there", False)
        assert "foreign.py" in logs.one(MODEL_FAILED)["traceback"]
        assert loop.stats.model_errors["bug"] == 1
        said = await house.said("web_a")
        assert said[0] == ("user", "hi")
        assert said[-3][0] == "system"


async def test_loop_model_that_hides_its_failure_gives_no_whole_answer(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """An answer whose end was never reached is not taken for a whole one."""
    logs.expect_error(MODEL_FAILED)
    async with open_house(sessions_dir, clock) as house:
        await serve(house.loop(Swallowing()), inbound("hi"))
        assert house.channel.sent[0].content == (
            "as far as this\n\nThe answer ends here: the model failed (it has hidden an error)"
        )
        assert house.channel.sent[0].failed


@pytest.mark.parametrize("events", [(), ("",), ("", " ", "\n")])
async def test_loop_model_that_says_nothing_has_no_bug(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, events: tuple[str, ...]
) -> None:
    """An empty answer is trouble that is told in a sentence, without a traceback."""
    logs.expect_error("Model did not answer")
    async with open_house(sessions_dir, clock) as house:
        house.channel = ForeignChannel()
        await serve(house.loop(ForeignModel(*events)), inbound("hi"))
        assert house.channel.sent[0].content.endswith("the model's answer is empty")
        assert "traceback" not in logs.one("Model did not answer")


async def test_loop_empty_pieces_between_others_cost_nothing(sessions_dir: Path, clock: WallClock) -> None:
    """They are no pieces: none is passed on."""
    async with open_house(sessions_dir, clock) as house:
        house.channel = channel = ForeignChannel()
        await serve(house.loop(ForeignModel("", "hel", "", "lo", "")), inbound("hi"))
        assert channel.calls.count("send_delta") == 2
        assert channel.sent[0].content == "hello"


@pytest.mark.parametrize("place", ["entering", "iterating", "leaving"])
async def test_loop_model_error_in_a_group_of_a_nursery_is_that_error(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, place: str
) -> None:
    """A model that reads in a nursery tells its trouble as a group; that is no bug."""
    logs.expect_error("Model did not answer")
    grouped = lambda: ExceptionGroup("nursery", [ModelError("the line is dead", kind="broken_off")])  # noqa: E731
    async with open_house(sessions_dir, clock) as house:
        loop = house.loop(ForeignModel("half", **{place: grouped}))
        await serve(loop, inbound("hi"))
        assert house.channel.sent[0].content.endswith(": the line is dead")
        assert logs.one("Model did not answer")["error"] == "the line is dead"
        assert (loop.stats.model_errors["broken_off"], loop.stats.model_errors["bug"]) == (1, 0)


async def test_loop_model_error_of_a_class_that_forgot_its_init_is_told(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """An embedder's own ModelError need not be made as ours is."""

    class QuotaError(ModelError):
        def __init__(self) -> None:
            Exception.__init__(self, "the quota is used up")

    logs.expect_error("Model did not answer")
    async with open_house(sessions_dir, clock) as house:
        loop = house.loop(ForeignModel(entering=QuotaError))
        await serve(loop, inbound("hi"))
        assert house.channel.sent[0].content == f"{NO_ANSWER}the quota is used up"
        assert loop.stats.model_errors["other"] == 1


async def test_loop_model_error_of_a_kind_that_there_is_not_is_counted_as_other(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """What an embedder puts into an error cannot make the metrics grow, or fail."""
    logs.expect_error("Model did not answer")
    async with open_house(sessions_dir, clock) as house:
        no_kind: Any = ["a list"]
        odd: Any = UnprintableError()
        loop = house.loop(ForeignModel(entering=lambda: ModelError("odd", kind=no_kind, detail=odd)))
        await serve(loop, inbound("hi"))
        assert loop.stats.model_errors["other"] == 1


async def test_loop_model_that_fails_while_it_is_cancelled_is_logged_and_cancelled(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """The end of the program is not disturbed by a model that fails in its own end; the turn is marked as stopped."""
    logs.expect_error(MODEL_FAILED)
    reading = trio.Event()

    class Reading:
        name = "reading"

        @asynccontextmanager
        async def stream(self, messages: Sequence[Message]) -> AsyncIterator[AsyncIterator[ModelEvent]]:
            async def read() -> None:
                try:
                    reading.set()
                    await trio.sleep_forever()
                finally:
                    raise KeyError("gone")

            async with trio.open_nursery() as nursery, StreamingModel("a", trio.Event()).stream(messages) as events:
                nursery.start_soon(read)
                yield events

    async with open_house(sessions_dir, clock) as house:
        async with trio.open_nursery() as nursery:
            inbox = Inbox()
            await nursery.start(house.loop(Reading()).run, inbox)
            await inbox.send(inbound("hi"))
            await reading.wait()
            nursery.cancel_scope.cancel()
        assert "KeyError" in logs.one(MODEL_FAILED)["traceback"]
        assert (await house.said("web_a"))[-1] == (
            "system",
            "[interrupted] the program was stopped before the answer was complete",
        )


# A channel's bugs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["send", "send_delta", "confirm"])
@pytest.mark.parametrize("shape", SHAPES)
async def test_loop_channel_that_raises_anything_anywhere_is_blamed_and_the_answer_kept(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, method: str, shape: str
) -> None:
    """The model is told of nothing and blamed for nothing; question and answer are recorded; the next one is served."""
    logs.expect_error(CHANNEL_FAILED)
    async with open_house(sessions_dir, clock) as house:
        house.channel = channel = ForeignChannel(fails={method: SHAPES[shape]})
        loop = house.loop(StreamingModel("it ", "is ", "so"))
        await serve(loop, inbound("hi"), inbound("and?"))
        assert await house.said("web_a") == [
            ("user", "hi"), ("assistant", "it is so"), ("user", "and?"), ("assistant", "it is so"),
        ]  # fmt: skip
        assert [sent.content for sent in channel.sent] == ["it is so", "it is so"]
        assert not any(sent.failed for sent in channel.sent)
        assert not logs.named(MODEL_FAILED)
        assert sum(loop.stats.model_errors.values()) == 0
        failed = loop.ports["web"].failures
        assert {name for name, count in failed.items() if count} == {method}
        assert len(logs.named(CHANNEL_FAILED)) == sum(failed.values())
        if method == "send_delta":
            assert channel.calls.count("send_delta") == 2, "one for each answer: the next pieces are not tried"


async def test_loop_channel_that_raises_in_refuse_is_blamed(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A message that never can be recorded is refused and confirmed, whatever the channel makes of it."""
    logs.expect_error(CHANNEL_FAILED)
    logs.expect_error("Message could not be recorded")
    async with open_house(sessions_dir, clock) as house:
        house.channel = channel = ForeignChannel(fails={"refuse": SHAPES["plain"]})
        await serve(house.loop(EchoModel()), inbound("\udcff"))
        assert channel.calls == ["send", "refuse", "confirm"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"content": None}, {"content": 5}, {"content": b"hi"}, {"content": ["hi"]}, {"content": "\ud800"},
        {"inbound_id": UUID(int=7)}, {"chat_id": 42}, {"chat_id": ""}, {"chat_id": "\ud800"}, {"chat_id": None},
    ],
)  # fmt: skip
async def test_loop_message_that_no_session_can_have_is_refused_and_leaves_nothing(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, wrong: dict[str, Any]
) -> None:
    """A message with an impossible part is refused and never delivered again; it creates no session."""
    logs.expect_error("Message could not be recorded")
    async with open_house(sessions_dir, clock) as house:
        house.channel = channel = ForeignChannel()
        await serve(house.loop(EchoModel()), replace(inbound("hi", "bad"), **wrong), inbound("hello", "good"))
        assert sorted(sent.failed for sent in channel.sent) == [False, True]
        assert channel.calls.count("refuse") == 1
        assert channel.calls.count("confirm") == 3  # the good one twice
        assert house.manager.live_sessions() == 1


# Our own bugs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 100])
@pytest.mark.parametrize(("owner", "step"), [(SessionManager, "turn"), (SessionInUse, "add_measured")])
async def test_loop_bug_of_its_own_costs_one_answer_and_the_person_is_told(
    sessions_dir: Path,
    clock: WallClock,
    logs: LogRecorder,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    step: str,
    times: int,
) -> None:
    """Where recording fails once, the message is recorded all the same; where it always does, the person is told so."""
    logs.expect_error("Turn failed")
    if times > 1:
        logs.expect_error("Message could not be recorded")
    async with open_house(sessions_dir, clock) as house:
        house.channel = channel = ForeignChannel()
        loop = house.loop(EchoModel())
        right, left = getattr(owner, step), [times]

        def fail(*args: Any, **options: Any) -> Any:
            if left[0]:
                left[0] -= 1
                raise ZeroDivisionError
            return right(*args, **options)

        monkeypatch.setattr(owner, step, fail)
        await serve(loop, inbound("hi"))
        monkeypatch.undo()
        await serve(loop, inbound("still there"))
        failed, answered = channel.sent
        assert (failed.failed, answered.content) == (True, "still there")
        assert "ZeroDivisionError" in logs.one("Turn failed")["traceback"]
        assert loop.stats.turns["web", "failed"] == 1
        said = await house.said("web_a")
        if times == 1:
            assert failed.content.startswith(NO_ANSWER)
            assert said[:2] == [
                ("user", "hi"),
                ("system", "[interrupted] something went wrong in the gateway, and its log says what"),
            ]
        else:
            assert failed.content.startswith("Your message could not be recorded")
            assert said == [("user", "still there"), ("assistant", "still there")]


async def test_loop_message_that_waits_and_meets_a_bug_at_the_end_costs_no_other(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the loop records the others."""
    logs.expect_error("Message could not be recorded")
    async with open_house(sessions_dir, clock) as house:
        add = SessionInUse.add_measured

        async def add_others(in_use: SessionInUse, message: Message, size: int) -> None:
            if message.content == "two":
                raise ZeroDivisionError
            await add(in_use, message, size)

        monkeypatch.setattr(SessionInUse, "add_measured", add_others)
        inbox = Inbox()
        model = StreamingModel("a", trio.Event())
        async with trio.open_nursery() as nursery:
            await nursery.start(house.loop(model).run, inbox)
            for text in ("one", "two", "three"):
                await inbox.send(inbound(text))
            await model.waiting.wait()
            nursery.cancel_scope.cancel()
        assert [text for role, text in await house.said("web_a") if role == "user"] == ["one", "three"]
        assert "ZeroDivisionError" in logs.one("Message could not be recorded")["traceback"]


def test_model_bug_error_is_a_model_error_of_its_kind() -> None:
    """Who counts errors of models finds bugs among them."""
    error: Callable[[str], ModelError] = ModelBugError
    assert (error("KeyError").kind, str(error("KeyError"))) == ("bug", "the model failed (KeyError)")

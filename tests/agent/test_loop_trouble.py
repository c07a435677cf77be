"""The agent loop over a real manager and a real store: what goes wrong during a turn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from miniclaw.agent import turn
from miniclaw.agent.models import EchoModel
from miniclaw.errors import StoreIOError
from miniclaw.session.calls.in_use import SessionInUse
from miniclaw.session.types import Message
from tests.fakes.agent import MailboxChannel, ScriptedModel, inbound, open_house, serve
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session


async def hang(*_: Any) -> Any:
    await trio.sleep_forever()


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


async def test_loop_session_deleted_during_the_turn_is_answered_and_stays_deleted(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """The person gets the answer they waited for; the session does not come back through it."""
    async with open_house(sessions_dir, clock) as house:

        async def script(_: Sequence[Message]) -> str:
            await house.manager.delete_session("web_a")
            return "hi"

        sent = await house.loop(ScriptedModel(script)).handle(inbound("hello"))
        assert sent is not None
        assert (sent.content, sent.failed) == ("hi", False)
        assert logs.one("Session was deleted during the turn")["session_id"] == "web_a"
        assert await house.manager.get_session("web_a") is None
        await house.manager.save_all_sessions()
    assert not _read(sessions_dir / "web_a.json")


async def test_loop_session_deleted_just_before_the_message_is_recorded_begins_anew(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes while their session is being deleted is answered, in a new session; nobody has to try again."""
    async with open_house(sessions_dir, clock) as house:
        deleted: list[str] = []

        async def add_after_a_deletion(in_use: SessionInUse, message: Message, size: int) -> None:
            monkeypatch.undo()
            await house.manager.delete_session("web_a")
            deleted.append("web_a")
            await in_use.add_measured(message, size)

        monkeypatch.setattr(SessionInUse, "add_measured", add_after_a_deletion)
        sent = await house.loop(EchoModel()).handle(inbound("hello"))
        assert sent is not None
        assert (sent.content, sent.failed) == ("hello", False)
        assert deleted == ["web_a"]
        assert await house.said("web_a") == [("user", "hello"), ("assistant", "hello")]


async def test_loop_session_that_cannot_be_read_is_a_sorry_and_its_file_is_left_alone(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A message that cannot be recorded is not answered as if it were, and overwrites nothing."""
    logs.expect_error("Message could not be recorded")
    path = sessions_dir / "web_a.json"
    os.rename(write_session(sessions_dir, "web_other", clock.now), path)
    (sessions_dir / ".quarantine").touch()  # nothing can be moved there
    content = _read(path)
    async with open_house(sessions_dir, clock) as house:

        async def script(_: Sequence[Message]) -> str:
            pytest.fail("the model was asked")

        sent = await house.loop(ScriptedModel(script)).handle(inbound("hello"))
        assert sent is not None
        assert sent.failed
        assert "could not be recorded" in sent.content
        assert str(sessions_dir) not in sent.content
        assert house.channel.sent == [sent]
        await house.manager.save_all_sessions()
    assert _read(path) == content


async def test_loop_message_that_is_no_unicode_is_a_sorry(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A message that could not be saved is refused, and the conversation goes on."""
    logs.expect_error("Message could not be recorded")
    async with open_house(sessions_dir, clock) as house:
        await serve(house.loop(EchoModel()), inbound("\udcff"), inbound("next"))
        assert [sent.failed for sent in house.channel.sent] == [True, False]
        assert await house.said("web_a") == [("user", "next"), ("assistant", "next")]


async def test_loop_reply_that_cannot_be_delivered_is_recorded_all_the_same(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A channel that is gone costs neither the record nor the loop."""
    logs.expect_error("Reply could not be delivered")
    async with open_house(sessions_dir, clock) as house:
        house.channel = MailboxChannel(broken=True)
        await serve(house.loop(EchoModel()), inbound("one"), inbound("two"))
        assert len(logs.named("Reply could not be delivered")) == 2
        assert [role for role, _ in await house.said("web_a")] == ["user", "assistant", "user", "assistant"]


async def test_loop_bug_in_a_turn_is_logged_also_where_the_message_cannot_be_recorded_after_it(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the disk that follows a bug does not take its place: the traceback of the bug is logged."""
    logs.expect_error("Turn failed")
    logs.expect_error("Message could not be recorded")
    async with open_house(sessions_dir, clock) as house:
        errors = [ZeroDivisionError(), StoreIOError(sessions_dir, "read", OSError(5, "the disk is broken"))]

        def fail(*_: Any, **__: Any) -> Any:
            raise errors.pop(0)

        monkeypatch.setattr(house.manager, "turn", fail)
        await serve(house.loop(EchoModel()), inbound("hi"))
        assert "ZeroDivisionError" in logs.one("Turn failed")["traceback"]
        assert "the disk is broken" in logs.one("Message could not be recorded")["error"]
        assert "could not be recorded" in house.channel.sent[0].content


async def test_loop_cancelled_on_a_hung_disk_says_that_the_message_is_not_recorded(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that was taken from a channel and cannot be recorded in time is an ERROR in the log."""
    logs.expect_error("Message could not be recorded")
    async with open_house(sessions_dir, clock) as house:
        monkeypatch.setattr(turn, "RECORDING_SECONDS", 0)
        monkeypatch.setattr(SessionInUse, "__aenter__", hang)
        with trio.CancelScope() as scope:
            scope.cancel()
            await house.loop(EchoModel()).handle(inbound("hi"))
        assert "did not answer" in logs.one("Message could not be recorded")["error"]


def hang_at_the_answer(monkeypatch: pytest.MonkeyPatch, go_on: trio.Event) -> trio.Event:
    """Let the recording of the first answer wait for an event; return another event, set when it waits."""
    add_measured, waiting = SessionInUse.add_measured, trio.Event()

    async def add(in_use: SessionInUse, message: Message, size: int) -> None:
        if message.role == "assistant" and not waiting.is_set():
            waiting.set()
            await go_on.wait()
        await add_measured(in_use, message, size)

    monkeypatch.setattr(SessionInUse, "add_measured", add)
    return waiting


async def test_loop_answer_waits_for_a_slow_disk(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole answer has no deadline: it never counts as answered without being in the session."""
    async with open_house(sessions_dir, clock) as house:
        monkeypatch.setattr(turn, "RECORDING_SECONDS", 0)
        go_on = trio.Event()
        waiting = hang_at_the_answer(monkeypatch, go_on)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, house.loop(EchoModel()), inbound("hi"))
            await waiting.wait()
            await wait_all_tasks_blocked()
            assert house.channel.sent == []
            go_on.set()
        assert [sent.content for sent in house.channel.sent] == ["hi"]
        assert await house.said("web_a") == [("user", "hi"), ("assistant", "hi")]


async def test_loop_cancelled_while_the_answer_is_recorded_records_it_with_a_mark(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that was never sent is kept, and its mark says that the person does not have it."""
    async with open_house(sessions_dir, clock) as house:
        waiting = hang_at_the_answer(monkeypatch, trio.Event())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.loop(EchoModel()).handle, inbound("hi"))
            await waiting.wait()
            nursery.cancel_scope.cancel()
        assert house.channel.sent == []
        assert [role for role, _ in await house.said("web_a")] == ["user", "assistant", "system"]

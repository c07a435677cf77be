"""The agent loop over a real manager and a real store: what goes wrong during a turn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from miniclaw.agent.models import EchoModel
from miniclaw.session.types import Message
from tests.fakes.agent import MailboxChannel, ScriptedModel, inbound, open_house, serve
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session


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


@pytest.mark.parametrize("step", ["get_or_create_session", "add_message"])
async def test_loop_session_deleted_just_before_the_message_is_recorded_begins_anew(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whoever writes while their session is being deleted is answered, in a new session; nobody has to try again."""
    async with open_house(sessions_dir, clock) as house:
        take_step = getattr(house.manager, step)

        async def take_step_while_it_is_deleted(*args: Any) -> Any:
            monkeypatch.undo()
            if step == "add_message":
                await house.manager.delete_session("web_a")
                return await take_step(*args)
            taken = await take_step(*args)
            await house.manager.delete_session("web_a")
            return taken

        monkeypatch.setattr(house.manager, step, take_step_while_it_is_deleted)
        sent = await house.loop(EchoModel()).handle(inbound("hello"))
        assert sent is not None
        assert (sent.content, sent.failed) == ("hello", False)
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

"""The cost of a message in steps of tasks and in frames: both are counted, so that neither grows unnoticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from miniclaw.agent.models import EchoModel
from miniclaw.session.live import loader
from tests.fakes.clock import WallClock
from tests.fakes.live_chat import Client, open_live_house
from tests.fakes.steps import Steps

MOST_STEPS = {
    "miniclaw.web.server.connections.Serving._serve": 1,  # reads the frame
    "miniclaw.web.server.connections._Application.__call__": 1,  # posts the message
    "miniclaw.agent.loop.AgentLoop.run": 1,  # starts the turn
    "miniclaw.agent.loop.AgentLoop._run_turns": 2,  # records the message; asks the model, records and sends
    "miniclaw.web.chat.connection.ChatConnection._tell": 2,  # sends the answer; sends that the message is saved
}
"""Steps of each task for one message, inclusive; without those of the session's services and of the client."""


async def events(client: Client) -> list[list[str]]:
    """Return the types of the events in each frame, up to the answer and the confirmation, whichever comes last."""
    frames: list[list[str]] = []
    while not {"reply", "saved"} <= {kind for frame in frames for kind in frame}:
        frame = json.loads(await client.connection.get_message())
        frames.append([event["type"] for event in (frame if isinstance(frame, list) else [frame])])
    return frames


async def test_chat_message_takes_few_steps_and_two_frames_at_most(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message costs a switch where a task has to wait, and a frame for the answer; the confirmation may need one."""
    monkeypatch.setattr(loader, "PAUSE_SECONDS", 1e9)  # a look at the file, now and then, takes a thread
    steps = Steps()
    async with (
        open_live_house(sessions_dir, clock, EchoModel()) as house,
        house.chat() as (client, _),
        trio.open_nursery() as nursery,
    ):
        await nursery.start(house.manager.saver.committer.run)
        for number in range(2):  # the session is loaded, and its file written
            await client.say(f"a{number}", "hello")
            await events(client)
        await house.manager.set_pinned("web_main", True)  # in memory alone: the file need not be compared
        with steps.counted():
            await client.say("a2", "hello")
            frames = await events(client)
        house.manager.saver.committer.stop()
    assert sorted(kind for frame in frames for kind in frame) == ["message", "reply", "saved"]
    assert len(frames) <= 2
    counted = {name: count for name, count in steps.of.items() if name.startswith(("miniclaw.", "hypercorn."))}
    ours = {name: count for name, count in counted.items() if not name.startswith("miniclaw.session.")}
    assert not {name: count for name, count in ours.items() if count > MOST_STEPS.get(name, 0)}

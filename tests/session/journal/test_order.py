"""The order of records and saves: what a crash leaves of what was acknowledged during a save."""

from __future__ import annotations

from pathlib import Path

import trio

from tests.fakes.live_journal import open_live, texts_after
from tests.fakes.threads import wait_in_thread


async def test_message_during_the_first_save_of_all_survives_the_note_of_that_save(tmp_path: Path) -> None:
    """The file that was copied before the message does not count as holding it, though no record came before."""
    async with open_live(tmp_path) as live:
        await live.manager.get_or_create_session("web", "a")
        gate = live.fs.block("rename", path="web_a.json")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live.manager.save_all_sessions)
            await wait_in_thread(gate.reached)
            await live.say("web_a", "one")
            gate.opened.set()
        await live.manager.saver.committer.tidy()
        crash = live.crash()
    assert await texts_after(crash, "web_a") == ["one"]

"""The runtime on the fake files of pyfakefs: what a program's own tests may do there."""

from __future__ import annotations

import os
from datetime import timedelta

from pyfakefs.fake_filesystem import FakeFilesystem
from trio.testing import MockClock

import miniclaw
from miniclaw.testing import FakeClock, FakeFileCalls, pass_days

POLICY = miniclaw.RetentionPolicy(ttl=timedelta(days=7), trash_for=timedelta(days=7))


async def test_runtime_on_fake_files_saves_deletes_restores_and_loads(
    fs: FakeFilesystem, mock_clock: MockClock
) -> None:
    """The journal, the trash and the next start work; each file of it is a fake one."""
    clock, calls = FakeClock(), FakeFileCalls(fs)
    async with miniclaw.open_runtime("/sessions", policy=POLICY, clock=clock, fs=calls) as runtime:
        manager = runtime.manager
        await manager.get_or_create_session("web", "anna")
        await manager.add_message("web_anna", miniclaw.Message("user", "Good morning", clock()), durable=True)
        await manager.save_all_sessions()
        await manager.delete_session("web_anna")
        assert not os.path.exists("/sessions/web_anna.json")
        assert len(os.listdir("/sessions/.trash")) == 1
        await manager.restore_session("web_anna")
        assert os.path.exists("/sessions/web_anna.json")
        await manager.get_or_create_session("web", "bert")
    async with miniclaw.open_runtime("/sessions", policy=POLICY, clock=clock, fs=calls) as runtime:
        session = await runtime.manager.get_session("web_anna")
        assert session is not None
        assert [message.content for message in session.messages] == ["Good morning"]
        await pass_days(9)
        assert not os.path.exists("/sessions/web_anna.json")
        assert len(os.listdir("/sessions/.trash")) == 2
    fs.pause()
    assert not os.path.exists("/sessions")

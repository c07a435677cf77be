"""A day in the life of a gateway over a thousand sessions, three hundred of them old."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import trio

from miniclaw.config import Config, Home
from miniclaw.gateway import Running, run_gateway
from miniclaw.session.runtime import SessionRuntime
from miniclaw.session.types import Message
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session
from tests.fakes.threads import settle

SEED = 20261123


async def test_gateway_thousand_sessions_announced_then_exactly_the_unused_old_ones_go(
    tmp_path: Path, clock: WallClock, days_pass: DaysPass, logs: LogRecorder
) -> None:
    """Announced first; a day later just those go that were old at the announcement and that nobody came back to."""
    chosen = random.Random(SEED)  # noqa: S311 - which sessions, not secrets
    home = Home(tmp_path)
    old, fresh = set(range(300)), set(range(300, 1000))
    for number in old:
        write_session(home.sessions_dir, f"telegram_{number}", clock.ago(days=chosen.uniform(30.01, 400)))
    ages = {number: chosen.uniform(0, 28.9) for number in fresh}
    for number, days in ages.items():
        write_session(home.sessions_dir, f"telegram_{number}", clock.ago(days=days))
    soon = sum(days > 23 for days in ages.values())  # announced in time, for they expire within a week
    come_back = set(chosen.sample(sorted(old), 40))
    write_to = set(sorted(come_back)[::2])  # the others are only looked at

    async def live(runtime: SessionRuntime) -> None:
        announcement = logs.one("Expired sessions announced; they are deleted unless they are used")
        assert announcement["sessions"] == 300
        assert announcement["goes_at"] == (clock.now + timedelta(days=1)).isoformat(timespec="minutes")
        assert len(list(home.sessions_dir.glob("*.json"))) == 1000
        for number in sorted(come_back):
            session = await runtime.manager.get_or_create_session("telegram", str(number))
            if number in write_to:
                await runtime.manager.add_message(session.session_id, Message("user", "still here", clock.now))
        await days_pass(1 - 1 / 1440)
        assert len(list(home.sessions_dir.glob("*.json"))) == 1000
        late = max(old - come_back)  # somebody who comes in the last minute, and is not saved when the sweep comes
        await runtime.manager.get_or_create_session("telegram", str(late))
        come_back.add(late)
        await days_pass(1 / 1440)

    async with trio.open_nursery() as nursery:

        async def gateway(*, task_status: trio.TaskStatus[Running]) -> None:
            await run_gateway(Config(), home, clock=clock, task_status=task_status)

        running = await nursery.start(gateway)
        await settle()
        await live(running.runtime)
        nursery.cancel_scope.cancel()
    left = {int(path.stem.removeprefix("telegram_")) for path in home.sessions_dir.glob("*.json")}
    assert left == fresh | come_back
    first, result = logs.named("Session cleanup complete")
    assert (first["sessions_deleted"], first["due"]) == (0, 300 + soon)
    assert (result["sessions_scanned"], result["sessions_deleted"]) == (1000, 300 - len(come_back))
    kept = (home.sessions_dir / f"telegram_{min(write_to)}.json").read_text()
    assert "still here" in kept
    assert "hello from" in kept

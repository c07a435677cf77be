"""How fast something may go on."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from miniclaw.web.rates import Rates


async def test_pace_lets_a_burst_through_and_then_goes_steadily(autojump_clock: MockClock) -> None:
    """So many come at once and the others one by one; after a pause there is a burst again, and no more than one."""
    pace = Rates(per_second=2, burst=3)
    times = []
    for pause in (0, 100):
        await trio.sleep(pause)
        began = trio.current_time()
        for _ in range(6):
            await pace.wait()
            times.append(trio.current_time() - began)
    assert times == [0, 0, 0, 0.5, 1, 1.5] * 2

"""`python -m benchmarks.children.loop_lag SESSIONS`: how late the event loop is during a cleanup.

A task sleeps 1 to 5 ms again and again, and measures how much later it wakes than it wanted to: first while the runtime
is idle, then while a cleanup scans and removes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Final

import trio

from miniclaw.session.runtime import open_runtime

_SLEEPS_SECONDS: Final = (0.001, 0.002, 0.003, 0.004, 0.005)
_IDLE_SECONDS: Final = 2


async def measure(sessions: Path) -> dict[str, object]:
    """Return the lags in milliseconds, and what the cleanup did."""
    async with open_runtime(
        sessions, cleanup_interval_seconds=None
    ) as runtime, trio.open_nursery() as nursery:  # fmt: skip
        late: list[float] = []
        nursery.start_soon(_watch, late.append)
        await trio.sleep(_IDLE_SECONDS)
        idle = late.copy()
        late.clear()
        result = await runtime.operations().cleanup(confirmed=True)
        busy = late.copy()
        nursery.cancel_scope.cancel()
    return {
        "idle": _summary(idle),
        "busy": _summary(busy),
        "scanned": result.sessions_scanned,
        "removed": result.sessions_deleted,
        "seconds": result.duration_seconds,
    }


async def _watch(tell: Callable[[float], object]) -> None:
    for seconds in cycle(_SLEEPS_SECONDS):
        due = trio.current_time() + seconds
        await trio.sleep_until(due)
        tell((trio.current_time() - due) * 1000)


def _summary(late: list[float]) -> dict[str, float]:
    return {"p99": percentile(late, 99), "max": max(late), "samples": len(late)}


def percentile(samples: list[float], percent: float) -> float:
    """Return the smallest sample that so many percent of them do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


if __name__ == "__main__":
    print(json.dumps(trio.run(measure, Path(sys.argv[1]))))

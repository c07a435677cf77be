"""`python -m tests.soak.kill_load`: kill -9 a gateway under load, start it again, and look what is left.

Each cycle a real gateway process (`tests.soak.driver`) takes up the workspace as the last one left it, chats, saves
by its autosave and sweeps expired sessions; it is killed at a moment that the seed says, at times in its start-up.
Its record, outside of the workspace, says what it had acknowledged. All of that has to be there, once, and whole.

What is lost by design is measured: messages that were answered, and that no save had reached yet.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import random
import secrets
import select
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.fakes.samples import write_session
from tests.soak import driver
from tests.soak.record import Ledger, Totals

_CHATS = 6
_CYCLES_PER_CHAT = 20
_PLANTED = 8
_READY_SECONDS = 30
_SHOWN = 10


def _cycle(home: Path, ledger: Ledger, record: Path, number: int, seed: str, args: argparse.Namespace) -> None:
    chance = random.Random(f"{seed} {number}")  # noqa: S311 - replayable on purpose
    for index in range(_PLANTED):
        write_session(ledger.sessions_dir, f"old_{number}-{index}", datetime.now(UTC) - timedelta(days=31))
    generation = number // _CYCLES_PER_CHAT
    if number % _CYCLES_PER_CHAT == 0:
        ledger.retire([f"{generation - 2}-{index}" for index in range(_CHATS)])
    ready, ready_fd = os.pipe()
    arguments = {
        "home": str(home), "record_path": str(record), "ready_fd": ready_fd,
        "chats": [f"{generation}-{index}" for index in range(_CHATS)],
        "first": number * 100_000 + 1, "interval": args.interval, "seed": f"{seed} {number} traffic",
    }  # fmt: skip
    in_start_up = chance.random() < 0.2
    pid = driver.start(arguments, cold=args.cold)
    os.close(ready_fd)
    if in_start_up:
        ledger.totals.in_start_up += 1
        time.sleep(chance.uniform(0, 0.5 if args.cold else 0.03))
    else:
        select.select([ready], [], [], _READY_SECONDS)
        time.sleep(chance.uniform(0, args.life))
    killed = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(ready)
    if code != -signal.SIGKILL:
        ledger.totals.trouble.append(f"cycle {number}: it ended by itself with {code}")
    ledger.check(killed, number)
    ledger.totals.cycles += 1


def run_cycles(cycles: int, seed: str, args: argparse.Namespace) -> Totals:
    """Run so many cycles on a workspace of their own."""
    with tempfile.TemporaryDirectory() as directory:
        home, record = Path(directory) / "home", Path(directory) / "record"
        record.touch()
        logging.getLogger("miniclaw").setLevel(logging.ERROR)
        ledger = Ledger(home, record)
        for number in range(cycles):
            _cycle(home, ledger, record, number, seed, args)
        ledger.finish()
        return ledger.totals


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.kill_load", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between two autosaves")
    parser.add_argument("--life", type=float, default=0.3, help="longest life of a gateway, in seconds")
    parser.add_argument("--cold", action="store_true", help="start an interpreter each time, instead of forking")
    parser.add_argument("--jobs", type=int, default=2, help="workspaces side by side")
    args = parser.parse_args()
    print(f"seed {args.seed}, {args.cycles} cycles, autosave every {args.interval:g} s", flush=True)
    started = time.perf_counter()
    shares = [args.cycles // args.jobs + (job < args.cycles % args.jobs) for job in range(args.jobs)]
    totals = Totals()
    with ProcessPoolExecutor(args.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        runs = [pool.submit(run_cycles, share, f"{args.seed} {job}", args) for job, share in enumerate(shares)]
        for done in runs:
            for name, value in vars(done.result()).items():
                setattr(totals, name, getattr(totals, name) + value)
    _show(totals, time.perf_counter() - started)
    return int(bool(totals.failures))


def _show(totals: Totals, seconds: float) -> None:
    for name, value in vars(totals).items():
        if name != "by_design_ms":
            print(f"{name.replace('_', ' '):13} {len(value) if isinstance(value, list) else value:>9,}")
    ages = sorted(totals.by_design_ms)
    print(f"{'not yet saved':13} {len(ages):>9,}  (by design: answered, and no save had reached them)")
    if ages:
        share = 100 * len(ages) / totals.said
        print(
            f"{'':23}  {share:.2f} % of what was said, {len(ages) / totals.cycles:.2f} a kill; age when killed: ",
            end="",
        )
        print(
            f"median {ages[len(ages) // 2]:.1f} ms, 99 % {ages[len(ages) * 99 // 100]:.1f} ms, most {ages[-1]:.1f} ms"
        )
    print(f"{'seconds':13} {seconds:>9.1f}")
    for failure in totals.failures[:_SHOWN]:
        print(f"    {failure[:300]}")


if __name__ == "__main__":
    sys.exit(main())

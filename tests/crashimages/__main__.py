"""`python -m tests.crashimages`: look at every state that a crash could have left on a logged disk.

A FUSE file system serves a disk and logs what it is told, writes and flushes in their order. On it, over a loop
device, lies a file system; on that people chat by way of a manager whose journal runs, and writers save files over the
store's own code, and what is acknowledged is dated in the disk's log. From the log the disk is made again as a crash could have left it: everything before the last
flush, and of the rest a beginning (half of the images) or any writes, whole or torn (the other half). Each image is
mounted, which replays the journal; then a start-up, and a check of all that was acknowledged by then. A fifth of the
images are of a second crash, in the start-up that follows one: in the middle of a removal, or of a chat.

Exits with 1 if anything was lost, torn, brought back or left over or could not be mounted, and with 0 and a line
``skipped: …`` for what cannot be run here.
"""

from __future__ import annotations

import argparse
import multiprocessing
import secrets
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from time import perf_counter

from tests.crashimages.disk import check_needs
from tests.crashimages.recording import try_disk
from tests.crashimages.rounds import Outcome, run_round
from tests.powercut.cutting_os import KINDS
from tests.powercut.image import CannotRunError, end_with_parent, private_mounts

_ROUND_IMAGES = 500
_SHOWN = 5
_COLUMNS = (
    f"{'fs':5} {'entries':>8} {'prefix':>7} {'subset':>7} {'in start-up':>11} {'acknowledged':>12} {'lost':>6} {'torn':>6} "
    f"{'returned':>8} {'left':>6} {'unmountable':>11} {'seconds':>8}"
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crashimages", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--images", type=int, default=5_000, help="on each file system")
    parser.add_argument("--fs", action="append", choices=["ext4", "xfs"], help="may be given twice; both if not given")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--break", dest="broken", choices=list(KINDS), default="nothing", help="prove that it can see")
    parser.add_argument("--dir", type=Path, default=None, help="where the images lie; /dev/shm, if there is one")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for the images with findings")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    directory = args.dir or (Path("/dev/shm") if Path("/dev/shm").is_dir() else None)  # noqa: S108 - for speed
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
    print(f"seed {args.seed}, broken: {args.broken}")
    kinds = []
    for kind in args.fs or ["ext4", "xfs"]:
        try:
            private_mounts()
            check_needs()
            try_disk(kind, directory)
        except (CannotRunError, OSError) as error:
            print(f"skipped: {kind}: {error}")
        else:
            kinds.append(kind)
    if kinds:
        print(_COLUMNS, flush=True)
    bad = False
    sizes = [min(_ROUND_IMAGES, args.images - done) for done in range(0, args.images, _ROUND_IMAGES)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, mp_context=context, initializer=end_with_parent) as pool:
        for kind in kinds:
            started, total = perf_counter(), Outcome()
            fixed = (repeat(value) for value in (args.seed, args.broken, directory, args.keep))
            for outcome in pool.map(run_round, repeat(kind), range(len(sizes)), sizes, *fixed):
                total.add(outcome)
            _show(kind, total, perf_counter() - started)
            bad = bad or bool(total.findings) or bool(total.unmountable)
    return int(bad)


def _show(kind: str, total: Outcome, seconds: float) -> None:
    found = total.findings
    print(
        f"{kind:5} {total.entries:>8} {total.prefixes:>7} {total.subsets:>7} {total.in_start_up:>11} {total.acknowledgements:>12} "
        f"{len(found.lost):>6} {len(found.torn):>6} {len(found.returned):>8} {len(found.left):>6} "
        f"{len(total.unmountable):>11} {seconds:>8.1f}",
        flush=True,
    )
    for name, items in [*vars(found).items(), ("unmountable", total.unmountable)]:
        for item in items[:_SHOWN]:
            print(f"    {name}: {item[:500]}")


if __name__ == "__main__":
    sys.exit(main())

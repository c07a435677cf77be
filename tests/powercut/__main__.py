"""`python -m tests.powercut`: cut the power under a live writer, many times, and look what is left.

For each file system and each kind of cut: an image is mounted, writers save files on it over the store's own code, and
people chat by way of a manager whose journal runs; what is acknowledged (``saved`` in files, ``said`` to the people) is
noted outside of the image, if that was before the cut began. The power goes before a call or at a moment that the
seed says; then umount, mount, start-up, and a check of all that was acknowledged. Some cuts hit the start-up itself.

Exits with 1 if anything was lost, torn, brought back or left over, and with 0 and a line ``skipped: …`` for what
cannot be run here.
"""

from __future__ import annotations

import argparse
import multiprocessing
import secrets
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.powercut.cuts import Outcome, run_cuts, try_cuts
from tests.powercut.cutting_os import KINDS
from tests.powercut.image import LOG_FLUSHED, LOG_LOST, CannotRunError, end_with_parent, private_mounts

_SHOWN = 5
_COLUMNS = (
    f"{'fs':5} {'flag':>4} {'cuts':>7} {'in start-up':>11} {'saved':>8} {'said':>8} {'lost':>6} {'torn':>6} "
    f"{'returned':>8} {'left':>6} {'seconds':>8}"
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.powercut", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--cuts", type=int, default=500, help="of each kind on each file system")
    parser.add_argument("--fs", action="append", choices=["ext4", "xfs"], help="may be given twice; both if not given")
    parser.add_argument("--flag", type=int, action="append", choices=[LOG_FLUSHED, LOG_LOST], help="both if not given")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--break", dest="broken", choices=list(KINDS), default="nothing", help="prove that it can see")
    parser.add_argument("--dir", type=Path, default=None, help="where the images lie; /dev/shm, if there is one")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    directory = args.dir or (Path("/dev/shm") if Path("/dev/shm").is_dir() else None)  # noqa: S108 - for speed
    print(f"seed {args.seed}, broken: {args.broken}")
    kinds = []
    for kind in args.fs or ["ext4", "xfs"]:
        try:
            private_mounts()
            try_cuts(kind, directory)
        except (CannotRunError, OSError) as error:
            print(f"skipped: {kind}: {error}")
        else:
            kinds.append(kind)
    work = [
        (kind, flag, args.cuts, args.seed, args.broken, directory)
        for kind in kinds
        for flag in args.flag or [LOG_FLUSHED, LOG_LOST]
    ]
    if not work:
        return 0
    print(_COLUMNS, flush=True)
    bad = False
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, mp_context=context, initializer=end_with_parent) as pool:
        for outcome in pool.map(run_cuts, *zip(*work, strict=True)):
            _show(outcome)
            bad = bad or bool(outcome.findings)
    return int(bad)


def _show(outcome: Outcome) -> None:
    found = outcome.findings
    print(
        f"{outcome.kind:5} {outcome.flag:>4} {outcome.cuts:>7} {outcome.in_recovery:>11} "
        f"{outcome.acknowledgements:>8} {outcome.said:>8} {len(found.lost):>6} {len(found.torn):>6} "
        f"{len(found.returned):>8} {len(found.left):>6} {outcome.seconds:>8.1f}",
        flush=True,
    )
    for name, items in vars(found).items():
        for item in items[:_SHOWN]:
            print(f"    {name}: {item[:300]}")


if __name__ == "__main__":
    sys.exit(main())

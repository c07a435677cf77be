"""Prints what becomes of sessions on each kind of machine: `python -m tests.notice [-n 100] [-s SEED] [-k KIND]`."""

from __future__ import annotations

import argparse

from tests.notice.outcome import try_kind
from tests.notice.scenarios import KINDS


def main() -> None:
    """Print a row for each kind; late and stuck are in days of power, and a slash stands before the reference."""
    parser = argparse.ArgumentParser(prog="python -m tests.notice", description=__doc__)
    parser.add_argument("-n", type=int, default=100, help="scenarios of each kind")
    parser.add_argument("-s", "--seed", type=int, default=1)
    parser.add_argument("-k", "--kind", action="append", choices=KINDS)
    args = parser.parse_args()
    print("| kind | removed | early | unannounced | wrong stamps | p95 | max | still there after 10 days |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind in args.kind or KINDS:
        ours, reference = try_kind(kind, args.n, args.seed)
        pairs = [
            f"{mine:,} / {its:,}" if isinstance(mine, int) else f"{mine:.1f} / {its:.1f}"
            for mine, its in [
                (ours.removed, reference.removed),
                (ours.early + ours.slight, reference.early + reference.slight),
                (ours.unannounced, reference.unannounced),
                (ours.misstamped, reference.misstamped),
                (ours.p95, reference.p95),
                (ours.most, reference.most),
                (ours.stuck, reference.stuck),
            ]
        ]
        print(f"| {kind} | {' | '.join(pairs)} |", flush=True)


if __name__ == "__main__":
    main()

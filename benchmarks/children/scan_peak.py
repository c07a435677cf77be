"""`python -m benchmarks.children.scan_peak SESSIONS FEW [STATE]`: how many bytes a scan adds at its peak.

FEW is a small directory that is scanned before, so that all code is loaded. With a folder for the state the ledger that
lies there is used.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks import ours
from benchmarks.memory import peak_growth


def main(sessions: Path, state: Path | None, warm_up: Path) -> dict[str, object]:
    """Scan a small directory, so that all code is loaded, then the large one."""
    ours.scan(warm_up)
    if state is None:
        return peak_growth(lambda: ours.scan(sessions))
    return peak_growth(lambda: ours.scan_known(sessions, state))


if __name__ == "__main__":
    first, second, *rest = map(Path, sys.argv[1:])
    print(json.dumps(main(first, rest[0] if rest else None, second)))

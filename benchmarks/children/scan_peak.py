"""`python -m benchmarks.children.scan_peak SESSIONS STATE FEW`: how many bytes a mere scan adds at its peak.

STATE is where the ledger lies, or will. FEW is a small directory that is cleaned up before, so that all code is loaded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import ours
from benchmarks.memory import peak_growth


def main(sessions: Path, state: Path, few: Path) -> dict[str, object]:
    """Clean up the small directory, then the large one."""
    with TemporaryDirectory(dir=state.parent) as folder:
        ours.clean_up(few, Path(folder))
    return peak_growth(lambda: ours.clean_up(sessions, state))


if __name__ == "__main__":
    print(json.dumps(main(*map(Path, sys.argv[1:]))))

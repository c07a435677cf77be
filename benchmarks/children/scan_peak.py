"""`python -m benchmarks.children.scan_peak SESSIONS FEW`: how many bytes a mere scan adds at its peak.

FEW is a small directory that is cleaned up before, so that all code is loaded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks import ours
from benchmarks.memory import peak_growth


def main(sessions: Path, few: Path) -> dict[str, object]:
    """Clean up the small directory, then the large one."""
    ours.clean_up(few)
    return peak_growth(lambda: ours.clean_up(sessions))


if __name__ == "__main__":
    print(json.dumps(main(*map(Path, sys.argv[1:]))))

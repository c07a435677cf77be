"""How much memory a process takes, as Linux says it.

RSS counts pages that are shared with other processes (the interpreter's, of libraries) in full, PSS by their part.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct


class Memory(Struct, frozen=True):
    """Bytes.

    Attributes:
        rss: Resident pages.
        pss: The same, those that are shared by their part.
    """

    rss: int
    pss: int


def memory_of(pid: int) -> Memory:
    """Return the memory of a process.

    Raises:
        OSError: The system does not say.
    """
    kilobytes = parse_kilobytes(Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii"))
    return Memory(kilobytes["Rss"] * 1024, kilobytes["Pss"] * 1024)


def parse_kilobytes(text: str) -> dict[str, int]:
    """Return the sizes that a file of /proc tells, in kilobytes by their names; other lines are left out."""
    fields = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in fields if len(words) == 3 and words[2] == "kB"}


def peak_growth(work: Callable[[], object]) -> dict[str, object]:
    """Do some work in this process, and return how far its resident memory rose above what it was before.

    Returns:
        ``{"bytes": …}``, or ``{"unavailable": …}`` with the reason.
    """
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5): sets VmHWM back to VmRSS
        before = _status()["VmRSS"]
        work()
        return {"bytes": (_status()["VmHWM"] - before) * 1024}
    except OSError as error:
        return {"unavailable": f"the system does not tell the peak of a process: {error}"}


def _status() -> dict[str, int]:
    return parse_kilobytes(Path("/proc/self/status").read_text(encoding="ascii"))


def processor_ticks(pid: int) -> int:
    """Return how much processor time a process has used, in clock ticks.

    Raises:
        OSError: The system does not say.
    """
    # proc(5): after the name, which stands in parentheses and may hold anything, utime and stime are the 12th and 13th.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])

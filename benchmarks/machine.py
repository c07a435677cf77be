"""What figures depend on: machine, versions, and the command that makes them again."""

from __future__ import annotations

import os
import platform
import shlex
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path


def describe(directory: Path) -> dict[str, str]:
    """Return it by headings; `directory` is where the files are made."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "command": f"`{shlex.join(['python', '-m', 'benchmarks', *sys.argv[1:]])}`",
        "processor": f"{_processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} when it began",
        "memory": f"{memory / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()}, {_file_system(directory)}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in ("trio-miniclaw", "msgspec", "trio"))
        + f"; SQLite {sqlite3.sqlite_version}",
    }


def _processor() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "Model"}:
            return value.strip()
    return platform.processor() or platform.machine()


def _file_system(directory: Path) -> str:
    # proc(5), mountinfo: the fifth field is the mount point, the type stands behind a lone hyphen. The longest mount
    # point that is a parent wins, of equal ones the last, which lies on top.
    path = directory.resolve()
    found, kind = Path("/"), "an unknown file system"
    for line in _lines(Path("/proc/self/mountinfo")):
        left, _, right = line.partition(" - ")
        point = Path(left.split()[4].replace("\\040", " "))
        if path.is_relative_to(point) and len(point.parts) >= len(found.parts):
            found, kind = point, right.split()[0]
    return kind


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return

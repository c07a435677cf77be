"""The functions that are measured: five ways to answer which sessions of a directory are expired.

Each is given a directory and a time, opens it, looks at every file, and returns how many are expired at that time. The
peers are written as one would write them for speed: `scandir`, an unbuffered read, a decoder made once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from miniclaw.session import codec
from miniclaw.session.directory import SessionDirectory
from miniclaw.session.names import SUFFIX
from miniclaw.session.plan import scan_sync
from miniclaw.session.retention import SESSION_TTL_DAYS, RetentionPolicy
from miniclaw.session.types import AwareDatetime

CountExpired: TypeAlias = Callable[[Path, datetime], int]

_POLICY: Final = RetentionPolicy()
_TTL: Final = timedelta(days=SESSION_TTL_DAYS)
_FIND: Final = shutil.which("find")


class _OneField(Struct):
    last_accessed: AwareDatetime


_decode_one_field = msgspec.json.Decoder(_OneField).decode


def header_scan(directory: Path, now: datetime) -> int:
    """Count with the scan of the daily cleanup: header from the first page, ids against the name, the policy."""
    with SessionDirectory.open(directory) as sessions:
        plan = scan_sync(sessions, _POLICY, now)
    if plan.problems or plan.future:
        raise RuntimeError(f"the benchmark's own files are not in order: {[*plan.problems, *plan.future][:3]}")
    return len(plan.removals)


def one_field(directory: Path, now: datetime) -> int:
    """Count with msgspec decoding `last_accessed` alone from the whole file."""
    return sum(now - _decode_one_field(data).last_accessed > _TTL for data in _contents(directory))


def whole_json(directory: Path, now: datetime) -> int:
    """Count with `json.load`, as a program without msgspec would."""
    expired = 0
    for path in _paths(directory):
        with open(path, encoding="utf-8") as file:
            session = json.load(file)
        expired += now - datetime.fromisoformat(session["last_accessed"]) > _TTL
    return expired


def whole_session(directory: Path, now: datetime) -> int:
    """Count with the whole `Session`, messages and all, as it is loaded for an agent's turn."""
    return sum(now - codec.decode_session(data).last_accessed > _TTL for data in _contents(directory))


def find_mtime(directory: Path, _now: datetime) -> int:
    """Count with `find`, which opens no file and believes the mtime; starting the process is part of it.

    It goes by the system's clock, and takes ``+30`` for 31 whole days or more.
    """
    if _FIND is None:
        raise RuntimeError("there is no find")
    command = [_FIND, str(directory), "-name", f"*{SUFFIX}", "-mtime", f"+{SESSION_TTL_DAYS}"]
    return len(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines())


HEADER_SCAN: Final = "header scan (ours)"
ONE_FIELD: Final = "msgspec, one field of the whole file"
WHOLE_JSON: Final = "`json.load`"
WHOLE_SESSION: Final = "msgspec, the whole `Session`"
FIND_MTIME: Final = "`find -mtime +30`, reads no file"

READERS: Final[dict[str, CountExpired]] = {
    HEADER_SCAN: header_scan,
    ONE_FIELD: one_field,
    WHOLE_SESSION: whole_session,
    WHOLE_JSON: whole_json,
}
"""What goes by the content of the files."""


def contenders() -> dict[str, CountExpired]:
    """Return all that can be measured on this machine, by the name in the report."""
    return READERS | ({FIND_MTIME: find_mtime} if _FIND else {})


def skipped() -> dict[str, str]:
    """Return what cannot be measured on this machine, and why."""
    return {} if _FIND else {FIND_MTIME: "there is no `find` in PATH"}


def _paths(directory: Path) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX):
                yield entry.path


def _contents(directory: Path) -> Iterator[bytes]:
    for path in _paths(directory):
        with open(path, "rb", buffering=0) as file:
            yield file.read()

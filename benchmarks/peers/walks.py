"""Ways to look at every file of a directory without what miniclaw does: by the status alone, and by reading it whole.

Written as one would write them for speed: `scandir`, an unbuffered read, a decoder made once. Each returns how many
files are expired.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from benchmarks.figure import UnavailableError
from miniclaw.session.names import SUFFIX
from miniclaw.session.types import AwareDatetime, Session

TTL: Final = timedelta(days=30)


class _OneField(Struct):
    last_accessed: AwareDatetime


_decode_one_field = msgspec.json.Decoder(_OneField).decode
_decode_session = msgspec.json.Decoder(Session).decode


def stat_only(directory: Path) -> int:
    """Go by the times of the files; nothing is opened."""
    oldest = (datetime.now(UTC) - TTL).timestamp()
    with os.scandir(directory) as entries:
        return sum(
            entry.stat(follow_symlinks=False).st_mtime < oldest for entry in entries if entry.name.endswith(SUFFIX)
        )


def one_field(directory: Path) -> int:
    """Have msgspec decode `last_accessed` alone, from the whole file."""
    oldest = datetime.now(UTC) - TTL
    return sum(_decode_one_field(data).last_accessed < oldest for data in _contents(directory))


def whole_session(directory: Path) -> int:
    """Have msgspec decode the whole session, messages and all."""
    oldest = datetime.now(UTC) - TTL
    return sum(_decode_session(data).last_accessed < oldest for data in _contents(directory))


def whole_json(directory: Path) -> int:
    """Use `json.load`, as a program without msgspec would."""
    oldest = datetime.now(UTC) - TTL
    expired = 0
    for path in _paths(directory):
        with open(path, encoding="utf-8") as file:
            session = json.load(file)
        expired += datetime.fromisoformat(session["last_accessed"]) < oldest
    return expired


def find_expired(directory: Path) -> int:
    """Use `find -mtime +30`, which opens no file; starting the process is part of it."""
    done = subprocess.run(_find(directory), stdout=subprocess.PIPE, check=True)
    return len(done.stdout.splitlines())


def find_delete(directory: Path) -> None:
    """Remove by `find -mtime +30 -delete`."""
    subprocess.run([*_find(directory), "-delete"], check=True)


def _find(directory: Path) -> list[str]:
    find = shutil.which("find")
    if find is None:
        raise UnavailableError("there is no `find` in PATH")
    return [find, str(directory), "-name", f"*{SUFFIX}", "-mtime", f"+{TTL.days}"]


def _paths(directory: Path) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX):
                yield entry.path


def _contents(directory: Path) -> Iterator[bytes]:
    for path in _paths(directory):
        with open(path, "rb", buffering=0) as file:
            yield file.read()

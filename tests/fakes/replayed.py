"""The start of an owner after a crash, and the files that it leaves."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format import codec
from miniclaw.session.journal.records import JOURNAL_NAME
from miniclaw.session.journal.replay import Replay, replay
from miniclaw.session.names import file_name
from miniclaw.session.removal.quarantine_files import list_quarantined, read_quarantined
from tests.fakes.journalled import FILLING, NOW, Journalled, texts, write_segment
from tests.fakes.os_calls import FaultyOs

MISFIT = (
    "Messages in the journal do not fit their session file, which was changed or deleted; they are in quarantine, "
    "as a session"
)
DAMAGED = "Journal is damaged; acknowledged messages may be missing, and the segment is in quarantine"

THREE, SIX = ["m0", "m1", "m2"], ["m0", "m1", "m2", "m3", "m4", "m5"]


def start(path: Path, fs: FaultyOs | None = None) -> Replay:
    """Start as the owner, and end at once."""
    with SessionDirectory.open(path, fs=fs) as directory:
        directory.own()
        return replay(directory)


def file_texts(path: Path, session_id: str = "web_a") -> list[str] | None:
    """Return the texts in the file of a session; None: there is no file."""
    file = path / file_name(session_id)
    return texts(codec.decode_session(file.read_bytes())) if file.exists() else None


def quarantined(path: Path) -> list[list[str]]:
    """Return the texts of the sessions in quarantine."""
    with SessionDirectory.open(path) as reader:
        return [texts(read_quarantined(reader, file.id)[0]) for file in list_quarantined(reader) if file.header]


def segments(path: Path) -> list[str]:
    """Return the names in the folder of the journal."""
    return sorted(os.listdir(path / JOURNAL_NAME))


def everything(path: Path) -> dict[str, bytes]:
    """Return all files with their contents, but for the lock."""
    files = [file for file in path.rglob("*") if file.is_file() and file.name != ".lock"]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def damage_line(number: int) -> Callable[[Path], object]:
    """Return a function that changes a line of the last segment; its checksum is wrong then."""

    def by_the_disk(path: Path) -> None:
        file = path / JOURNAL_NAME / segments(path)[-1]
        lines = file.read_bytes().rstrip(b"\n").split(b"\n")
        lines[number] = lines[number].replace(b'"user"', b'"USER"').replace(b'"open"', b'"OPEN"')
        file.write_bytes(b"\n".join(lines) + FILLING)

    return by_the_disk


def damaged(path: Path) -> None:
    """Leave a session of one message, and a damaged segment with two more in whole records."""
    told = Journalled().add("m0").forget_records()
    told.save(path)
    write_segment(path, *[told.add(text, at=NOW).take() for text in THREE[1:]])
    damage_line(0)(path)

"""`python -m benchmarks.children.session_peak WORK FOLDER BYTES MESSAGE_BYTES`: what a large session takes at its peak.

WORK is ``save``, which makes a session and saves it, or ``load``, which loads the one that was saved. Prints by how
many bytes the process grew above what it was before, and how many the file has. A session that is loaded is part
of that growth; one that is saved was there before.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

from benchmarks import texts
from benchmarks.memory import peak_growth
from miniclaw.session import names
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.types import Message, Session

_CHAT: Final = ("web", "large")
_WHEN: Final = datetime(2026, 1, 5, 8, tzinfo=UTC)


def main(work: str, folder: Path, size: int, message_bytes: int) -> dict[str, object]:
    """Do the same with a small session, so that all code is loaded, and then with the large one."""
    session_id = names.make_session_id(*_CHAT)
    large, small = folder / "large", folder / "small"
    for path in (large, small):
        path.mkdir(mode=0o700, exist_ok=True)
    with SessionDirectory.open(small) as directory:
        directory.own()
        directory.write(_session(message_bytes, message_bytes))
        directory.load(session_id)
    with SessionDirectory.open(large) as directory:
        directory.own()
        if work == "save":
            session = _session(size, message_bytes)
            growth = peak_growth(lambda: directory.write(session))
        else:
            loaded = []
            growth = peak_growth(lambda: loaded.append(directory.load(session_id)))
    return {**growth, "file": (large / names.file_name(session_id)).stat().st_size}


def _session(size: int, message_bytes: int) -> Session:
    rng = Random(1)
    pool = [sentence for sentence in texts.sentences(rng) if sentence.isascii()]
    messages: list[Message] = []
    for _ in range(max(1, size // message_bytes)):
        text = " ".join(rng.choices(pool, k=1 + message_bytes // 60))
        messages.append(Message("user", text.ljust(message_bytes)[:message_bytes], _WHEN))
    return Session(names.make_session_id(*_CHAT), *_CHAT, _WHEN, _WHEN, messages)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))))

"""What was acknowledged, kept outside of the image, and what may therefore lie on the disk after a power cut.

A session is at a version, which says its whole content, or absent. What was acknowledged last is one state that it
may be in; what was begun since and not acknowledged adds another. Anything else is a loss, a tear or a return.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from miniclaw.errors import CorruptSessionError, SessionNotFoundError, StoreError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME
from miniclaw.session.types import Message, Session
from tests.fakes.work_folder import left_in_work

NOW: Final = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ABSENT: Final = 0
"""The version of a session that is not there."""
STRANGE_PREFIX: Final = ".strange-"
"""Of what the test itself puts into the directory."""


def is_old(version: int) -> bool:
    """Return whether this version of a session was last used too long ago."""
    return version % 2 == 1


def content(session_id: str, version: int) -> Session:
    """Return a session as it is at a version: odd ones are expired; few to many bytes."""
    channel, _, chat_id = session_id.partition("_")
    chance = random.Random(zlib.crc32(f"{session_id} {version}".encode()))  # noqa: S311 - replayable on purpose
    used = NOW - timedelta(days=31 if is_old(version) else 1)
    size = chance.choice((10, 10, 300, 300, 5_000, 60_000))
    messages = [Message("user", f"{version}:{number}:" + "x" * chance.randrange(size), used) for number in range(3)]
    return Session(session_id, channel, chat_id, used, used, messages)


@dataclass
class Findings:
    """What is wrong; all empty, if nothing is."""

    lost: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(vars(self).values())


class Ledger:
    """Each session is written by one thread only, so that no lock is needed."""

    def __init__(self, session_ids: list[str]) -> None:
        self.session_ids = session_ids
        self.acknowledged = dict.fromkeys(session_ids, ABSENT)
        self.begun: dict[str, set[int]] = {session_id: set() for session_id in session_ids}
        self.damaged: set[bytes] = set()  # contents that may stand in the place of a session
        self.evidence: set[bytes] = set()  # those of them that are durable, so that they may never go
        self._newest = 0

    def next_version(self, session_id: str, *, old: bool) -> int:
        """Begin a save; return the version to write."""
        self._newest += 2
        version = self._newest + (1 if old else 0)
        self.begin(session_id, version)
        return version

    def begin(self, session_id: str, version: int) -> None:
        """Note that a session may be at this version from now on; `ABSENT`: that it is being removed."""
        self.begun[session_id].add(version)

    def acknowledge(self, session_id: str, version: int) -> None:
        """Note that the store said so: this is the state now, and nothing is under way."""
        self.acknowledged[session_id] = version
        self.begun[session_id].clear()

    def begin_damage(self, data: bytes) -> None:
        """Note that this may stand in the place of a session from now on."""
        self.damaged.add(data)

    def acknowledge_damage(self, data: bytes) -> None:
        """Note that it stands there durably, so that it may never go."""
        self.evidence.add(data)

    def check(self, directory: SessionDirectory) -> Findings:
        """Compare the disk with what was acknowledged, and take it for the beginning of the next round."""
        found = Findings()
        for session_id in self.session_ids:
            acknowledged, begun = self.acknowledged[session_id], self.begun[session_id]
            what = f"{session_id}: acknowledged {acknowledged}, begun {sorted(begun)}"
            try:
                session = directory.load(session_id)
            except SessionNotFoundError:
                seen = ABSENT
            except CorruptSessionError as error:
                data = error.path.read_bytes()
                if data not in self.damaged:
                    found.torn.append(f"{what}: {error}")
                self.evidence.discard(data)
                error.path.unlink()
                seen = ABSENT
            except StoreError as error:
                found.torn.append(f"{what}: {error}")
                continue
            else:
                seen = int(session.messages[0].content.partition(":")[0])
                if session != content(session_id, seen):
                    found.torn.append(f"{what}: version {seen} is not whole")
            if seen != acknowledged and seen not in begun:
                kind = found.returned if acknowledged == ABSENT else found.lost
                kind.append(f"{what}, found {seen}")
            self.acknowledge(session_id, seen)
        self._check_folders(directory.path, found)
        return found

    def _check_folders(self, path: Path, found: Findings) -> None:
        found.left += left_in_work(path)
        quarantine = path / QUARANTINE_NAME
        kept = {file.read_bytes(): file for file in quarantine.iterdir()} if quarantine.exists() else {}
        found.lost += [f"{evidence!r} is not in quarantine" for evidence in self.evidence - set(kept)]
        found.torn += [f"{file} in quarantine" for data, file in kept.items() if data not in self.damaged]
        for file in [*kept.values(), *path.glob(f"{STRANGE_PREFIX}*")]:
            file.unlink()
        self.damaged.clear()
        self.evidence.clear()

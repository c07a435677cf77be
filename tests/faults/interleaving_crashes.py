"""What a crash may leave of one session, its journal and the trash, and the two starts after it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

import trio

from miniclaw.errors import SessionNotFoundError
from miniclaw.session.format import codec
from miniclaw.session.journal.records import JOURNAL_NAME
from miniclaw.session.live.store import open_store
from miniclaw.session.types import Session
from tests.fakes.point_os import PointOs

ID: Final = "web_a"


@dataclass
class Told:
    """What was said in the session, and what of it was acknowledged.

    Attributes:
        lives: The texts of the session, and of the one that began anew after its removal.
        sure: For each life, how many of its texts are acknowledged.
        saying: A text of which nobody knows yet to which life it belongs, if to any.
        pins: The pins that the last life may have: the one acknowledged last, and those set since.
        removal: Empty, ``begun`` or ``ended``.
        is_erased: Whether the removal leaves nothing in the trash.
    """

    lives: list[list[str]] = field(default_factory=lambda: [[]])
    sure: list[int] = field(default_factory=lambda: [0])
    saying: str = ""
    pins: set[bool] = field(default_factory=lambda: {False})
    removal: str = ""
    is_erased: bool = False

    def keep(self, life: int, count: int) -> None:
        """So many texts of a life are acknowledged."""
        self.sure[life] = max(self.sure[life], count)

    def is_life(self, life: int, texts: Sequence[str]) -> bool:
        """Return whether these may be the texts of a life after a crash."""
        said = [*self.lives[life], *([self.saying] if self.saying else [])]
        return self.sure[life] <= len(texts) and list(texts) == said[: len(texts)]

    def judge(self, session: Session | None, trash: Sequence[Session]) -> str:
        """Return what is wrong with what a start has found; empty: nothing."""
        texts = None if session is None else texts_of(session)
        found = f"{texts} beside {[texts_of(each) for each in trash]} in the trash"
        is_first = texts is not None and self.is_life(0, texts)
        # A removal that is broken off may leave a copy in the trash.
        is_trashed = [texts_of(each) for each in trash] in ([], [texts]) if self.removal else not trash
        if is_first and is_trashed and self.removal != "ended" and len(self.lives) == 1:
            assert session is not None
            return "" if session.pinned in self.pins else f"pinned {session.pinned}"
        if not self.removal:
            return f"lost, torn or doubled: {found}"
        if not self.is_erased and not (len(trash) == 1 and self.is_life(0, texts_of(trash[0]))):
            return f"removed, and not whole in the trash: {found}"
        if len(self.lives) == 1:
            is_new = texts is None or texts in ([], [self.saying])
        else:
            is_new = self.sure[1] == 0 if texts is None else self.is_life(1, texts)
        return "" if is_new else f"returned or lost: {found}"


def texts_of(session: Session) -> list[str]:
    """Return what the messages of a session say."""
    return [message.content for message in session.messages]


State = dict[str, bytes]
"""Files by their paths in the sessions directory."""


class Crashes:
    """The states that a crash could leave, each looked at once.

    Attributes:
        count: How many there were.
    """

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._copy = path.with_name("crash")
        self._met: set[bytes] = set()
        self._todo: list[tuple[State, Told]] = []

    def note(self, path: Path, unsynced: Mapping[str, Sequence[tuple[int, int]]], told: Told) -> None:
        """Note how the directory is, and how it would be if what is not synced were gone, or torn.

        Args:
            path: The sessions directory.
            unsynced: Path -> ranges of the file.
            told: What was said.
        """
        state = {
            str(file.relative_to(path)): file.read_bytes()
            for file in sorted(path.rglob("*"))
            if file.is_file() and not file.is_symlink() and file.name != ".lock"
        }
        self._add(state, told)
        for cut in (0, 1 / 2) if unsynced else ():
            less = dict(state)
            for name, ranges in unsynced.items():
                key = str(Path(name).relative_to(path)) if Path(name).is_relative_to(path) else ""
                if key in less:
                    less[key] = _without(less[key], ranges, cut)
            self._add(less, told)

    def _add(self, state: State, told: Told) -> None:
        key = sha256(repr((sorted(_known(state)), told)).encode()).digest()
        if key not in self._met:
            self._met.add(key)
            self._todo.append((state, deepcopy(told)))

    def check(self) -> None:
        """Start anew in the states that were noted, twice each."""
        todo, self._todo = self._todo, []
        for state, told in todo:
            self.count += 1
            shutil.rmtree(self._copy, ignore_errors=True)
            self._copy.mkdir(0o700)
            for name, content in state.items():
                file = self._copy / name
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                file.write_bytes(content)
                file.chmod(0o600)
            for start in ("first", "second"):
                session, trash = trio.run(_start, self._copy)
                wrong = told.judge(session, trash)
                assert not wrong, f"{start} start: {wrong}; {told}; the crash left {sorted(state)}"


def _without(content: bytes, ranges: Sequence[tuple[int, int]], cut: float) -> bytes:
    left = bytearray(content)
    for offset, count in ranges:
        first = offset + int(count * cut)
        left[first : offset + count] = b"\n" * (offset + count - first)
    return bytes(left)


def _known(state: State) -> Iterator[tuple[str, bytes]]:
    """Give the files without the names that are drawn by lot."""
    for name, content in state.items():
        folder, _, rest = name.partition("/")
        yield (folder if rest and folder != JOURNAL_NAME else name), content


async def _start(path: Path) -> tuple[Session | None, list[Session]]:
    async with open_store(path, fs=PointOs()) as store:
        trash = [codec.decode_session(store.trash.read(entry.id)) for entry in store.trash.entries()]
        if store.unsaved:
            raise AssertionError("the start could not save all")
        try:
            return store.directory.load(ID), trash
        except SessionNotFoundError:
            return None, trash

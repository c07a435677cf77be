"""What a session and its file should be: the model that the real runtime is compared with."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from tests.fakes.samples import session_dict

TTL = timedelta(days=30)
NOTICE = timedelta(hours=20)


class State(NamedTuple):
    """A session as it should be; `last_used` is what the wall clock said, right or wrong."""

    said: tuple[str, ...]
    last_used: datetime
    pinned: bool = False


class Odd(NamedTuple):
    """What stands in the place of a session and is none."""

    kind: str
    data: bytes


File = State | Odd | None


class Chat:
    """The model of one chat: what its session is, what its file is, and what that may have become meanwhile."""

    def __init__(self) -> None:
        # In true time: when a state was used last, and since when it has been there.
        self.used: dict[State, timedelta] = {}
        self.since: dict[State, timedelta] = {}
        self.found(None)
        self.trashed: Counter[State] = Counter()  # what of it lies in the trash

    def is_expired(self, state: State, true: timedelta) -> bool:
        """Return whether a rule may take it at this true time."""
        return true - self.used[state] > TTL and not state.pinned

    def may_go_by_itself(self, state: State, true: timedelta) -> bool:
        """Return whether the daily run may take it: it is expired, and was there for long enough to be announced."""
        return self.is_expired(state, true) and true - self.since[state] >= NOTICE

    def came(self, state: State, true: timedelta, used: timedelta) -> State:
        """Take note of a state that came about at a true time."""
        self.used[state], self.since[state] = used, true
        return state

    def found(self, file: File) -> None:
        """Nothing is in memory, and this is on the disk."""
        self.now, self.file = file if isinstance(file, State) else None, file
        self.unsaved: list[State] = []  # what the session was since it was saved
        self.confirmed = -1  # the one of these that survives a crash for certain; -1: none, but the file does

    def use(self, now: datetime, true: timedelta, *said: str) -> None:
        old = self.now or State((), now)
        self.now = self.came(State(old.said + said, now, old.pinned), true, true)
        self.unsaved.append(self.now)

    def pin(self, pinned: bool, true: timedelta) -> bool:
        """Pin or unpin it; return whether that changes anything."""
        assert self.now is not None
        if self.now.pinned == pinned:
            return False
        self.now = self.came(self.now._replace(pinned=pinned), true, self.used[self.now])
        self.unsaved.append(self.now)
        return True

    def removed(self, *, to_trash: bool) -> None:
        """It is gone, and in the trash if there is one."""
        assert self.now is not None
        if to_trash:
            self.trashed[self.now] += 1
        self.found(None)

    def save(self) -> None:
        if self.unsaved:
            self.file, self.unsaved, self.confirmed = self.now, [], -1

    def confirm(self) -> None:
        """It survives a crash from now on."""
        self.confirmed = len(self.unsaved) - 1

    def may_be_on_disk(self) -> set[File]:
        """Return what a start after a crash may find; it keeps the latest time of use, whatever the clock said later."""
        states = [self.file, *self.unsaved]
        first = self.confirmed + 1
        found = set(states[first:])
        for at, state in enumerate(self.unsaved, 1):
            for before in states[:at] if at >= first else ():
                if isinstance(before, State) and before.last_used > state.last_used:
                    used, since = self.used[state], self.since[state]
                    found.add(self.came(state._replace(last_used=before.last_used), since, used))
        return found


def read_file(path: Path, session_id: str) -> File:
    """Return what lies there; a session has to be whole."""
    if path.is_symlink():
        return Odd("link", os.fsencode(os.readlink(path)))
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if data.startswith(b"corrupt"):
        return Odd("corrupt", data)
    content = json.loads(data)
    if content["session_id"] != session_id:
        return Odd("mismatched", data)
    return state_of(content)


def state_of(content: dict[str, Any]) -> State:
    """Return what a session's file says, decoded."""
    said = tuple(message["content"] for message in content["messages"])
    return State(said, datetime.fromisoformat(content["last_accessed"]), content.get("pinned", False))


def write_file(path: Path, session_id: str, file: File) -> None:
    """Replace what lies there, as another program would."""
    path.unlink(missing_ok=True)
    if isinstance(file, State):
        time = file.last_used.isoformat()
        messages = [{"role": "user", "content": said, "timestamp": time} for said in file.said]
        path.write_text(json.dumps(session_dict(session_id, file.last_used, messages=messages)))
    elif file is not None and file.kind == "link":
        path.symlink_to(os.fsdecode(file.data))
    elif file is not None:
        path.write_bytes(file.data)


def make_odd(kind: str, number: int, now: datetime) -> Odd:
    """Return something odd that is like nothing else."""
    if kind == "mismatched":
        return Odd(kind, json.dumps(session_dict(f"web_other{number}", now)).encode())
    return Odd(kind, f"{kind}{number}".encode())

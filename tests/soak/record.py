"""What the gateway said and acknowledged before it was killed, and whether it is all there."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from miniclaw.errors import SessionNotFoundError
from miniclaw.session.entries import StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.scan import DirectoryScan
from miniclaw.session.live.store import open_store
from tests.fakes.work_folder import left_in_work
from tests.soak.driver import CHANNEL


@dataclass
class Totals:
    """What the cycles showed so far."""

    cycles: int = 0
    in_start_up: int = 0
    said: int = 0
    acknowledged: int = 0
    removed: int = 0
    in_removal: int = 0
    lost: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    by_design_ms: list[float] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        return [*self.lost, *self.torn, *self.doubled, *self.returned, *self.left, *self.trouble]


class Ledger:
    """Knows from the record what has to lie in the sessions directory."""

    def __init__(self, home: Path, record: Path) -> None:
        self.sessions_dir = home / "workspace" / "sessions"
        self.totals = Totals()
        self._record = record
        self._read = 0
        self._saved: dict[str, int] = {}  # chat -> its last acknowledged message
        self._said: dict[str, dict[int, int]] = defaultdict(dict)  # chat -> message -> when, since the last check
        self._there: dict[str, set[int]] = {}  # chat -> answers that the last check saw on disk
        self._removed: set[str] = set()  # no session id is planted twice

    def check(self, killed_ns: int, cycle: int) -> None:
        """Compare the files with the record, right after a kill."""
        self._read_record()
        contents = self._read_files(cycle)
        with SessionDirectory.open(self.sessions_dir) as directory:  # sees the files with the journal over them
            for chat in {*contents, *self._said, *self._saved}:
                with suppress(SessionNotFoundError):
                    messages = directory.load(f"{CHANNEL}_{chat}").messages
                    contents[chat] = {"messages": [{"role": each.role, "content": each.content} for each in messages]}
        for chat, session in contents.items():
            self._check_chat(chat, session, killed_ns, cycle)
        for chat in set(self._saved) - set(contents):
            self.totals.lost.append(f"cycle {cycle}: {chat} is gone")
        self._check_removals(cycle)
        self._said.clear()

    def finish(self) -> None:
        """Start up once more, and read everything as the store does."""
        trio.run(self._start)
        self.totals.left += left_in_work(self.sessions_dir)
        with SessionDirectory.open(self.sessions_dir) as directory:
            with DirectoryScan(directory, lambda _: True) as scan:
                while rows := scan.next_batch(seconds=1):
                    self.totals.torn += [str(row) for row in rows if not isinstance(row, StoredSession)]
            for chat in self._saved:
                directory.load(f"{CHANNEL}_{chat}")

    async def _start(self) -> None:
        async with open_store(self.sessions_dir):
            pass

    def retire(self, chats: list[str]) -> None:
        """Delete sessions that have become long, with nothing of them in the journal; no gateway runs."""
        if any(chat in self._saved for chat in chats):
            trio.run(self._start)
        for chat in chats:
            (self.sessions_dir / f"{CHANNEL}_{chat}.json").unlink(missing_ok=True)
            self._saved.pop(chat, None)
            self._there.pop(chat, None)

    def _read_record(self) -> None:
        with self._record.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        for line in data.decode().splitlines():
            kind, _, rest = line.partition(" ")
            words = rest.split(" ")
            if kind == "said":
                self._said[words[0]][int(words[1])] = int(words[2])
                self.totals.said += 1
            elif kind == "saved":
                newest = max(self._saved.get(words[0], 0), int(words[1]))
                self._saved[words[0]] = newest
            elif kind == "removed":
                self._removed.add(rest)
            else:
                getattr(self.totals, kind).append(rest)

    def _read_files(self, cycle: int) -> dict[str, Any]:
        contents = {}
        for path in self.sessions_dir.glob("*.json"):
            try:
                session = json.loads(path.read_bytes())
                roles = [message["role"] for message in session["messages"]]
            except (ValueError, KeyError) as error:
                self.totals.torn.append(f"cycle {cycle}: {path.name}: {error}")
                continue
            if session["channel"] == CHANNEL:
                contents[session["chat_id"]] = session
                # A kill between the message and its answer may leave the message alone, once a cycle.
                if any(pair == ("assistant", "assistant") for pair in itertools.pairwise(roles)):
                    self.totals.torn.append(f"cycle {cycle}: {path.name}: two answers in a row")
        return contents

    def _check_chat(self, chat: str, session: Any, killed_ns: int, cycle: int) -> None:
        texts = [message["content"] for message in session["messages"]]
        numbers = [
            int(message["content"].split(" ")[0]) for message in session["messages"] if message["role"] == "assistant"
        ]
        asked = [int(message["content"].split(" ")[0]) for message in session["messages"] if message["role"] == "user"]
        if sorted(set(numbers)) != numbers or sorted(set(asked)) != asked:
            self.totals.doubled.append(f"cycle {cycle}: {chat}: {numbers}")
        if any(set(text.split(" ", 1)[1]) != {"x"} for text in texts):
            self.totals.torn.append(f"cycle {cycle}: {chat}: text is not as it was said")
        there = set(numbers)
        known = self._there.get(chat, set())
        missing = {number for number in known | set(self._said[chat]) if number not in there}
        for number in sorted(missing):
            if number in known or number <= self._saved.get(chat, 0):
                self.totals.lost.append(f"cycle {cycle}: {chat}: message {number}")
            else:
                self.totals.by_design_ms.append((killed_ns - self._said[chat][number]) / 1e6)
        self.totals.acknowledged += sum(number <= self._saved.get(chat, 0) for number in self._said[chat])
        self._there[chat] = there

    def _check_removals(self, cycle: int) -> None:
        in_place = {path.stem for path in self.sessions_dir.glob("old_*.json")}
        captured = {path.stem for path in self.sessions_dir.glob(".work/rm-*/*.json")}
        self.totals.in_removal += bool(captured)
        self.totals.returned += [f"cycle {cycle}: {name}" for name in self._removed & (in_place | captured)]
        self.totals.removed = len(self._removed)

"""What was confirmed to people during a soak, what happened, and what should not have; and the look at the files."""

from __future__ import annotations

import gzip
import itertools
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Final

from miniclaw.session.names import file_name

_MAX_TROUBLES: Final = 100


class Account:
    """Everything that a soak knows.

    Attributes:
        confirmed: By session, the messages of people that are on disk, by what the gateway said.
        counts: What happened how often.
        troubles: What should not have happened.
        stopping: The gateway is about to end: connections break, and that is no trouble.
    """

    def __init__(self, sessions_dir: Path) -> None:
        self.confirmed: dict[str, set[str]] = defaultdict(set)
        self.counts: Counter[str] = Counter()
        self.troubles: list[str] = []
        self.stopping = False
        self._sessions_dir = sessions_dir
        self._excused: set[str] = set()
        self._deleted: set[str] = set()

    def confirm(self, session_id: str, text: str) -> None:
        """Note that a message is on disk."""
        self.counts["messages confirmed"] += 1
        if session_id not in self._excused:
            self.confirmed[session_id].add(text)

    def excuse(self, session_id: str) -> None:
        """Note that somebody is going to delete a session on purpose."""
        self._excused.add(session_id)
        self.confirmed.pop(session_id, None)

    def expect_in_trash(self, session_id: str) -> None:
        """Note that a session is going to be deleted again and again, to the trash: all of it stays in one place."""
        self._deleted.add(session_id)

    def trouble(self, text: str, *, also_at_end: bool = True) -> None:
        """Note what should not have happened."""
        if self.stopping and not also_at_end:
            return
        self.counts["troubles"] += 1
        if len(self.troubles) < _MAX_TROUBLES:
            self.troubles.append(text[:600])

    def check_session(self, session_id: str) -> None:
        """Look whether everything that was confirmed is in the session's file, once, in its turn."""
        expected = self.confirmed.get(session_id, set())
        messages = self._messages(session_id)
        if messages is None:
            if expected:
                self.trouble(f"{session_id}: there is no file, and {len(expected)} messages were confirmed")
            return
        self.counts["sessions checked"] += 1
        self.counts["messages checked"] += len(expected)
        said = Counter(message["content"] for message in messages if message["role"] == "user")
        ids = Counter(message.get("inbound_id") for message in messages if message["role"] == "user")
        lost = [text for text in expected if not said[text]]
        doubled = [text for text, count in said.items() if count > 1]
        doubled += [str(name) for name, count in ids.items() if name is not None and count > 1]
        if lost:
            self.counts["messages lost"] += len(lost)
            self.trouble(f"{session_id}: lost {len(lost)}: {lost[0][:80]!r}")
        if doubled:
            self.counts["messages doubled"] += len(doubled)
            self.trouble(f"{session_id}: doubled: {doubled[0][:80]!r}")
        roles = [message["role"] for message in messages]
        alone = sum(pair == ("user", "user") for pair in itertools.pairwise(roles))
        if alone:
            self.trouble(f"{session_id}: {alone} messages with nothing behind them")

    def check_all(self) -> None:
        """Look at every session in which something was confirmed."""
        for session_id in list(self.confirmed):
            if session_id in self._deleted:
                self._check_deleted(session_id)
            else:
                self.check_session(session_id)

    def _check_deleted(self, session_id: str) -> None:
        """Look whether everything that was confirmed is in the session's file or in an entry of the trash."""
        said = {message["content"] for message in self._messages(session_id) or []}
        entries = list((self._sessions_dir / ".trash").glob(f"{session_id}.*.gz"))
        for entry in entries:
            with gzip.open(entry) as lines:
                lines.readline()  # what is told of the entry
                said |= {message["content"] for message in json.load(lines)["messages"]}
        expected = self.confirmed[session_id]
        self.counts["messages of deleted chats checked"] += len(expected)
        self.counts["entries of the trash read"] += len(entries)
        if lost := expected - said:
            self.counts["messages lost"] += len(lost)
            self.trouble(f"{session_id}: lost {len(lost)} in {len(entries)} deletions: {min(lost)[:80]!r}")

    def _messages(self, session_id: str) -> list[dict[str, Any]] | None:
        path = self._sessions_dir / file_name(session_id)
        for _ in range(20):  # a cleanup has it aside for milliseconds
            try:
                messages: list[dict[str, Any]] = json.loads(path.read_bytes())["messages"]
            except FileNotFoundError:
                continue
            return messages
        return None


def look_at_log(path: Path, account: Account, expected: frozenset[str]) -> Counter[str]:
    """Return how often each WARNING and ERROR was logged; errors that were not expected are troubles."""
    found: Counter[str] = Counter()
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                account.trouble(f"not a line of the log: {line.strip()}")
                continue
            if event["level"] in {"warning", "error"}:
                found[f"{event['level']}: {event['event']}"] += 1
            if event["level"] == "error" and event["event"] not in expected:
                account.trouble(f"logged: {line.strip()}")
    return found

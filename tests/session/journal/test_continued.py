"""`continued`, the one function that applies the journal: random lives of a session, and what happens to its file then.

The model writes records as the owner does: a commit has all messages from the last durable one on, a save commits a
changed pin before, and the note of a save may come late or never. Then the owner dies, and somebody may change the file.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias

from hypothesis import example, given, settings
from hypothesis import strategies as st

from miniclaw.session.format import codec
from miniclaw.session.journal.overlay import Continuation, continued
from miniclaw.session.journal.records import Body, Record, add_body, body, digest, live_records, read_segment, use_body
from miniclaw.session.types import Message, Session
from tests.fakes.journalled import NOW, segment_of, texts

Op: TypeAlias = Literal["add", "commit", "fail", "fail unwritten", "pin", "save", "save noted", "remove", "clear"]
Change: TypeAlias = Literal[
    "nothing", "formatted", "first edited", "last edited", "appended", "restored", "deleted", "another", "another pin"
]

OPS: Final[list[Op]] = ["add", "commit", "fail", "fail unwritten", "pin", "save", "save noted", "remove", "clear"]
CHANGES: Final[list[Change]] = [
    "nothing", "formatted", "first edited", "last edited", "appended", "restored", "deleted", "another", "another pin"
]  # fmt: skip
KEEPS_TEXTS: Final = {"nothing", "formatted", "another pin"}
EDITED: Final = "edited by hand"


class Owner:
    """The owner of one session: its memory, the file, and the journal.

    Attributes:
        session: In memory.
        file: The content of the file; None: there is none.
        files: All contents that the file had in the session's present life.
        bodies: The records of the segments that are not deleted, in their order.
        durable: Number of messages that were acknowledged.
        pinned: The pin that was acknowledged.
    """

    def __init__(self) -> None:
        self.bodies: list[Body] = []
        self.written = 0  # records so far, in deleted segments as well
        self.lives = 0
        self.said = 0
        self._begin()

    def _begin(self) -> None:
        self.lives += 1
        time = NOW + timedelta(days=self.lives)
        self.session = Session("web_a", "web", "a", time, time)
        self.file: bytes | None = None
        self.files: list[bytes] = []
        self.durable = 0
        self.is_known = False  # something of this life was acknowledged
        self.pinned = False
        self.recorded_pin: bool | None = None

    def do(self, op: Op) -> None:
        match op:
            case "add":
                self.session.last_accessed += timedelta(minutes=1)
                self.session.messages.append(Message("user", f"m{self.said}", self.session.last_accessed))
                self.said += 1
            case "pin":
                self.session.pinned = not self.session.pinned
            case "commit":
                self._write(self._news())
                self._acknowledge()
            case "fail":
                self._write(self._news())  # it is on the disk, and nobody was told
            case "fail unwritten":
                self.recorded_pin = self.session.pinned
            case "save" | "save noted":
                self._save(noted=op == "save noted")
            case "remove":
                self._save(noted=False)
                self._write([body("void", {"s": "web_a"})])
                self._begin()
            case "clear":
                self._save(noted=False)
                self.bodies.clear()
                self.recorded_pin = None

    def _news(self) -> list[Body]:
        session = self.session
        before = digest(session.messages[self.durable - 1]) if self.durable else ""
        bodies = []
        for n in range(self.durable, len(session.messages)):
            found, before = add_body("web_a", session, n, before)
            bodies.append(found)
        self.recorded_pin = session.pinned
        return bodies or [use_body("web_a", session, len(session.messages))]

    def _write(self, bodies: list[Body]) -> None:
        self.bodies += bodies
        self.written += len(bodies)

    def _acknowledge(self) -> None:
        self.durable, self.pinned, self.is_known = len(self.session.messages), self.session.pinned, True

    def _save(self, *, noted: bool) -> None:
        if self.recorded_pin is not None and self.recorded_pin != self.session.pinned:
            self._write(self._news())
        self.file = bytes(codec.encode_session(self.session))
        self.files.append(self.file)
        self._acknowledge()
        if noted:
            self._write([body("saved", {"s": "web_a", "upto": self.written + 1})])

    def records(self) -> list[Record]:
        """Return the live records, as the next start reads them."""
        first = self.written - len(self.bodies) + 1
        kept, is_damaged = read_segment(segment_of([self.bodies] if self.bodies else [], first=first))
        assert not is_damaged
        return live_records(kept).get("web_a", [])


def changed_by_hand(owner: Owner, change: Change, version: int) -> bytes | None:
    """Return the content of the file after a change by hand."""
    if owner.file is None or change == "deleted":
        return None
    if change == "restored":
        return owner.files[version % len(owner.files)]
    document: dict[str, Any] = json.loads(owner.file)
    messages = document["messages"]
    match change:
        case "formatted":
            return json.dumps(document, indent=2).encode()
        case "first edited" | "last edited" if messages:
            messages[0 if change == "first edited" else -1]["content"] = EDITED
        case "appended":
            messages.append({"role": "user", "content": "appended by hand", "timestamp": "2026-12-24T12:00:00Z"})
        case "another":
            document["created_at"] = "2020-01-01T00:00:00Z"
        case "another pin":
            document["pinned"] = not document.get("pinned", False)
        case _:
            pass
    return json.dumps(document).encode()


def load(data: bytes | None) -> Session | None:
    return None if data is None else codec.decode_session(data)


def content_of(record: Record) -> str:
    return codec.read_message(record.m, NOW).content


@settings(max_examples=500)
@given(
    ops=st.lists(st.sampled_from([*OPS, "add", "add", "commit"]), max_size=25),
    change=st.sampled_from(CHANGES),
    version=st.integers(0, 5),
)
@example(ops=["add", "commit", "add", "fail", "pin", "save", "pin", "save"], change="nothing", version=0)
@example(ops=["add", "save", "add", "fail", "add", "commit"], change="nothing", version=0)
@example(ops=["add", "save noted", "clear", "add", "commit"], change="deleted", version=0)
@example(ops=["save noted", "add", "commit"], change="deleted", version=0)
@example(ops=["add", "commit", "remove", "add", "commit"], change="nothing", version=0)
@example(ops=["add", "add", "save", "add", "save", "add", "commit"], change="restored", version=0)
def test_random_life_of_a_session_loses_nothing(ops: list[Op], change: Change, version: int) -> None:
    """What was acknowledged is in the file, or its records are for quarantine; and the file is not changed otherwise."""
    owner = Owner()
    for op in ops:
        owner.do(op)
    data, records = changed_by_hand(owner, change, version), owner.records()
    found = continued(load(data), records)
    check_nothing_is_lost(owner, found, records, data)
    check_only_joined(owner, found, data)
    if owner.file is None or change in KEEPS_TEXTS:
        check_all_is_there(owner, found, change)
    if change == "deleted" and any(record.op == "saved" for record in records):
        assert found.session is None
    check_again(found, records)


def check_nothing_is_lost(owner: Owner, found: Continuation, records: list[Record], data: bytes | None) -> None:
    """Each message of the journal is in the session, for quarantine, or was in the file before it was edited there."""
    there = texts(found.session) if found.session is not None else []
    unfit = {content_of(record) for record in found.unfit if record.op == "add"}
    for record in records:
        if record.op == "add" and content_of(record) not in {*there, *unfit}:
            assert there[record.n] == EDITED
            assert owner.file is not None
    # The others are in the file, unless the change by hand took them from there.
    noted = texts(load(owner.file) or Session("web_a", "web", "a", NOW, NOW))
    recorded = {content_of(record) for record in records if record.op == "add"}
    for text in texts(owner.session)[: owner.durable]:
        assert text in {*there, *unfit, *noted, *recorded}


def check_only_joined(owner: Owner, found: Continuation, data: bytes | None) -> None:
    """A file gets messages only behind its own, and only where it ends as the session once did."""
    session, file = found.session, load(data)
    before = [] if file is None else texts(file)
    if session is None:
        assert file is None
        return
    assert texts(session)[: len(before)] == before
    if len(session.messages) > len(before):
        assert found.changed
        ends = {*texts(owner.session), ""}
        assert (before[-1] if before else "") in ends
        if file is not None:
            assert file.created_at == session.created_at
    elif file is not None and not found.changed:
        assert (file.last_accessed, file.pinned) == (session.last_accessed, session.pinned)


def check_all_is_there(owner: Owner, found: Continuation, change: Change) -> None:
    """After a crash alone, the session is as it was acknowledged; what was not may be there as well."""
    assert not found.unfit
    if not owner.is_known and found.session is None:
        return
    assert found.session is not None
    there = texts(found.session)
    assert there[: owner.durable] == texts(owner.session)[: owner.durable]
    assert there == texts(owner.session)[: len(there)]
    if owner.recorded_pin in {None, owner.pinned} and change != "another pin":
        assert found.session.pinned == owner.pinned


def check_again(found: Continuation, records: list[Record]) -> None:
    """A start that was cut off after its saves does the same again, and changes nothing more."""
    if found.session is None:
        return
    again = continued(load(bytes(codec.encode_session(found.session))), records)
    assert again.session is not None
    assert not again.changed
    assert texts(again.session) == texts(found.session)
    assert [record.i for record in again.unfit] == [record.i for record in found.unfit]


@settings(max_examples=100)
@given(ops=st.lists(st.sampled_from([*OPS, "add", "add", "commit"]), max_size=20), cut=st.integers(0, 40))
def test_session_that_is_continued_in_two_steps_is_the_same(ops: list[Op], cut: int) -> None:
    """A reader may see the first records, and a save has more of them in the file meanwhile."""
    owner = Owner()
    for op in ops:
        owner.do(op)
    records = owner.records()
    whole = continued(load(owner.file), records)
    part = continued(load(owner.file), records[: min(cut, len(records))])
    data = None if part.session is None else bytes(codec.encode_session(part.session))
    after = continued(load(data), records)
    if owner.file is not None or data is None or not any(record.op == "saved" for record in records):
        assert (after.session, after.unfit) == (whole.session, whole.unfit)

"""A store of sessions in one SQLite file: an example of the protocol `miniclaw.stores.SessionStore`.

Each method is one transaction, in a worker thread. `miniclaw.testing.check_store` checks it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import trio

from miniclaw import (
    LeaseLostError,
    RevisionConflictError,
    SessionBusyError,
    SessionNotFoundError,
    StoreUnavailableError,
)
from miniclaw.stores import (
    CLOCK_TOLERANCE,
    AuditLine,
    Candidate,
    Change,
    Header,
    Lease,
    Outcome,
    Restoration,
    Saved,
    SessionStore,
    Stored,
    Totals,
    Trashed,
    Turn,
)

SCHEMA = """
    create table if not exists fence(n integer primary key autoincrement);
    create table if not exists session(id text primary key, created int, last int, rev int, pinned int default 0,
        meta blob default x'', due int, op text, size int default 0, count int default 0);
    create index if not exists session_last on session(last);
    create table if not exists message(id text, n int, body blob, primary key(id, n)) without rowid;
    create table if not exists lease(id text primary key, token int, owner text, until int);
    create table if not exists trash(entry text primary key, id text, removed int, expires int, reason text, by text,
        last int, size int, created int, pinned int, meta blob);
    create index if not exists trash_id on trash(id);
    create table if not exists audit(n integer primary key, at int, kind text, op text, by text, reason text, id text,
        last int, size int, entry text);
    create index if not exists audit_op on audit(op, id);
    create table if not exists sweep(one int primary key, token int, until int, began int, last int, note blob);
"""
EPOCH, LATEST = datetime(1970, 1, 1, tzinfo=UTC), 253_402_300_799_000_000
US = timedelta(microseconds=1)


def at(us: int) -> datetime:
    """Return the time of so many microseconds since 1970."""
    return EPOCH + us * US


def transaction(work: Callable[..., Any]) -> Callable[..., Any]:
    """Run a method in a worker thread, in one transaction."""

    @wraps(work)
    async def call(self: SqliteStore, *args: Any, **options: Any) -> Any:
        def run() -> Any:
            try:
                self.db.execute("begin immediate")
                try:
                    result = work(self, *args, **options)
                except BaseException:
                    self.db.execute("rollback")
                    raise
                self.db.execute("commit")
            except sqlite3.Error as error:
                raise StoreUnavailableError(str(error)) from error
            return result

        return await trio.to_thread.run_sync(run, limiter=self.limiter)  # waits for its end, also when cancelled

    return call


class SqliteStore(SessionStore):
    """A store over one file, which several programs may share; `owner` is unique to this one."""

    def __init__(self, path: Path | str, *, owner: str, clock: Callable[[], datetime] | None = None) -> None:
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60)
        self.db.executescript(f"pragma journal_mode = wal; pragma synchronous = full; {SCHEMA}")
        self.limiter = trio.CapacityLimiter(1)  # one thread at a time uses the connection
        self._owner, self._clock = owner, clock

    owner = property(lambda self: self._owner)
    clock = property(lambda self: self._clock)

    def one(self, sql: str, *values: Any) -> Any:
        return self.db.execute(sql, values).fetchone()

    def now(self) -> int:
        return ((self._clock or (lambda: datetime.now(UTC)))() - EPOCH) // US

    def fence(self) -> int:
        """Return a number larger than all before: for tokens, revisions, entries and lines."""
        return self.db.execute("insert into fence default values").lastrowid or 0

    def holds(self, lease: Lease) -> bool:
        held = (lease.session_id, lease.token, self.now())
        return self.one("select 1 from lease where id = ? and token = ? and until > ?", *held) is not None

    def until(self, duration: timedelta) -> int:
        return min(self.now() + duration // US, LATEST)

    def write(self, kind: str, op: str, by: str, reason: str, *session: Any) -> None:
        line = (self.fence(), self.now(), kind, op, by, reason, *(session or ("", None, 0, "")))
        self.db.execute("insert into audit values(?,?,?,?,?,?,?,?,?,?)", line)

    # Leases
    @transaction
    def acquire(self, session_id: str, duration: timedelta) -> Lease:
        held = self.one("select owner, until from lease where id = ?", session_id)
        if held and held[0] != self._owner and held[1] > self.now():
            raise SessionBusyError(session_id, held[0], (held[1] - self.now()) * US)
        token, found = self.fence(), self.one("select rev from session where id = ?", session_id)
        self.db.execute("replace into lease values(?,?,?,?)", (session_id, token, self._owner, self.until(duration)))
        return Lease(session_id, token, found[0] if found else 0)

    @transaction
    def renew(self, leases: Sequence[Lease], duration: timedelta) -> set[str]:
        for lease in filter(self.holds, leases):
            self.db.execute("update lease set until = ? where id = ?", (self.until(duration), lease.session_id))
        return {lease.session_id for lease in leases if not self.holds(lease)}

    @transaction
    def release(self, lease: Lease) -> None:
        self.db.execute("delete from lease where id = ? and token = ?", (lease.session_id, lease.token))

    # Reading
    HEADER = "select id, created, last, rev, count, size, pinned, meta, due from session "

    @staticmethod
    def to_header(row: Any) -> Header:
        sid, created, last, rev, count, size, pinned, meta, due = row
        channel, _, chat_id = sid.partition("_")
        due_at = None if due is None else at(due)
        return Header(sid, channel, chat_id, at(created), at(last), rev, count, size, bool(pinned), meta, due_at)

    @transaction
    def load(self, session_id: str, *, tail: int | None = None) -> Stored | None:
        row = self.one(self.HEADER + "where id = ?", session_id)
        newest = "select body from message where id = ? order by n desc limit ?"
        bodies = [body for (body,) in self.db.execute(newest, (session_id, -1 if tail is None else tail))]
        return Stored(self.to_header(row), bodies[::-1]) if row else None

    @transaction
    def header(self, session_id: str) -> Header | None:
        row = self.one(self.HEADER + "where id = ?", session_id)
        return self.to_header(row) if row else None

    @transaction
    def headers(self, *, channel: str | None = None, older_than: timedelta | None = None,
                younger_than: timedelta | None = None, pinned: bool | None = None, after: str = "",
                limit: int = 200) -> list[Header]:  # fmt: skip
        first = "where id > ? and (? is null or substr(id, 1, length(?) + 1) = ? || '_') and last < ? and last > ? "
        old = LATEST if older_than is None else self.now() - older_than // US
        young = -LATEST if younger_than is None else self.now() - younger_than // US
        values = (after, channel, channel, channel, old, young, pinned, pinned, limit)
        sql = self.HEADER + first + "and (? is null or pinned = ?) order by id limit ?"
        return [self.to_header(row) for row in self.db.execute(sql, values)]

    @transaction
    def totals(self) -> Totals:
        sizes = "select count(*), coalesce(sum(size), 0) from "
        return Totals(*self.one(sizes + "session"), *self.one(sizes + "trash"))

    # Changing
    @transaction
    def commit(self, lease: Lease, change: Change) -> Saved:
        sid, now = lease.session_id, self.now()
        row = self.one("select rev, op, last, count from session where id = ?", sid)
        if row and row[1] == change.op:
            return Saved(Lease(sid, lease.token, row[0]), at(row[2]))
        if not self.holds(lease):
            raise LeaseLostError(sid)
        if lease.revision != (row[0] if row else 0):
            raise RevisionConflictError(sid)
        if row is None:
            self.db.execute("insert into session(id, created, last) values(?,?,?)", (sid, now, now))
        count = row[3] if row else 0
        if change.keep is not None and change.keep < count:
            count = change.keep
            self.db.execute("delete from message where id = ? and n >= ?", (sid, count))
        rows = ((sid, count + n, body) for n, body in enumerate(change.messages))
        self.db.executemany("insert into message values(?,?,?)", rows)
        if change.metadata is not None:
            self.db.execute("update session set meta = ? where id = ?", (change.metadata, sid))
        if change.touch:
            self.db.execute("update session set last = ?, due = null where id = ?", (now, sid))
        size = self.one("select coalesce(sum(length(body)), 0) from message where id = ?", sid)[0]
        self.db.execute("update session set rev = ?, op = ?, count = ?, size = ? + length(meta) where id = ?",
                        (self.fence(), change.op, count + len(change.messages), size, sid))  # fmt: skip
        rev, last = self.one("select rev, last from session where id = ?", sid)
        return Saved(Lease(sid, lease.token, rev), at(last))

    @transaction
    def pin(self, session_id: str, pinned: bool) -> bool:
        row = self.one("select pinned from session where id = ?", session_id)
        if row is None:
            raise SessionNotFoundError(session_id)
        self.db.execute("update session set pinned = ? where id = ?", (pinned, session_id))
        return bool(row[0]) != pinned

    # Removing
    @transaction
    def announce(self, candidates: Sequence[Candidate], delay: timedelta) -> int:
        sql = "update session set due = min(?, coalesce(due, ?)) where id = ? and last = ? and not pinned"
        due = self.until(delay)
        rows = [(due, due, each.session_id, (each.last_accessed - EPOCH) // US) for each in candidates]
        return sum(self.db.execute(sql, row).rowcount for row in rows)

    @transaction
    def remove_if_unused(self, candidates: Sequence[Candidate], *, min_age: timedelta, trash_for: timedelta | None,
                         reason: str, by: str, op: str, now: datetime,
                         announced: bool = False) -> list[Outcome]:  # fmt: skip
        def remove(each: Candidate) -> Outcome:
            sid, present, seen = each.session_id, self.now(), (each.last_accessed - EPOCH) // US
            done = self.done(op, sid, seen)
            row = self.one("select last, pinned, due from session where id = ?", sid)
            if done or row is None:
                return done or Outcome(sid, "gone")
            leased = self.one("select 1 from lease where id = ? and until > ?", sid, present)
            checks = {"clock": abs((now - EPOCH) // US - present) > CLOCK_TOLERANCE // US, "used": row[0] != seen,
                      "pinned": row[1], "leased": leased, "young": present - row[0] <= min_age // US,
                      "unannounced": announced and (row[2] is None or row[2] > present)}  # fmt: skip
            why: Any = next((why for why, applies in checks.items() if applies), None)
            return Outcome(sid, why) if why else self.take(sid, trash_for, reason, by, op)

        return [remove(each) for each in candidates]

    @transaction
    def remove(self, lease: Lease, *, trash_for: timedelta | None, reason: str, by: str, op: str) -> Outcome:
        if done := self.done(op, lease.session_id):
            return done
        if not self.holds(lease):
            raise LeaseLostError(lease.session_id)
        if not self.one("select 1 from session where id = ?", lease.session_id):
            return Outcome(lease.session_id, "gone")
        return self.take(lease.session_id, trash_for, reason, by, op)

    def done(self, op: str, sid: str, last: int | None = None) -> Outcome | None:
        sql = "select size, entry from audit where op = ? and id = ? and kind = 'removed' and last = coalesce(?, last)"
        row = self.one(sql, op, sid, last)
        return Outcome(sid, "removed", *row) if row else None

    def take(self, sid: str, trash_for: timedelta | None, reason: str, by: str, op: str) -> Outcome:
        """Remove a session; in the trash its messages have the entry in place of its id."""
        entry = "" if trash_for is None else f"{self.fence():016d}"
        last, size = self.one("select last, size from session where id = ?", sid)
        if trash_for is not None:
            values = (entry, self.now(), self.until(trash_for), reason, by, sid)
            self.db.execute("insert into trash select ?, id, ?, ?, ?, ?, last, size, created, pinned, meta "
                            "from session where id = ?", values)  # fmt: skip
            self.db.execute("update message set id = ? where id = ?", (entry, sid))
        self.db.execute("delete from message where id = ?", (sid,))
        self.db.execute("delete from session where id = ?", (sid,))
        self.write("removed", op, by, reason, sid, last, size, entry)
        return Outcome(sid, "removed", size, entry)

    # Trash
    TRASH = "select entry, id, removed, expires, reason, by, last, size from trash "

    def entries(self, sql: str, values: Iterable[Any]) -> list[Trashed]:
        rows = self.db.execute(self.TRASH + sql, tuple(values)).fetchall()
        return [Trashed(e, sid, at(r), at(x), why, by, at(last), size) for e, sid, r, x, why, by, last, size in rows]

    @transaction
    def trash(self, *, session_id: str | None = None, before: Trashed | None = None, limit: int = 200) -> list[Trashed]:
        removed, entry = ((before.removed_at - EPOCH) // US, before.entry_id) if before else (LATEST, "")
        values = (session_id, session_id, removed, entry, limit)
        sql = "where (? is null or id = ?) and (removed, entry) < (?, ?) order by removed desc, entry desc limit ?"
        return self.entries(sql, values)

    @transaction
    def restore(self, entry_id: str, *, by: str, op: str) -> Restoration:
        if done := self.one("select id from audit where op = ? and entry = ? and kind = 'restored'", op, entry_id):
            return Restoration("restored", done[0])
        row = self.one("select id, size from trash where entry = ?", entry_id)
        if row is None:
            return Restoration("gone")
        sid, size = row
        if self.one("select 1 from session where id = ?", sid):
            return Restoration("taken", sid)
        self.db.execute("update message set id = ? where id = ?", (sid, entry_id))
        count = self.one("select count(*) from message where id = ?", sid)[0]
        self.db.execute("insert into session select id, created, ?, ?, pinned, meta, null, ?, size, ? from trash "
                        "where entry = ?", (self.now(), self.fence(), op, count, entry_id))  # fmt: skip
        self.db.execute("delete from trash where entry = ?", (entry_id,))
        self.write("restored", op, by, "restored", sid, self.now(), size, entry_id)
        return Restoration("restored", sid)

    @transaction
    def empty_trash(self, entry_ids: Sequence[str] | None, *, by: str, op: str) -> list[Trashed]:
        if entry_ids is None:
            gone = self.entries("where expires <= ? limit 200", (self.now(),))
        else:
            gone = [entry for each in dict.fromkeys(entry_ids) for entry in self.entries("where entry = ?", (each,))]
        for entry in gone:
            self.db.execute("delete from message where id = ?", (entry.entry_id,))
            self.db.execute("delete from trash where entry = ?", (entry.entry_id,))
            last = (entry.last_accessed - EPOCH) // US
            self.write("emptied", op, by, entry.reason, entry.session_id, last, entry.size, entry.entry_id)
        return gone

    # Records
    @transaction
    def note(self, text: str, *, by: str, op: str) -> None:
        self.write("noted", op, by, text)

    @transaction
    def audit(self, *, before: int | None = None, limit: int = 200) -> list[AuditLine]:
        rows = self.db.execute("select * from audit where n < ? order by n desc limit ?", (before or LATEST, limit))
        return [AuditLine(n, at(time), kind, op, by, why, sid, None if last is None else at(last), size, entry)
                for n, time, kind, op, by, why, sid, last, size, entry in rows]  # fmt: skip

    @transaction
    def begin_sweep(self, interval: timedelta, claim: timedelta) -> Turn:
        now, row = self.now(), self.one("select until, last, note from sweep")
        until, last, note = row or (0, None, b"")
        wait = max(until - now, 0 if last is None else last + interval // US - now, 0)
        began = None if last is None else at(last)
        if wait:
            return Turn(0, at(now), wait * US, began, note)
        token = self.fence()
        self.db.execute("replace into sweep values(1,?,?,?,?,?)", (token, self.until(claim), now, last, note))
        return Turn(token, at(now), timedelta(0), began, note)

    @transaction
    def end_sweep(self, token: int, note: bytes, *, completed: bool) -> bool:
        mine = (token, self.now())
        if completed:
            self.db.execute("update sweep set last = began, note = ? where token = ? and until > ?", (note, *mine))
        return self.db.execute("update sweep set until = 0 where token = ? and until > ?", mine).rowcount == 1


@asynccontextmanager
async def open_sqlite_store(path: Path | str, *, owner: str) -> AsyncIterator[SqliteStore]:
    """Open a store for a block; `owner` is unique to this program."""
    store = SqliteStore(path, owner=owner)
    try:
        yield store
    finally:
        store.db.close()

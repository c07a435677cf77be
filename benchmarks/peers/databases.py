"""Databases that hold the same sessions and remove them: SQLite, and Redis where a server is there."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from io import BufferedRWPair
from pathlib import Path
from time import perf_counter, sleep
from typing import Final

from benchmarks.figure import UnavailableError, timed
from benchmarks.peers.walks import TTL
from miniclaw.clock import utc_now

_START_SECONDS: Final = 20
_PIPELINE: Final = 1_000  # commands that are sent before their replies are read


def sqlite_seconds(sessions: Path, folder: Path) -> float:
    """Return how long SQLite takes to remove all that is expired, durably, by an index."""
    with closing(sqlite3.connect(folder / "sessions.db")) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE sessions (session_id TEXT PRIMARY KEY, last_accessed REAL, data BLOB)")
        db.execute("CREATE INDEX by_age ON sessions (last_accessed)")
        rows = ((path.name, path.stat().st_mtime, path.read_bytes()) for path in sessions.iterdir())
        db.executemany("INSERT INTO sessions VALUES (?, ?, ?)", rows)
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        def remove() -> None:
            db.execute("DELETE FROM sessions WHERE last_accessed < ?", ((utc_now() - TTL).timestamp(),))
            db.commit()

        os.sync()
        seconds = timed(remove)
        if left := db.execute("SELECT count(*) FROM sessions").fetchone()[0]:
            raise RuntimeError(f"{left} rows are left")
    return seconds


def redis_seconds(sessions: Path, folder: Path) -> float:
    """Return how long Redis takes to remove all keys that a client has expire at once.

    Raises:
        UnavailableError: There is no `redis-server` in PATH.
    """
    with _redis(folder) as client:
        paths = list(sessions.iterdir())
        client.run_all([(b"SET", os.fsencode(path.name), path.read_bytes()) for path in paths])
        expire = [(b"EXPIRE", os.fsencode(path.name), b"0") for path in paths]
        seconds = timed(lambda: client.run_all(expire))
        if (left := client.run_all([(b"DBSIZE",)])[0]) != b":0":
            raise RuntimeError(f"keys are left: {left!r}")
    return seconds


class RedisClient:
    """A client of the Redis protocol that knows the replies of the commands used here: simple ones, of one line."""

    def __init__(self, stream: BufferedRWPair) -> None:
        self._stream = stream

    def run_all(self, commands: Sequence[tuple[bytes, ...]]) -> list[bytes]:
        """Send commands in pipelines and return their replies.

        Raises:
            RuntimeError: One of them is an error.
        """
        replies = []
        for start in range(0, len(commands), _PIPELINE):
            part = commands[start : start + _PIPELINE]
            self._stream.write(b"".join(encode_command(command) for command in part))
            self._stream.flush()
            replies += [self._stream.readline().rstrip(b"\r\n") for _ in part]
        if errors := [reply for reply in replies if not reply or reply.startswith(b"-")]:
            raise RuntimeError(f"Redis says: {errors[0]!r}")
        return replies


def encode_command(parts: tuple[bytes, ...]) -> bytes:
    """Return a command as Redis reads it: an array of bulk strings."""
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


@contextmanager
def _redis(folder: Path) -> Iterator[RedisClient]:
    server = shutil.which("redis-server")
    if server is None:
        raise UnavailableError("there is no `redis-server` in PATH")
    # By its name in the folder: the address of a Unix socket is short.
    options = ["--port", "0", "--unixsocket", "redis.sock", "--appendonly", "yes", "--save", ""]
    with subprocess.Popen([server, *options], cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            with closing(_connected(folder)) as client, client.makefile("rwb") as stream:
                yield RedisClient(stream)
        finally:
            process.terminate()


def _connected(folder: Path) -> socket.socket:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = perf_counter() + _START_SECONDS
        while True:
            client = socket.socket(socket.AF_UNIX)
            with suppress(OSError):
                client.connect(f"/proc/self/fd/{fd}/redis.sock")
                return client
            client.close()
            if perf_counter() > deadline:
                raise UnavailableError("`redis-server` does not start")
            sleep(0.01)
    finally:
        os.close(fd)

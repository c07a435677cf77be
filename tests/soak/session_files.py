"""`python -m tests.soak.session_files`: session files of every shape under a manager, for as long as is wanted.

Each is put in a chat's place. Its person writes; that is saved, and read again. No file ends the program or blocks the
chat: it serves, with the source text of each of its messages, or it is in quarantine, byte for byte.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import structlog
import trio
from hypothesis import HealthCheck, given, seed, settings

from miniclaw.session.live.store import open_store
from miniclaw.session.manager import SessionManager
from miniclaw.session.types import Message
from tests.fakes.session_shapes import SessionShape, is_usual, session_shapes

_EXAMPLES = 200  # between two looks at the time


async def serve(sessions_dir: Path, shape: SessionShape) -> bool:
    """Put a file in a chat's place, have its person write, and check what becomes of both; return whether it serves."""
    path = sessions_dir / "web_1.json"
    quarantine = sessions_dir / ".quarantine"
    path.write_bytes(shape.data)
    async with open_store(sessions_dir) as store:
        manager = SessionManager(store)
        await manager.get_or_create_session("web", "1")
        said = Message("user", "still there?", datetime.now(UTC))
        await manager.add_message("web_1", said)
        assert not (await manager.save_all_sessions()).failed
        again = await SessionManager(store).get_session("web_1")
    assert again is not None
    assert again.messages[-1] == said
    kept = list(quarantine.glob("*")) if quarantine.exists() else []
    if kept:
        assert not shape.is_sound, "a sound session is in quarantine"
        assert [file.read_bytes() for file in kept] == [shape.data]
        assert len(again.messages) == 1
        kept[0].unlink()
    elif shape.is_sound:
        written = path.read_bytes()
        assert len(again.messages) == len(shape.messages) + 1
        assert all(source in written or is_usual(source) for source in shape.messages)
    path.unlink()
    return not kept


def main() -> int:
    """Try shapes for some time; the exit code is 1 where one fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.session_files", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="how long (default: 60)")
    until = time.monotonic() + 60 * parser.parse_args().minutes
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    served = rounds = 0
    with tempfile.TemporaryDirectory(prefix="miniclaw-session-files-") as folder:

        @settings(max_examples=_EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @given(session_shapes())
        def try_one(shape: SessionShape) -> None:
            nonlocal served
            served += trio.run(serve, Path(folder), shape)

        while time.monotonic() < until:
            rounds += 1
            seed(rounds)(try_one)()
            print(f"round {rounds}: {rounds * _EXAMPLES} files, {served} served", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Session files for tests."""

from __future__ import annotations

import json
import os
import socket
from datetime import datetime
from pathlib import Path
from typing import Any

from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.names import file_name, split_session_id


def session_dict(session_id: str, last_accessed: datetime, **fields: Any) -> dict[str, Any]:
    """Return a session as its file says it, with one message."""
    channel, chat_id = split_session_id(session_id)
    time = last_accessed.isoformat().replace("+00:00", "Z")
    return {
        "session_id": session_id,
        "channel": channel,
        "chat_id": chat_id,
        "created_at": time,
        "last_accessed": time,
        "messages": [{"role": "user", "content": f"hello from {chat_id[:40]}", "timestamp": time}],
        **fields,
    }


def write_session(sessions_dir: Path, session_id: str, last_accessed: datetime, **fields: Any) -> Path:
    """Write a session file under its own name, by other means than the store's."""
    sessions_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = sessions_dir / file_name(session_id)
    text = json.dumps(session_dict(session_id, last_accessed, **fields), ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return path


def read_contents(path: Path) -> list[str]:
    """Return what the messages of a session file say, oldest first."""
    return [message["content"] for message in json.loads(path.read_bytes())["messages"]]


def said_in(sessions_dir: Path, session_id: str) -> list[tuple[str, str]]:
    """Return the roles and texts of a session, as a reader finds them beside a process that has it in its journal."""
    with SessionDirectory.open(sessions_dir) as directory:
        return [(message.role, message.content) for message in directory.load(session_id).messages]


def make_socket(path: Path) -> None:
    """Make a socket, to which no process listens."""
    cwd = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path.parent)  # a socket's path may only be short
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.fchdir(cwd)
        os.close(cwd)

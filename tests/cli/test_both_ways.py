"""One day of commands on two equal workspaces, one of them with a gateway: they say the same and leave the same."""

from __future__ import annotations

import gzip
import json
import re
from datetime import UTC, datetime
from pathlib import Path

from tests.fakes.gateway_thread import GatewayProgram
from tests.fakes.logs import LogRecorder
from tests.fakes.program import Program
from tests.fakes.samples import session_dict

CONFIG = '[session]\ntrash_for = "7d"\nmax_sessions = 8\nmax_removed_fraction = 0.3\n'

COMMANDS = [
    ["sessions", "list", "--json"],
    ["sessions", "cleanup", "--yes"],
    ["sessions", "pin", "web_40", "web_none"],
    ["sessions", "cleanup", "--yes", "--confirm", "--json"],
    ["sessions", "move", "web_1", "telegram_1"],
    ["sessions", "move", "web_none", "telegram_2"],
    ["sessions", "move", "web_2", "telegram_1"],
    ["sessions", "move", "telegram_1", "web_1"],
    ["sessions", "delete", "--yes", "web_none"],
    ["sessions", "delete", "--yes", "web_1", "web_2"],
    ["sessions", "delete", "--yes", "--channel", "mail", "--erase", "--json"],
    ["trash", "restore", "web_1"],
    ["trash", "restore", "web_none"],
    ["trash", "list"],
    ["trash", "empty", "--yes"],
    ["quarantine", "add", "web_bad.json", "web_other.json", "web_3.json", "nope.json"],
    ["quarantine", "list"],
    ["quarantine", "restore", "web_bad"],
    ["quarantine", "restore", "web_other.json"],
    ["quarantine", "delete", "--yes", "web_bad", "--erase"],
    ["quarantine", "delete", "--yes", "web_bad"],
    ["history", "--json"],
]  # fmt: skip

_TIMES = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?(Z|\+00:00)?)?")
_ENTRIES = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_VARYING = re.compile(
    r'"(duration_seconds|age_days)":[0-9.e-]+|\b\d+[sm] ago'
    # An entry of the trash has times in it, and is compressed.
    r'|"(bytes_freed|stored_size|bytes_now|bytes_left|bytes)":-?\d+|-?[0-9.]+ (B|KiB)\b'
)
# What has clocks, inodes, or times of files in it.
_OF_A_GATEWAY = {".lock", "last-seen", "retention.json", "due", "landmark", "sessions.ledger"}


def _plain(text: str, program: Program) -> str:
    """Return a text without what differs between two runs of the same: times, durations, sizes of what is compressed, and random names."""
    text = text.replace(str(program.home), "HOME")
    return _VARYING.sub("VARYING", _ENTRIES.sub("ENTRY", _TIMES.sub("TIME", text)))


def _left(program: Program) -> dict[str, str]:
    """Return all files, with their contents, likewise."""
    return {
        _plain(str(path.relative_to(program.home)), program): _plain(_read(path), program)
        for path in program.home.rglob("*")
        if path.is_file() and path.name not in _OF_A_GATEWAY
    }


def _read(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", "replace")


def _furnish(program: Program) -> None:
    program.write_config(CONFIG)
    for days in (1, 2, 3, 4, 5, 40, 41):
        program.add(f"web_{days}", days=days)
    for chat in ("anna", "bernd", "carla", "dora"):
        program.add(f"mail_{chat}", days=6)
    (program.sessions_dir / "web_bad.json").write_text("{")
    (program.sessions_dir / "web_other.json").write_text(json.dumps(session_dict("web_anna", datetime.now(UTC))))
    (program.sessions_dir / "notes.txt").write_text("mine")


def test_commands_say_and_do_the_same_both_ways(tmp_path: Path, logs: LogRecorder) -> None:
    """Standard output, exit code and the files: after each command they are the same with a gateway as without."""
    direct, asking = Program(tmp_path / "direct"), GatewayProgram(tmp_path / "asking")
    for program in (direct, asking):
        _furnish(program)
    for command in COMMANDS:
        alone, asked = direct.run(*command), asking.run(*command)
        assert asked.code == alone.code, (command, alone, asked)
        assert _plain(asked.out, asking) == _plain(alone.out, direct), command
        assert _left(asking) == _left(direct), command
        told = [line for line in alone.err.splitlines() if line.startswith("miniclaw: ")]
        for line in told:  # what else is on standard error is the log, which is the gateway's then
            assert _plain(line, direct) in _plain(asked.err, asking)
    assert asking.gateways == len(COMMANDS)
    logs.events.clear()  # of the gateway, on the damaged file

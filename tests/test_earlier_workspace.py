"""A home that an earlier version has left, opened by this one: nothing of it is lost.

Everything is looked at as a person would, through the program, for its places and formats may change. Only the file in
quarantine is looked for on the disk: no command shows its content.
"""

from __future__ import annotations

import json
import signal
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from miniclaw.config import Home, load_config
from miniclaw.session.types import Message
from tests.fakes.earlier_home import FIXTURE, EarlierHome
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.program import Program
from tests.fakes.serving import open_gateway

EXPIRED = "web_long-ago"
PINNED = "mail_Boss@Example.ORG"
EARLIER = "telegram_123456789"


@pytest.fixture
def earlier(program: Program) -> EarlierHome:
    """The home, laid where the program finds it, as if its last owner had ended a moment ago."""
    return EarlierHome(program.home, datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "home")


@contextmanager
def gateway_running(program: Program) -> Iterator[GatewayProcess]:
    """Run the real gateway, with the home's own configuration, and end it by SIGTERM."""
    process = GatewayProcess(program.home)
    process.start()
    try:
        yield process
        assert process.end(signal.SIGTERM) == 0
    finally:
        process.kill()


def assert_all_there(program: Program, earlier: EarlierHome) -> None:
    """Check that the commands show every session, trash entry, event and quarantined file of the home."""
    listed = {row["session_id"]: row for row in program.run("sessions", "list", "--json").json}
    assert listed.keys() == earlier.sessions.keys()
    assert [name for name, row in listed.items() if row["pinned"]] == [PINNED]
    assert [name for name, row in listed.items() if row["expired"]] == [EXPIRED]
    texts = [json.loads(content) for content in earlier.sessions.values()]
    assert program.run("sessions", "export", *earlier.sessions).json == texts
    shown = program.run("sessions", "show", EARLIER).out
    assert all(message["content"] in shown for message in json.loads(earlier.sessions[EARLIER])["messages"])

    trash = {row["id"]: row for row in program.run("trash", "list", "--json").json}
    assert trash.keys() == earlier.trash.keys()
    assert {name for name, row in trash.items() if row["problem"]} == {
        name for name, content in earlier.trash.items() if content is None
    }

    events = program.run("history", "--json", "--limit", "100").json
    found = zip(earlier.events, events[: len(earlier.events)], strict=True)
    assert [{key: now[key] for key in before} for before, now in found] == earlier.events  # fields may be added

    status = program.run("status", "--json").json
    assert status["quarantine"]["files"] == 1
    [quarantined] = program.home.rglob("web_damaged.json.2*")
    assert quarantined.read_bytes() == earlier.quarantined


def test_earlier_home_is_all_there_before_a_gateway_ran(program: Program, earlier: EarlierHome) -> None:
    """Commands of this version show all of it as it lies, before any gateway of this version has started."""
    assert_all_there(program, earlier)


def test_earlier_home_is_all_there_during_and_after_a_gateway(program: Program, earlier: EarlierHome) -> None:
    """The gateway starts with the home's own configuration, puts back what a crash left, and removes nothing."""
    with gateway_running(program) as gateway:
        assert_all_there(program, earlier)
        log = [json.loads(line) for line in gateway.log.splitlines()]
        errors = {event["event"] for event in log if event["level"] == "error"}
        assert errors <= {"Session file kept, it cannot be judged"}  # where a run came at the start
        assert not [event for event in log if event["event"] == "Session removed"]
    assert_all_there(program, earlier)


def test_earlier_home_trash_entries_restore_as_they_were(program: Program, earlier: EarlierHome) -> None:
    """Each entry that is not damaged comes back with every field, but for the time of its last use, which is now."""
    with gateway_running(program):
        for entry_id, content in earlier.trash.items():
            if content is None:
                assert program.run("trash", "restore", entry_id).code == 1
                continue
            session = json.loads(content)
            result = program.run("trash", "restore", entry_id)
            assert result.code == 0, result
            restored = program.run("sessions", "export", session["session_id"]).json
            assert restored.pop("last_accessed") > session.pop("last_accessed")
            assert restored == session
            # Two entries are of one session, and a restored one is never overwritten.
            assert program.run("sessions", "delete", session["session_id"], "--yes").code == 0


async def test_earlier_home_sessions_that_go_on_keep_every_field(program: Program, earlier: EarlierHome) -> None:
    """A message to each session is added behind what was there, and unknown fields and odd forms stay as they were."""
    home = Home(program.home)
    async with open_gateway(home, load_config(home.config_path, required=True)) as gateway:
        manager = gateway.runtime.manager
        for session_id, content in earlier.sessions.items():
            before = json.loads(content)
            session = await manager.get_or_create_session(before["channel"], before["chat_id"])
            assert len(session.messages) == len(before["messages"]), session_id
            await manager.add_message(session_id, Message("user", "and now?", datetime.now(UTC)))
    exported = program.run("sessions", "export", *earlier.sessions).json
    for content, after in zip(earlier.sessions.values(), exported, strict=True):
        before = json.loads(content)
        *messages, added = after.pop("messages")
        assert (messages, added["content"]) == (before.pop("messages"), "and now?")
        assert after.pop("last_accessed") > before.pop("last_accessed")
        assert after == before
    text = program.run("sessions", "export", EARLIER).out
    for message in json.loads(earlier.sessions[EARLIER])["messages"]:
        assert message["timestamp"] in text  # nine digits, as they were


def test_home_of_a_newer_version_loses_nothing(program: Program, earlier: EarlierHome) -> None:
    """What a newer version may have added is ignored or kept, as docs/formats.md says of a downgrade; nothing is removed."""

    def rewrite(name: str, change: Callable[[bytes], bytes]) -> None:
        [path] = program.home.rglob(name)
        path.write_bytes(change(path.read_bytes()))

    newer = b'"newer":{"field":[1,2]},'
    event = f'{{"version":9,"at":"{datetime.now(UTC).isoformat()}","event":"reflected","by":"moon","newer":1}}\n'
    state = program.sessions_dir / ".state"
    state.mkdir(mode=0o700)
    (state / "retention.json").write_bytes(b'{"newer":"full moon"}')
    (state / "last-seen").write_bytes(b"stardate".ljust(511) + b"\n")
    (state / "due").write_bytes(b"miniclaw-due-9\n" + bytes(99))
    rewrite("sessions.ledger", lambda old: old.replace(b"miniclaw-ledger-1", b"miniclaw-ledger-9", 1))
    rewrite("history.jsonl", lambda old: old + event.encode())
    rewrite(".lock", lambda old: b"{" + newer + old[1:])
    rewrite("web_anna.json", lambda old: b"{" + newer + old[1:].replace(b'"role":', newer + b'"role":'))
    earlier.sessions["web_anna"] = next(program.home.rglob("web_anna.json")).read_bytes()
    (program.sessions_dir / ".quarantine" / "web_damaged.json.v9").write_bytes(b"newer")
    with gateway_running(program) as gateway:
        assert_all_there(program, earlier)
        log = [json.loads(line) for line in gateway.log.splitlines()]
        errors = {event["event"] for event in log if event["level"] == "error"}
        assert errors <= {
            "Cleanup state could not be read; what is due is announced anew",
            "Session file kept, it cannot be judged",
        }
        assert not [event for event in log if event["event"] == "Session removed"]
    assert_all_there(program, earlier)
    [history] = program.home.rglob("history.jsonl")
    assert event in history.read_text()
    [kept] = program.home.rglob("web_damaged.json.v9")
    assert kept.read_bytes() == b"newer"


def test_earlier_home_configuration_is_in_force(program: Program, earlier: EarlierHome) -> None:
    """Each key that `config show` printed means the same; keys that are new may stand beside them."""
    before = tomllib.loads((FIXTURE / "home" / "config.toml").read_text())
    result = program.run("config", "show")
    assert result.code == 0, result
    after = tomllib.loads(result.out)
    before["session"]["trash_for"] = _off(before["session"]["trash_for"])
    after["session"]["trash_for"] = _off(after["session"]["trash_for"])
    assert before["session"].pop("announce_first") is True
    assert after["session"]["notice"] == "on"  # its name now
    assert {table: {key: after[table][key] for key in keys} for table, keys in before.items()} == before


def _off(value: Any) -> Any:
    """Return one word for a trash that keeps nothing."""
    return "off" if value == "never" else value

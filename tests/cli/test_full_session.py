"""A session beyond `session.max_session_bytes` at the terminal: it is refused new messages, and everything else as ever."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.fakes.gateway_beside import gateway_beside
from tests.fakes.program import TIMEOUT_SECONDS, Program
from tests.fakes.samples import read_contents

LARGE = "x" * 1_100_000
REASON = "the session 'console_me' is full: it has 1,100,"
REMEDY = (
    "and with this message it would have more than the 1,048,576 that max_session_bytes allows; "
    "begin a new chat, or move or delete this one, or raise that bound"
)


def add_large(program: Program, session_id: str, *, days: float) -> Path:
    """Write a session that is larger than the bound, as from before there was one."""
    said = {"role": "user", "content": LARGE, "timestamp": datetime.now(UTC).isoformat()}
    return program.add(session_id, days=days, messages=[said])


@pytest.fixture
def program(tmp_path: Path) -> Program:
    program = Program(tmp_path / "home")
    program.write_config('[session]\nmax_session_bytes = "1MiB"\nnotice = "off"\nttl = "30d"\n')
    add_large(program, "console_me", days=1)
    return program


@pytest.fixture(params=["alone", "gateway"])
def beside(request: pytest.FixtureRequest, program: Program, tmp_path: Path) -> Iterator[Program]:
    """The program, alone or beside a gateway that runs; a gateway has logged no ERROR."""
    if request.param == "alone":
        yield program
        return
    with gateway_beside(program, log=tmp_path / "log") as gateway:
        yield program
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(TIMEOUT_SECONDS) == 0
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [event for event in events if event["level"] == "error"] == []


def test_chat_message_to_a_full_session_is_the_sentence_and_exit_code_1(beside: Program) -> None:
    """Once and whole, without a traceback and without a second try; the conversation is as it was."""
    result = beside.run("chat", "--as", "me", "-m", "hello")
    assert result.code == 1
    assert result.out.startswith(f"Your message was not recorded, so it was not answered: {REASON}")
    assert result.out.endswith(f"{REMEDY}.\n")
    assert len(result.lines) == 1
    assert read_contents(beside.sessions_dir / "console_me.json") == [LARGE]


def test_chat_piped_lines_to_a_full_session_are_each_refused(beside: Program) -> None:
    """The conversation goes on to its end, and another name has room."""
    result = beside.run("chat", "--as", "me", stdin="one\ntwo\n")
    refusals = [line for line in result.lines if line.startswith("Your message was not recorded")]
    assert (result.code, len(refusals)) == (1, 2)
    assert "The gateway reports" not in result.err  # a second time
    assert beside.run("chat", "--as", "other", "-m", "hello").out == "hello\n"


def test_chat_at_a_terminal_with_a_full_session_says_so_and_goes_on(beside: Program) -> None:
    """What the person reads is the sentence, behind which the next prompt comes."""
    result = beside.run_on_terminal("chat", "--as", "me", prompt="> ", answer="hello\n\x04")
    text = " ".join(result.out.split())
    assert "is full: it has 1,100," in text
    assert "Traceback" not in text


def test_larger_session_is_listed_shown_exported_moved_and_deleted_as_ever(beside: Program) -> None:
    """The bound is on new messages alone. Moved away, the chat begins anew."""
    (listed,) = beside.run("sessions", "list", "--json").json
    assert listed["session_id"] == "console_me"
    assert LARGE in beside.run("sessions", "show", "console_me").out.replace("\n", "").replace(" ", "")
    exported = beside.run("sessions", "export", "console_me").out
    assert LARGE in exported
    assert beside.run("sessions", "move", "console_me", "console_before").code == 0
    assert beside.run("chat", "--as", "me", "-m", "hello").out == "hello\n"
    assert beside.run("sessions", "delete", "console_before", "--yes").code == 0
    assert beside.run("trash", "restore", "console_before").code == 0
    assert read_contents(beside.sessions_dir / "console_before.json") == [LARGE]


def test_larger_session_that_has_expired_is_swept(beside: Program) -> None:
    """By age, and by nothing else."""
    add_large(beside, "web_old", days=60)
    assert beside.run("sessions", "cleanup", "--yes").code == 0
    assert beside.files() == {"console_me.json"}


def test_bound_that_is_raised_takes_messages_again(program: Program) -> None:
    """The last of the remedies."""
    assert program.run("chat", "--as", "me", "-m", "hello").code == 1
    program.write_config('[session]\nmax_session_bytes = "2MiB"\n')
    assert program.run("chat", "--as", "me", "-m", "hello").out == "hello\n"
    assert read_contents(program.sessions_dir / "console_me.json") == [LARGE, "hello", "hello"]

"""The set-up of logging. The autouse fixture `logs` resets structlog at the end of each test."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest
import structlog

import miniclaw
from miniclaw.config import LogLevel
from miniclaw.daemon.logging import ADVICE, configure_logging
from miniclaw.loggers import LEVELS, get_logger
from miniclaw.secret import Secret


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_json_each_event_is_one_json_line_with_time_level_and_event_first(capsys: pytest.CaptureFixture[str]) -> None:
    """A log reader finds timestamp, level and event at the head of every line, whatever fields follow."""
    configure_logging("debug", "json")
    log = structlog.get_logger()
    log.info("First", zeta=1, alpha="ä\n\x1b[31m")
    log.error("Second", path=Path("/x"))
    lines = capsys.readouterr().err.splitlines()
    events = [json.loads(line) for line in lines]
    assert [list(event)[:3] for event in events] == [["timestamp", "level", "event"]] * 2
    assert [(event["level"], event["event"]) for event in events] == [("info", "First"), ("error", "Second")]
    assert events[0]["alpha"] == "ä\n\x1b[31m"
    assert events[1]["path"] == "/x"
    assert all(event["timestamp"].endswith("Z") for event in events)
    assert "\x1b" not in "".join(lines)


def test_json_an_event_of_the_runtime_names_the_command_that_helps(capsys: pytest.CaptureFixture[str]) -> None:
    """The runtime logs facts, for it may be embedded; a program that has the commands says which one helps."""
    configure_logging("info", "json")
    structlog.get_logger().warning("Session cleanup held", because="too many")
    assert json.loads(capsys.readouterr().err)["let_it_through"] == "miniclaw sessions cleanup --confirm"


def test_advice_is_for_events_of_the_runtime_which_names_no_command() -> None:
    """An event that is reworded takes its advice with it; and no log or error of an embedder names a command or its home."""
    package = Path(miniclaw.__file__).parent
    sources = [path.read_text() for path in (package / "session").rglob("*.py")]
    assert not [event for event in ADVICE if not any(f'"{event}"' in source for source in sources)]
    sources += [path.read_text() for path in (package / "errors" / "sessions.py", package / "blocking.py")]
    commands = re.compile(
        r"miniclaw (chat|config|gateway|history|open|quarantine|sessions|status|trash)\b|MINICLAW_HOME|config\.toml"
    )
    assert not [found.string[found.start() :][:60] for source in sources for found in commands.finditer(source)]


def test_json_an_exception_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback is a field of the event, not lines of its own."""
    configure_logging("info", "json")
    try:
        int("broken")
    except ValueError:
        structlog.get_logger().exception("Failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: invalid literal" in json.loads(line)["exception"]


def test_console_an_event_is_one_line_without_colours_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """For a person: the level, the sentence and the fields, without escape sequences in a file."""
    configure_logging("info", "console")
    structlog.get_logger().warning("Something happened", sessions=3)
    (line,) = capsys.readouterr().err.splitlines()
    assert "[warning" in line
    assert "Something happened" in line
    assert "sessions=3" in line
    assert "\x1b" not in line


@pytest.mark.parametrize("level", LEVELS)
def test_level_only_events_from_it_upwards_are_logged(level: LogLevel, capsys: pytest.CaptureFixture[str]) -> None:
    """A level lets itself and the graver ones through, and nothing else."""
    configure_logging(level, "json")
    log = structlog.get_logger()
    for name in LEVELS:
        getattr(log, name)("Event")
    logged = [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()]
    assert logged == [name for name, number in LEVELS.items() if number >= LEVELS[level]]


HOSTILE = "a\u009b31m\x7f\u202e\u2028\u200b\U000e0041\nb"


def test_json_lines_hide_nothing_and_mean_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """Also a log for programs is looked at in terminals."""
    configure_logging("info", "json")
    structlog.get_logger().warning("Event", session_id=HOSTILE, files=[HOSTILE], nested={"key": HOSTILE})
    line = capsys.readouterr().err
    event = json.loads(line)
    assert (event["session_id"], event["files"], event["nested"]) == (HOSTILE, [HOSTILE], {"key": HOSTILE})
    assert line.removesuffix("\n").isprintable()


def test_console_names_of_strangers_hide_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """An id in the log of a terminal is one line, and shows all that it is made of."""
    configure_logging("info", "console")
    structlog.get_logger().warning("Event", session_id=HOSTILE, files=[HOSTILE])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert line.count("u202e") == line.count("u200b") == 2


def test_console_traceback_stands_below_its_line_and_imitates_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A person can read it; the text of the exception, which may come from anywhere, cannot pass for an event."""
    configure_logging("info", "console")
    Secret("opensesame")

    def fail() -> None:
        raise ValueError(f"opensesame\n2026-11-25T09:30:00Z [error    ] imitated {HOSTILE}")

    try:
        fail()
    except ValueError as error:
        get_logger("miniclaw.test").bug("Channel failed", error, channel="tcp")
        structlog.get_logger().exception("Failed")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("] ")[1].split(" ")[0] for line in lines if not line.startswith("  ")] == ["Channel", "Failed"]
    assert lines.count("  Traceback (most recent call last):") == 2
    assert all(line.isprintable() for line in lines)
    assert "opensesame" not in "".join(lines)


def test_auto_without_a_terminal_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A service's log can be read by programs without being told to."""
    configure_logging("info", "auto")
    structlog.get_logger().info("Event")
    assert json.loads(capsys.readouterr().err)["event"] == "Event"


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_auto_on_a_terminal_is_console(monkeypatch: pytest.MonkeyPatch, no_color: str, *, coloured: bool) -> None:
    """A person at a terminal gets lines for people, in colours unless NO_COLOR is set."""
    monkeypatch.setenv("NO_COLOR", no_color)
    terminal = _Terminal(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stderr", terminal)
    configure_logging("info", "auto")
    structlog.get_logger().info("Event")
    terminal.flush()
    shown = terminal.buffer.getvalue().decode()  # type: ignore[attr-defined]  # it is the BytesIO from above
    assert "Event" in shown
    assert ("\x1b[" in shown) is coloured
    assert not shown.startswith("{")


def test_module_logger_made_before_the_set_up_follows_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The runtime's loggers, which are made at import, log through what the program sets up later."""
    log = get_logger("miniclaw.test")
    configure_logging("info", "json")
    log.info("Event", session_id="telegram_1")
    event = json.loads(capsys.readouterr().err)
    assert (event["event"], event["session_id"]) == ("Event", "telegram_1")
    assert event["logger"] == "miniclaw.test"


def test_nothing_is_ever_logged_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output belongs to the answers and listings."""
    for format_ in ("json", "console"):
        configure_logging("debug", format_)
        structlog.get_logger().error("Event")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("Event") == 2

"""Log events go to structlog where the program has set it up, else to the standard library."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

import miniclaw
from miniclaw import loggers as session_logs
from miniclaw.loggers import EventLogger, get_logger, set_up_now, set_up_when_needed
from tests.fakes.logs import LogRecorder

NAME = "miniclaw.session.test"
LEVELS: list[tuple[str, Callable[..., None]]] = [
    ("debug", EventLogger.debug),
    ("info", EventLogger.info),
    ("warning", EventLogger.warning),
    ("error", EventLogger.error),
]


@pytest.mark.parametrize(("level", "method"), LEVELS, ids=[level for level, _ in LEVELS])
def test_event_without_structlog_is_a_logging_record(
    level: str, method: Callable[..., None], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unconfigured, an event is a record of its module's logger with the fields as attributes, and prints nothing."""
    structlog.reset_defaults()
    with caplog.at_level(logging.DEBUG, logger=NAME):
        method(get_logger(NAME), "Session deleted 100%", session_id="web_1", age_days=31.5)
    [record] = caplog.records
    assert (record.name, record.levelname) == (NAME, level.upper())
    assert record.getMessage() == "Session deleted 100% session_id=web_1 age_days=31.5"
    attributes = vars(record)
    assert (attributes["event"], attributes["session_id"]) == ("Session deleted 100%", "web_1")
    assert attributes["age_days"] == 31.5
    assert record.filename == Path(__file__).name
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("level", "method"), LEVELS, ids=[level for level, _ in LEVELS])
def test_event_with_structlog_goes_there_alone(
    level: str, method: Callable[..., None], caplog: pytest.LogCaptureFixture, logs: LogRecorder
) -> None:
    """Configured, structlog gets the event with its level, its fields and the logger's name; logging gets nothing."""
    if level == "error":
        logs.expect_error("Session deleted")
    with caplog.at_level(logging.DEBUG):
        method(get_logger(NAME), "Session deleted", session_id="web_1", age_days=31.5)
    assert logs.events == [
        {"event": "Session deleted", "level": level, "logger": NAME, "session_id": "web_1", "age_days": 31.5}
    ]
    assert caplog.records == []


def test_record_each_field_has_one_unambiguous_place_in_the_line(caplog: pytest.LogCaptureFixture) -> None:
    """A value of strangers imitates no field and no line, and says of itself that it is text with odd characters."""
    structlog.reset_defaults()
    hostile = "a b=1\n2026 ERROR\u202e"
    get_logger(NAME).warning("Kept %s", path=Path("/x"), chat=hostile, empty="", ids=["a", "b"])
    [record] = caplog.records
    shown = "Kept %s path=/x chat='a b=1\\n2026 ERROR\\u202e' empty='' ids=\"['a', 'b']\""
    assert record.getMessage() == shown
    assert vars(record)["chat"] == hostile


def test_record_no_name_of_a_field_loses_the_event(caplog: pytest.LogCaptureFixture) -> None:
    """A field that is called like an attribute of every record gets an attribute beside that one."""
    structlog.reset_defaults()
    names = sorted({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
    for name in names:
        get_logger(NAME).warning("Event", **{name: "value"})
    assert [record.getMessage() for record in caplog.records] == [f"Event {name}=value" for name in names]
    assert {record.name for record in caplog.records} == {NAME}
    assert all(vars(record)[f"{name}_"] == "value" for record, name in zip(caplog.records, names, strict=True))


def test_fields_of_the_package_have_the_same_name_in_every_logging() -> None:
    """No call in the package uses a name that `logging` or structlog has for something else."""
    taken = {
        *vars(logging.makeLogRecord({})),
        "message",
        "asctime",
        "taskName",
        "event",
        "level",
        "logger",
        "timestamp",
    }
    used: dict[str, str] = {}
    for path in Path(miniclaw.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and re.search(
                r"\blog\.(debug|info|warning|error|bug)$", ast.unparse(node.func)
            ):
                used |= {keyword.arg: f"{path}:{node.lineno}" for keyword in node.keywords if keyword.arg}
    assert len(used) > 50
    assert not {name: where for name, where in used.items() if name in taken}


def test_event_below_the_level_of_logging_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """The embedding program's level for the logger counts."""
    structlog.reset_defaults()
    with caplog.at_level(logging.WARNING, logger=NAME):
        get_logger(NAME).info("quiet")
        get_logger(NAME).warning("loud")
    assert [record.getMessage() for record in caplog.records] == ["loud"]


def test_logger_made_before_the_configuration_follows_it(caplog: pytest.LogCaptureFixture) -> None:
    """Modules make their loggers at import; where events go is decided when they come."""
    structlog.reset_defaults()
    logger = get_logger(NAME)
    with caplog.at_level(logging.INFO, logger=NAME):
        logger.info("before")
        recorder = LogRecorder()
        structlog.configure(processors=[recorder], cache_logger_on_first_use=False)
        logger.info("after")
    assert [record.getMessage() for record in caplog.records] == ["before"]
    assert [event["event"] for event in recorder.events] == ["after"]


def test_event_below_the_level_that_is_waited_for_sets_up_nothing(logs: LogRecorder) -> None:
    """A command that logs nothing worth it never loads what it would log with."""
    made: list[str] = []
    set_up_when_needed(logging.WARNING, lambda: made.append("set up"))
    get_logger(NAME).info("Sessions saved")
    assert (made, logs.events) == ([], [])
    get_logger(NAME).warning("Session kept")
    get_logger(NAME).info("Sessions saved")
    assert made == ["set up"]
    assert [event["event"] for event in logs.events] == ["Session kept", "Sessions saved"]


def test_set_up_now_sets_up_once(logs: LogRecorder) -> None:
    """Who needs it at once has it at once, and not twice."""
    made: list[str] = []
    set_up_when_needed(logging.WARNING, lambda: made.append("set up"))
    set_up_now()
    set_up_now()
    get_logger(NAME).warning("Session kept")
    assert made == ["set up"]


def test_bug_is_an_error_with_its_traceback_in_both_worlds(caplog: pytest.LogCaptureFixture, logs: LogRecorder) -> None:
    """structlog gets the traceback as a field; logging gets it as it expects one."""
    logs.expect_error("Channel failed")
    with pytest.raises(KeyError) as raised:
        raise KeyError("gone")
    error = raised.value
    get_logger(NAME).bug("Channel failed", error, channel="tcp")
    event = logs.one("Channel failed")
    assert (event["level"], event["channel"]) == ("error", "tcp")
    assert event["traceback"].endswith("KeyError: 'gone'\n")
    structlog.reset_defaults()
    get_logger(NAME).bug("Channel failed", error, channel="tcp")
    [record] = caplog.records
    assert (record.levelname, vars(record)["channel"]) == ("ERROR", "tcp")
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@pytest.mark.parametrize("way", ["structlog", "logging"])
def test_logging_of_the_program_that_fails_costs_events_and_is_told_once(
    way: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What logs goes on, and whoever set up the logging learns why nothing comes."""
    monkeypatch.setattr(session_logs, "_has_failed", False)

    def fail(*_: object) -> Any:
        raise ZeroDivisionError

    structlog.reset_defaults()
    logger = logging.getLogger(NAME)
    if way == "structlog":
        structlog.configure(processors=[fail])
    else:
        monkeypatch.setattr(logger, "filters", [fail])
        monkeypatch.setattr(logger, "level", logging.DEBUG)
    for _ in range(3):
        get_logger(NAME).warning("Session kept")
    told = capsys.readouterr().err
    assert told.count("the logging of this program fails") == 1
    assert told.splitlines().count("ZeroDivisionError") == 1

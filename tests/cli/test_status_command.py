"""``status``: one screen that says how things stand, with a gateway and without."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from miniclaw.session.entries import FileTally, Tally
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.records.history import HistoryEvent
from tests.cli.test_history_command import record
from tests.fakes.program import Program
from tests.fakes.states import UP_FOR_LONG, remember_run


def _status(program: Program, **environment: str) -> tuple[dict[str, str], Any]:
    """Return what is shown, by its labels, and what the JSON says."""
    result = program.run_prepared(UP_FOR_LONG, "status", **environment)
    assert result.code == 0, result
    assert all("was not seen" in line for line in result.err.splitlines()), result  # of an owner without a socket
    assert len(result.lines) <= 24  # a screen
    shown = {line[:14].strip(): line[14:] for line in result.lines}
    return shown, program.run_prepared(UP_FOR_LONG, "status", "--json", **environment).json


def test_status_of_a_fresh_machine_is_no_error_and_makes_nothing(program: Program) -> None:
    """Nothing is there, nobody holds it, and the first cleanup is due with the first gateway."""
    shown, document = _status(program)
    assert shown["workspace"] == str(program.home / "workspace")
    assert shown["held by"] == "none"
    assert shown["sessions"] == "0, 0 B"
    assert shown["last cleanup"] == "never"
    assert shown["next cleanup"] == "due, at the next start of the gateway"
    assert not {"due", "announced"} & shown.keys()
    assert shown["rules"] == "ttl = 30d, trash_for = 7d, quarantine_for = 90d"
    assert (document["rules_of"], document["warnings"]) == ("file", [])
    assert document["held_by"] is None
    assert document["free_disk"] is None
    assert document["last_cleanup"] is None
    assert (document["due"], document["announcement"]) == ({"sessions": 0, "bytes": 0}, None)
    assert not program.home.exists()


def test_status_counts_what_is_there(program: Program) -> None:
    """Sessions, what cannot be read, trash and quarantine, and what would go now."""
    program.write_config('[session]\ntrash_for = "7d"\nmax_sessions = 3\n')
    sizes = [program.add(f"web_{days}", days=days).stat().st_size for days in (1, 2, 3, 4, 31)]
    program.add("web_gone", days=1)
    assert program.run("sessions", "delete", "--yes", "web_gone").code == 0
    (program.sessions_dir / "web_bad.json").write_text("{")
    quarantine = program.sessions_dir / ".quarantine"
    quarantine.mkdir()
    (quarantine / "web_c.json.20200101T000000Z-0123abcd").write_bytes(b"x" * 100)
    shown, document = _status(program)
    trash = sum(path.stat().st_size for path in program.trash_dir.iterdir())
    assert shown["sessions"] == f"5, {sum(sizes) / 1024:.1f} KiB"
    assert shown["unreadable"].startswith("1 file; ")
    assert shown["trash"] == f"1, {trash} B"
    assert shown["quarantine"] == "1, 100 B; `miniclaw quarantine list` names them"
    assert shown["would remove"] == f"2 sessions, {sizes[3] + sizes[4]} B; ttl 1; max_sessions 1; 1 leftover"
    assert document["sessions"] == {"readable": 5, "unreadable": 1, "conflicts": 0, "bytes": sum(sizes)}
    assert document["trash"] == {"files": 1, "bytes": trash}
    assert document["would_remove"]["by_reason"]["ttl"] == {"sessions": 1, "bytes": sizes[4]}
    assert document["free_disk"] > 0
    plan = program.run("sessions", "cleanup", "--dry-run", "--json").json
    assert document["would_remove"]["sessions"] == plan["remove"]["sessions"]


def test_status_names_the_holder_without_disturbing_it(program: Program) -> None:
    """Who holds the workspace is told while it does, and it does not notice."""
    program.add("web_a", days=1)
    with SessionDirectory.open(program.sessions_dir) as directory:
        directory.own()
        shown, document = _status(program)
        assert shown["held by"].startswith(f"process {os.getpid()}, since ")
        assert document["held_by"]["pid"] == os.getpid()
    assert _status(program)[0]["held by"] == "none"


def test_status_tells_the_last_cleanup_and_the_next(program: Program) -> None:
    """What the last one did stands in the history; the next one is a day later."""
    now = datetime.now(UTC)
    last = now - timedelta(hours=6)
    event = HistoryEvent(
        at=last, event="cleanup", by="service", reasons={"ttl": Tally(12, 5000)}, bytes_freed=5000,
        sessions_scanned=400, leftovers={"temporary": FileTally(1, 9)},
    )  # fmt: skip
    other = HistoryEvent(at=now, event="restored", by="command")
    record(program.sessions_dir, event, other)
    remember_run(program.sessions_dir, last)
    shown, document = _status(program)
    assert shown["last cleanup"] == (
        f"{last:%Y-%m-%d %H:%M:%S} UTC: 12 of 400 removed, 4.9 KiB freed; ttl 12; temporary 1 file"
    )
    following = last + timedelta(days=1)
    assert shown["next cleanup"] == f"{following:%Y-%m-%d %H:%M:%S} UTC, in 18h, if the gateway runs then"
    assert abs(datetime.fromisoformat(document["next_run_at"]) - following) < timedelta(seconds=1)
    assert document["last_cleanup"]["sessions"] == 12
    assert document["last_cleanup"]["bytes_freed"] == 5000
    assert document["last_run_at"] == msgspec.json.decode(msgspec.json.encode(last))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ('cleanup_interval = "never"', "never by itself"),
        ('cleanup_interval = "1h"', "due, at the next start"),
        ('cleanup_interval = "36h"', "in 2d, if the gateway runs then"),
    ],
)
def test_status_next_cleanup_goes_by_the_interval(program: Program, config: str, expected: str) -> None:
    """An interval, or never."""
    program.write_config(f"[session]\n{config}\n")
    remember_run(program.sessions_dir, datetime.now(UTC) - timedelta(hours=2))
    shown, document = _status(program)
    assert expected in shown["next cleanup"]
    assert (document["next_run_at"] is None) == ("never" in config)
    assert shown["last cleanup"].endswith("; not in the history")


def test_status_next_cleanup_at_a_time_of_day_is_that_time_in_the_machines_zone(program: Program) -> None:
    """The time of day is hours away on both sides, whenever the test runs."""
    zone = timezone(timedelta(hours=-5))
    now = datetime.now(zone)
    following = (now + timedelta(hours=12, minutes=30)).replace(second=0, microsecond=0)
    program.write_config(f'[session]\ncleanup_at = "{following:%H:%M}"\n')
    remember_run(program.sessions_dir, now - timedelta(hours=2))
    shown, document = _status(program, TZ="XXX+5")
    expected = f"{following.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, in 13h, if the gateway runs then"
    assert shown["next cleanup"] == expected
    assert datetime.fromisoformat(document["next_run_at"]) == following


def test_status_counts_what_is_due_and_names_the_command_that_lists_it(program: Program) -> None:
    """Due is what goes within a week, what goes now and what goes for its number; the rest, and the pinned, is not."""
    program.write_config("[session]\nttl_by_channel = {mail = 'never'}\n")
    sizes = [program.add(f"web_{days}", days=days).stat().st_size for days in (31, 24, 22)]
    program.add("web_pinned", days=31, pinned=True)
    program.add("mail_old", days=400)
    remember_run(program.sessions_dir, datetime.now(UTC))
    shown, document = _status(program)
    size = sizes[0] + sizes[1]
    assert shown["due"] == f"2 sessions, {size} B; `miniclaw sessions due` lists them"
    assert document["due"] == {"sessions": 2, "bytes": size}
    assert document["due"] == program.run("sessions", "cleanup", "--dry-run", "--json").json["due"]
    assert shown["would remove"].startswith("1 session, ")


def _announced(at: datetime, goes_at: datetime | None = None, **fields: Any) -> HistoryEvent:
    """Return the event of sessions that were announced after they had expired."""
    return HistoryEvent(
        at=at, event="announced", by="service", reasons={"ttl": Tally(2, 900), "max_sessions": Tally(1, 100)},
        because="no earlier run is known", goes_at=goes_at, **({"announced": 3} | fields),
    )  # fmt: skip


def test_status_tells_what_was_announced_after_it_had_expired(program: Program) -> None:
    """When, how many, why, and from when on they go; of two announcements the later one."""
    at = datetime.now(UTC) - timedelta(hours=2)
    goes_at = at + timedelta(days=1)
    record(program.sessions_dir, _announced(at - timedelta(hours=1), at), _announced(at, goes_at))
    shown, document = _status(program)
    assert shown["announced"] == (
        f"{at:%Y-%m-%d %H:%M:%S} UTC: 3 sessions that had expired; no earlier run is known; "
        f"deleted from {goes_at:%Y-%m-%d %H:%M:%S} UTC on, unless they are used"
    )
    said = document["announcement"]
    assert (said["sessions"], said["bytes"], said["because"]) == (3, 1000, "no earlier run is known")
    assert (datetime.fromisoformat(said["at"]), datetime.fromisoformat(said["goes_at"])) == (at, goes_at)


def test_status_announcement_without_a_run_that_deletes_says_so(program: Program) -> None:
    """Where no run comes by itself, or the mode is to announce, nothing goes by itself."""
    record(program.sessions_dir, _announced(datetime.now(UTC)))
    shown, document = _status(program)
    assert shown["announced"].endswith("; nothing is deleted by itself")
    assert document["announcement"]["goes_at"] is None


def test_status_announcement_is_over_once_a_run_has_come_that_may_delete(program: Program) -> None:
    """A run before that time leaves it; one from then on has dealt with it."""
    at = datetime.now(UTC) - timedelta(days=2)
    goes_at = at + timedelta(days=1)
    record(program.sessions_dir, _announced(at, goes_at))
    record(program.sessions_dir, HistoryEvent(at=goes_at - timedelta(hours=1), event="cleanup", by="command"))
    assert "announced" in _status(program)[0]
    record(program.sessions_dir, HistoryEvent(at=goes_at, event="cleanup", by="service"))
    shown, document = _status(program)
    assert "announced" not in shown
    assert document["announcement"] is None


def test_status_of_an_event_that_announces_no_session_has_no_line(program: Program) -> None:
    """What the mode only announces stands in the history; the line is for sessions that somebody has to know of."""
    record(program.sessions_dir, HistoryEvent(at=datetime.now(UTC), event="announced", by="service", announced=0))
    shown, document = _status(program)
    assert "announced" not in shown
    assert document["announcement"] is None


def test_status_tells_that_the_latest_cleanup_was_held_until_one_goes_through(program: Program) -> None:
    """Why it was held, and how to let it through; an earlier one that was held is over."""
    now = datetime.now(UTC)
    held = HistoryEvent(at=now - timedelta(hours=2), event="held", by="service", because="it would remove too much")
    record(program.sessions_dir, held)
    shown, document = _status(program)
    assert shown["held"] == (
        f"the cleanup of {held.at:%Y-%m-%d %H:%M:%S} UTC: it would remove too much; "
        "`miniclaw sessions cleanup --confirm` lets it through"
    )
    assert document["held"] == "it would remove too much"
    assert shown["last cleanup"] == "never"
    record(program.sessions_dir, HistoryEvent(at=now, event="interrupted", by="service"))
    shown, document = _status(program)
    assert "held" not in shown
    assert "(interrupted)" in shown["last cleanup"]
    assert document["held"] is None


def test_status_tells_what_would_be_held_and_what_stays_unmet(program: Program) -> None:
    """The same plan as the dry run's."""
    program.write_config("[session]\nmax_removed_fraction = 0.5\nmax_sessions = 5\nmode = 'announce'\n")
    for number in range(20):
        program.add(f"web_{number}", days=31 if number < 12 else 0.1)
    shown, document = _status(program)
    plan = program.run("sessions", "cleanup", "--dry-run", "--json").json
    assert shown["would be held"].startswith("it would remove 12 of 20 sessions, more than max_removed_fraction = 0.5")
    assert document["would_be_held"] == plan["held"]
    assert shown["unmet"] == "max_sessions: it cannot be met, what is left is protected or would not be enough"
    assert document["unmet"] == plan["unmet"] == ["max_sessions"]
    assert (shown["mode"], document["mode"]) == ("announce", "announce")


def test_status_shows_the_rules_that_are_on(program: Program) -> None:
    """As the configuration's file says them; a channel that is never swept is told as well."""
    program.write_config(
        '[session]\nttl = "never"\nmax_disk_bytes = "500MB"\nmin_idle = "2d"\nquarantine_for = "never"\n'
        'trash_for = "off"\nttl_by_channel = {web = "7d", mail = "never"}\n'
    )
    shown, document = _status(program)
    rules = {"ttl": "never", "max_disk_bytes": "500MB", "min_idle": "2d", "trash_for": "off", "ttl_by_channel.web": "7d",
             "ttl_by_channel.mail": "never"}  # fmt: skip
    assert document["rules"] == rules
    assert shown["rules"] == ", ".join(f"{name} = {value}" for name, value in rules.items())


def test_status_over_a_damaged_history_tells_so(program: Program) -> None:
    """What cannot be read is counted, and the rest of the screen is there."""
    program.state_dir.mkdir(parents=True)
    (program.state_dir / "history.jsonl").write_text("{\n[]\n")
    assert _status(program)[0]["history"] == "2 lines could not be read"


@pytest.mark.parametrize(
    ("at", "shown_at"),
    [
        ("9999-12-31T12:00:00Z", "9999-12-31 12:00:00 UTC"),
        ("9999-12-31T12:00:00-12:00", "9999-12-31 12:00:00 UTC-12:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01 00:00:00 UTC"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01 00:00:00 UTC+14:00"),
    ],
)
@pytest.mark.parametrize("config", ["", '[session]\ncleanup_at = "04:00"\n'], ids=["interval", "time of day"])
def test_status_with_times_at_the_ends_of_the_calendar_is_shown(
    program: Program, config: str, at: str, shown_at: str
) -> None:
    """A clock that was wrong, or a hand, has written any time; a screen is there all the same."""
    program.write_config(config)
    remember_run(program.sessions_dir, datetime.fromisoformat(at))
    event = {"version": 1, "at": at, "event": "cleanup", "by": "service"}
    announced = event | {"event": "announced", "announced": 1}
    (program.state_dir / "history.jsonl").write_text(json.dumps(event) + "\n" + json.dumps(announced) + "\n")
    shown, _ = _status(program)
    assert shown["announced"].startswith(f"{shown_at}: 1 session that had expired; ")
    assert shown["last cleanup"].startswith(f"{shown_at}: 0 of 0 removed")
    assert program.run("history").lines[1].startswith(shown_at.removesuffix(" UTC") + "\t")
    (program.state_dir / "history.jsonl").unlink()
    assert _status(program)[0]["last cleanup"].endswith("; not in the history")


def test_status_where_a_part_cannot_be_read_shows_the_rest(program: Program) -> None:
    """What could not be read is named, counts as not known, and is exit code 1; the sessions are there."""
    program.add("web_a", days=1)
    program.add("web_b", days=31)
    program.trash_dir.write_text("no folder")
    quarantine = program.sessions_dir / ".quarantine"
    quarantine.symlink_to(program.home)
    (program.state_dir / "history.jsonl").mkdir(parents=True)
    (program.state_dir / "retention.json").mkdir()
    result = program.run("status")
    assert (result.code, result.err) == (1, "")
    shown = [(line[:14].strip(), line[14:]) for line in result.lines]
    assert ("trash", "not known") in shown
    assert ("quarantine", "not known") in shown
    assert ("last cleanup", "not known") in shown
    assert ("next cleanup", "not known; the gateway would announce first") in shown
    assert any(label == "would remove" and text.startswith("1 session, ") for label, text in shown)
    assert shown[-1][0] == "rules"
    unread = [text.partition(": ")[0] for label, text in shown if label == "not read"]
    paths = [program.trash_dir, program.state_dir / "retention.json", quarantine, program.state_dir / "history.jsonl"]
    assert unread == [str(path) for path in paths]
    as_json = program.run("status", "--json")
    assert as_json.code == 1
    assert list(as_json.json["not_read"]) == ["trash", "state", "quarantine", "history"]
    assert [as_json.json[key] for key in ("trash", "quarantine", "next_run_at")] == [None] * 3
    assert as_json.json["sessions"]["readable"] == 2


def test_status_of_a_state_folder_that_is_none_is_told(program: Program) -> None:
    """A file in the place of the folder is neither a history nor a state; and no sessions are no error."""
    program.state_dir.parent.mkdir(parents=True)
    program.state_dir.write_text("no folder")
    result = program.run("status")
    assert result.code == 1
    assert sum(line.startswith("not read ") for line in result.lines) == 2
    assert any(line.split(maxsplit=2)[1:] == ["cleanup", "not known"] for line in result.lines)


def test_status_of_a_damaged_state_is_told(program: Program) -> None:
    """A state that is cut off is not taken for none."""
    program.state_dir.mkdir(parents=True)
    (program.state_dir / "retention.json").write_text("{")
    result = program.run("status")
    assert result.code == 1
    assert f"{program.state_dir / 'retention.json'}: it is no state of the cleanup: " in result.out


def test_status_names_a_holder_of_whom_little_is_known(program: Program) -> None:
    """Who holds it may be somebody whose file says nothing, or an odd time."""
    program.add("web_a", days=1)
    with SessionDirectory.open(program.sessions_dir) as directory:
        directory.own()
        for text, expected in [
            ("{", "another process"),
            ('{"pid": 7, "since": "0001-01-01T00:00:00Z"}', "process 7, since 0001-01-01 00:00:00 UTC"),
        ]:
            (program.sessions_dir / ".lock").write_text(text)
            assert _status(program)[0]["held by"] == expected

"""``quarantine``: what could not be read is listed, shown, restored, deleted, and moved there by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from miniclaw.session.files.directory import SessionDirectory
from tests.cli.ways import directly
from tests.fakes.program import Program
from tests.fakes.samples import session_dict

BOTH_WAYS = True


def lay(program: Program, name: str, content: str | bytes = "{", *, days: float = 0, number: int = 0) -> Path:
    folder = program.sessions_dir / ".quarantine"
    folder.mkdir(exist_ok=True, parents=True, mode=0o700)
    stamp = datetime.now(UTC) - timedelta(days=days)
    path = folder / f"{name}.{stamp:%Y%m%dT%H%M%SZ}-{number:08x}"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _session(session_id: str, *, days: float = 1, **fields: Any) -> str:
    return json.dumps(session_dict(session_id, datetime.now(UTC) - timedelta(days=days), **fields))


def lying(program: Program) -> list[str]:
    folder = program.sessions_dir / ".quarantine"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# Listing and showing --------------------------------------------------------------------------------------------


def test_list_tells_what_is_in_each_file_now_and_when_it_goes(program: Program) -> None:
    """Whose it is, since when, what is wrong with it, and when it is deleted; the newest last."""
    program.add("web_here", days=1)
    files = [
        lay(program, "web_bad.json", days=80.5),
        lay(program, "web_x.json", _session("web_anna", days=30), days=20.5),
        lay(program, "web_here.json", _session("web_here", days=30), days=3.5),
        lay(program, "web_\x1b[31m.json", b"\0", days=2.5),
        lay(program, "web_p.json", _session("web_p", pinned=True), days=1.5),
    ]
    result = program.run("quarantine", "list")
    assert (result.code, result.err) == (0, "")
    cells = [line.split("\t") for line in result.lines]
    assert cells[0] == ["SESSION OR FILE", "SINCE", "SIZE", "NOW", "GOES (UTC)", "ID"]
    assert [row[0] for row in cells[1:]] == ["web_bad.json", "web_anna", "web_here", "web_\\x1b[31m.json", "web_p"]
    assert [row[1] for row in cells[1:]] == ["80d ago", "20d ago", "3d ago", "2d ago", "1d ago"]
    assert cells[1][3]
    assert [row[3] for row in cells[2:]] == [
        "can be restored", "there is a file in its place, web_here.json", "it is not a JSON object", "can be restored",
    ]  # fmt: skip
    days = [(datetime.fromisoformat(row[4]).replace(tzinfo=UTC) - datetime.now(UTC)).days for row in cells[1:5]]
    assert days[0] in {9, 10}
    assert days[1] in {9, 10}
    assert days[2] in {26, 27}
    assert days[3] in {87, 88}
    assert cells[5][4] == "not by itself"
    assert [row[5] for row in cells[1:]] == [path.name.replace("\x1b", "\\x1b") for path in files]


def test_list_leaves_alone_what_is_not_ours(program: Program) -> None:
    """An entry of another name is named on standard error, and not listed."""
    lay(program, "web_a.json").rename(program.sessions_dir / ".quarantine" / "notes")
    result = program.run("quarantine", "list")
    assert (result.code, len(result.lines)) == (0, 1)
    assert result.err.startswith("left alone: .quarantine/notes: its name is not that")


@pytest.mark.parametrize(
    ("make", "kind"),
    [(lambda path: path.symlink_to("/etc/passwd"), "a symbolic link"), (os.mkfifo, "a FIFO"), (os.mkdir, "a directory")],
    ids=["link", "FIFO", "folder"],
)  # fmt: skip
def test_what_is_no_file_is_listed_and_deleted_for_good(
    program: Program, make: Callable[[Path], Any], kind: str
) -> None:
    """It goes in as it stood in a chat's place, is shown as such, and out by hand alone; a full folder is refused."""
    path = program.add("web_a", days=1)
    path.unlink()
    make(path)
    assert program.run("quarantine", "add", path.name).code == 0
    (kept,) = lying(program)
    (row,) = program.run("quarantine", "list", "--json").json
    assert (row["problem"], row["bytes"], row["goes_at"]) == (f"it is {kind}, not a file", 0, None)
    assert program.run("status", "--json").json["quarantine"] == {"files": 1, "bytes": 0}
    for command in ("show", "restore"):
        result = program.run("quarantine", command, "web_a")
        assert (result.code, kind in result.err) == (1, True)
    folder = program.sessions_dir / ".quarantine" / kept
    if folder.is_dir() and not folder.is_symlink():
        (folder / "important").write_text("x")
        result = program.run("quarantine", "delete", "web_a", "--yes")
        assert result.code == 1
        assert "it is a directory with files in it" in result.err
        (folder / "important").unlink()
    result = program.run("quarantine", "delete", "web_a", "--yes")
    assert (result.code, result.out) == (0, f"Deleted {kept}, 0 B; it cannot be restored.\n")
    assert lying(program) == []


def test_list_json_is_the_files(program: Program) -> None:
    """For programs: everything that is known of each."""
    path = lay(program, "web_x.json", _session("web_anna"), days=1)
    (file,) = program.run("quarantine", "list", "--json").json
    assert (file["id"], file["file"], file["session_id"]) == (path.name, "web_x.json", "web_anna")
    assert (file["bytes"], file["problem"], file["announced"]) == (path.stat().st_size, "", False)
    assert datetime.fromisoformat(file["goes_at"]) > datetime.now(UTC)


@pytest.mark.parametrize("command", [["list"], ["list", "--json"]], ids=str)
def test_list_of_nothing_is_no_error_and_makes_nothing(program: Program, command: list[str]) -> None:
    """Before the first file there is no quarantine."""
    result = program.run("quarantine", *command)
    assert (result.code, result.err) == (0, "")
    assert not (program.home / "workspace").exists()


def test_show_of_a_session_is_as_it_is_shown_in_its_place(program: Program) -> None:
    """By whatever means the file; what would command the terminal is escaped."""
    path = lay(program, "web_x.json", _session("web_anna", messages=[
        {"role": "user", "content": "red \x1b[31m", "timestamp": "2026-02-14T10:30:00Z"},
    ]))  # fmt: skip
    shown = [program.run("quarantine", "show", text) for text in (path.name, "web_anna", path.name[-8:])]
    assert len({result.out for result in shown}) == 1
    assert shown[0].lines[0] == "session        web_anna"
    assert shown[0].lines[-1] == "  red \\x1b[31m"
    assert (shown[0].code, shown[0].err) == (0, "")


def test_show_of_anything_else_is_its_text_made_safe(program: Program) -> None:
    """Controls, and bytes that are no text, are shown escaped; standard error says that it is no session, and why."""
    lay(program, "web_x.json", b'{"session_id": \x1b]0;title\x07 \xff \xe2\x80\xae\nnext')
    result = program.run("quarantine", "show", "web_x")
    assert result.out == '{"session_id": \\x1b]0;title\\x07 \\xff \\u202e\nnext\n'
    assert result.err.startswith("not a session: ")
    lay(program, "web_y.json", b"y" * (2**20 + 5))
    result = program.run("quarantine", "show", "web_y")
    assert len(result.out) == 2**20 + 1
    assert "5 bytes more; `--raw` writes all of them." in result.err


@directly("its output is no text")
def test_show_raw_writes_the_bytes_into_a_pipe(program: Program) -> None:
    """As they are, whatever they are, and nothing besides; on a terminal that is refused."""
    content = bytes(range(256)) * 5000
    lay(program, "web_x.json", content)
    done = subprocess.run(
        [sys.executable, "-m", "miniclaw", "quarantine", "show", "--raw", "web_x"],
        env=os.environ | {"MINICLAW_HOME": str(program.home)}, capture_output=True, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (content, b"")
    result = program.run_on_terminal("quarantine", "show", "--raw", "web_x")
    assert result.code == 2
    assert "--raw is for a pipe or a file" in result.out


@pytest.mark.parametrize("command", ["show", "restore", "delete"])
@pytest.mark.parametrize("name", ["web_9", "../config", "", "nonsense"])
def test_what_is_not_there_is_said_and_makes_nothing(program: Program, command: str, name: str) -> None:
    """Neither a workspace nor a lock, and nothing is deleted."""
    before = program.content()
    result = program.run("quarantine", command, name)
    assert (result.code, result.out) == (1, "")
    assert "nothing in quarantine" in result.err
    assert program.content() == before


@pytest.mark.parametrize("command", [["show"], ["restore"], ["delete", "--yes"]], ids=str)
def test_what_means_several_is_not_guessed(program: Program, command: list[str]) -> None:
    """The sentence names them, and nothing happens."""
    one, two = lay(program, "web_x.json", number=1), lay(program, "web_x.json", number=2)
    result = program.run("quarantine", *command, "web_x")
    assert (result.code, result.out) == (1, "")
    assert "means 2 files" in result.err
    assert one.name in result.err
    assert lying(program) == sorted([one.name, two.name])


def test_delete_by_a_session_takes_the_row_that_shows_it(program: Program) -> None:
    """The id of one session never means the file of another whose name begins with it."""
    other, meant = lay(program, "web_anna2.json"), lay(program, "web_lena.json", _session("web_anna"))
    assert program.run("quarantine", "delete", "web_ann", "--erase", "--yes").code == 1
    result = program.run("quarantine", "delete", "web_anna", "--erase", "--yes")
    assert result.out.startswith(f"Deleted {meant.name}, ")
    assert lying(program) == [other.name]


# Restoring ------------------------------------------------------------------------------------------------------


def test_restore_puts_a_session_where_its_content_belongs(program: Program) -> None:
    """Also out of another session's name: all that it held is there, and it counts as used now."""
    content = _session("web_anna", days=400, mood="good")
    path = lay(program, "web_x.json", content)
    start = datetime.now(UTC)
    result = program.run("quarantine", "restore", path.name[-8:])
    assert (result.code, result.out, result.err) == (0, "Restored web_anna; it counts as used just now.\n", "")
    after = json.loads((program.sessions_dir / "web_anna.json").read_bytes())
    assert start <= datetime.fromisoformat(after["last_accessed"]) <= datetime.now(UTC)
    assert {**after, "last_accessed": ""} == {**json.loads(content), "last_accessed": ""}
    assert lying(program) == []
    assert program.run("history", "--json").json[-1]["because"] == "from quarantine"


def test_restore_of_what_cannot_be_used_says_why_and_what_to_do(program: Program) -> None:
    """It stays; edited rightly, it comes back."""
    path = lay(program, "web_x.json", _session("web_x")[:-1])
    result = program.run("quarantine", "restore", "web_x")
    assert (result.code, result.out) == (1, "")
    assert str(path) in result.err
    assert "edit it there and try again" in result.err
    assert result.err.count("\n") == 1
    path.write_text(_session("web_x"))
    assert program.run("quarantine", "restore", "web_x").code == 0
    assert program.files() == {"web_x.json"}


def test_restore_over_a_session_or_a_damaged_file_changes_nothing(program: Program) -> None:
    """What stands there stays; the sentence says how both come about: delete it, or move it aside."""
    lay(program, "web_x.json", _session("web_x"))
    place = program.add("web_x", days=1)
    for content in (place.read_bytes(), b"{"):
        place.write_bytes(content)
        result = program.run("quarantine", "restore", "web_x")
        assert (result.code, result.out) == (1, "")
        assert str(place) in result.err
        assert "nothing is ever overwritten" in result.err
        assert place.read_bytes() == content
    assert program.run("quarantine", "add", "web_x.json").code == 0
    first = next(name for name in lying(program) if name.endswith("-00000000"))
    assert program.run("quarantine", "restore", first).code == 0


# Adding ---------------------------------------------------------------------------------------------------------


def test_add_moves_files_out_of_the_way(program: Program) -> None:
    """By name or by path; what is refused is told, with exit code 1, and the others are moved."""
    sound = program.add("web_a", days=1)
    (program.sessions_dir / "web_bad.json").write_text("{")
    copy = program.sessions_dir / "web_a (conflicted copy 2026-11-01).json"
    copy.write_text(_session("web_a"))
    result = program.run(
        "quarantine", "add", "web_bad.json", str(copy), "web_a.json", str(program.config_path), "x.json"
    )
    assert result.code == 1
    kept = lying(program)
    assert [name.rsplit(".", 1)[0] for name in kept] == [copy.name, "web_bad.json"]
    assert result.lines == [
        f"Moved web_bad.json to quarantine, as {kept[1]}.", f"Moved {copy.name} to quarantine, as {kept[0]}.",
    ]  # fmt: skip
    assert len(result.err.splitlines()) == 3
    assert "it is a sound session in its place" in result.err
    assert f"{program.config_path}: give the name of a file in the sessions directory" in result.err
    assert "there is no such file" in result.err
    assert sound.exists()
    assert program.run("history", "--json").json[-1]["event"] == "quarantined"


def test_add_where_there_are_no_sessions_makes_none(program: Program) -> None:
    """Neither a workspace nor a quarantine."""
    result = program.run("quarantine", "add", "web_a.json")
    assert (result.code, result.out) == (1, "")
    assert "there are no sessions yet" in result.err
    assert not (program.home / "workspace").exists()


def test_file_whose_name_is_no_text_goes_through_all_of_it(program: Program) -> None:
    """As it is typed, and as it is shown; nothing of it is JSON that cannot be read."""
    program.add("web_a", days=1)
    name = os.fsencode(program.sessions_dir) + b"/web_\xff.json"
    Path(os.fsdecode(name)).write_text("{")
    result = program.run("quarantine", "add", os.fsdecode(os.path.basename(name)))
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Moved web_\\udcff.json to quarantine")
    (file,) = program.run("quarantine", "list", "--json").json
    assert file["file"] == "web_\\udcff.json"
    assert program.run("quarantine", "show", file["id"]).code == 0
    assert program.run("quarantine", "delete", "--yes", file["id"]).code == 0
    (entry,) = program.run("trash", "list", "--json").json
    assert program.run("trash", "restore", entry["id"]).code == 0
    assert program.run("quarantine", "delete", "--yes", "--erase", r"web_\udcff.json").code == 0
    assert lying(program) == []


# All of them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [["restore", "web_x"], ["delete", "--yes", "web_x"], ["add", "web_bad.json"]], ids=str
)
def test_quarantine_while_another_program_owns_the_workspace_is_refused(program: Program, command: list[str]) -> None:
    """Two processes never write to one workspace; what was there is there."""
    lay(program, "web_x.json", _session("web_x"))
    (program.sessions_dir / "web_bad.json").write_text("{")
    with SessionDirectory.open(program.sessions_dir) as directory:
        directory.own()
        result = program.run("quarantine", *command)
    assert (result.code, result.out) == (1, "")
    assert f"is held by process {os.getpid()}; stop it first" in result.err
    assert (len(lying(program)), program.files()) == (1, {"web_bad.json"})


def test_cleanup_of_quarantine_is_the_same_before_and_after(program: Program) -> None:
    """The dry run says which rule takes what, and where it goes; the run does that, and so say trash and history."""
    lay(program, "web_bad.json", days=91, number=1)
    lay(program, "web_x.json", _session("web_anna", days=40), days=31, number=2)
    lay(program, "web_p.json", _session("web_p", days=400, pinned=True), days=400, number=3)
    dry = program.run("sessions", "cleanup", "--dry-run", "--json").json
    assert {row["file"][-8:]: row["reason"] for row in dry["leftovers"]} == {
        "00000001": "quarantine_expired", "00000002": "ttl",
    }  # fmt: skip
    assert [row["to_trash"] for row in dry["leftovers"]] == [True, True]
    assert sorted(row["file"] for row in dry["due_files"]) == sorted(row["file"] for row in dry["leftovers"])
    result = program.run("sessions", "cleanup", "--yes")
    assert "leftovers removed: 2 quarantined; 2 of them in the trash." in result.lines
    assert [name[-8:] for name in lying(program)] == ["00000003"]
    entries = program.run("trash", "list", "--json").json
    assert {entry["key"]: (entry["session_id"], entry["reason"]) for entry in entries} == {
        "web_bad.json": (None, "quarantine_expired"), "web_x.json": ("web_anna", "ttl"),
    }  # fmt: skip
    assert program.run("history", "--json").json[-1]["leftovers"] == {
        "quarantined": {"files": 2, "bytes": sum(row["bytes"] for row in dry["leftovers"])},
    }  # fmt: skip


def test_status_and_due_point_to_the_quarantine(program: Program) -> None:
    """Where there is something in it, or something of it goes soon."""
    program.add("web_a", days=1)
    assert "quarantine list" not in program.run("status").out
    lay(program, "web_bad.json", days=88)
    assert "quarantine    1, 1 B; `miniclaw quarantine list` names them" in program.run("status").lines
    assert program.run("sessions", "due").lines[-1] == (
        "1 file in quarantine due as well; `miniclaw quarantine list` says when."
    )

"""``sessions delete`` of several: by ids, by channel, by chat; dry runs, the trash, and erasure."""

from __future__ import annotations

import json
import os
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from miniclaw.formats import printable
from miniclaw.session.names import file_name
from tests.cli.ways import directly
from tests.fakes.program import Program, refusing_rename
from tests.fakes.samples import session_dict

STAMP = "20261101T000000Z-0123abcd"
OLD = datetime(2026, 10, 1, tzinfo=UTC)

BOTH_WAYS = True


def _quarantine(program: Program, name: str) -> Path:
    folder = program.sessions_dir / ".quarantine"
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{name}.{STAMP}"
    path.write_bytes(b"x" * 100)
    return path


@pytest.fixture
def six(program: Program) -> Program:
    """A workspace with the sessions of three people on two channels."""
    for session_id in ("web_ann", "web_bob", "mail_ann", "mail_Ann", "mail_web_ann", "mail_ann_"):
        program.add(session_id, days=2)
    return program


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["web_ann", "mail_ann", "web_ann"], ["mail_ann", "web_ann"]),
        (["--channel", "web"], ["web_ann", "web_bob"]),
        (["--chat", "ann"], ["mail_ann", "web_ann"]),
        (["--channel", "mail", "--chat", "ann"], ["mail_ann"]),
        (["--channel", "mail", "--chat", "web_ann"], ["mail_web_ann"]),
        (["--chat", "Ann"], ["mail_Ann"]),
    ],
    ids=str,
)
def test_delete_of_several_removes_those_and_no_others(six: Program, arguments: list[str], ids: list[str]) -> None:
    """What the dry run lists is exactly what goes; it changes nothing itself."""
    before = six.content()
    dry = six.run("sessions", "delete", "--dry-run", "--json", *arguments)
    assert dry.code == 0
    assert sorted(row["session_id"] for row in dry.json["sessions"]) == ids
    assert six.content() == before
    listed = {row["session_id"] for row in six.run("sessions", "list", "--json").json}
    result = six.run("sessions", "delete", "--yes", "--json", *arguments)
    assert (result.code, result.err) == (0, "")
    assert [row["session_id"] for row in result.json["sessions"]] == ids
    assert {row["session_id"] for row in six.run("sessions", "list", "--json").json} == listed - set(ids)


@pytest.mark.parametrize("arguments", [[], ["web_ann", "--channel", "web"], ["web_ann", "--chat", "ann"]], ids=str)
def test_delete_without_a_clear_choice_is_a_usage_error(six: Program, arguments: list[str]) -> None:
    """Nothing is never everything, and of two ways of saying it none is guessed."""
    before = six.content()
    result = six.run("sessions", "delete", "--yes", *arguments)
    assert (result.code, result.out) == (2, "")
    assert "say which sessions" in result.err
    assert six.content() == before


def test_delete_with_one_id_that_is_unknown_deletes_none(six: Program) -> None:
    """A mistyped id is told before anything goes."""
    before = six.content()
    result = six.run("sessions", "delete", "--yes", "web_ann", "web_anne")
    assert (result.code, result.out, result.err) == (1, "", "miniclaw: no session 'web_anne'\n")
    assert six.content() == before


def test_delete_dry_run_for_a_person(six: Program) -> None:
    """Which, how old, how large; and that nothing was changed."""
    size = (six.sessions_dir / "web_ann.json").stat().st_size
    result = six.run("sessions", "delete", "--chat", "ann", "--dry-run")
    assert (result.code, result.err) == (0, "")
    assert [line.split("\t") for line in result.lines[:3]] == [
        ["SESSION", "AGE", "SIZE", "FILE"],
        ["mail_ann", "2d", f"{size + 2} B", "mail_ann.json"],
        ["web_ann", "2d", f"{size} B", "web_ann.json"],
    ]
    assert result.lines[-1] == f"2 sessions would be moved to the trash, {2 * size + 2} B. Nothing was changed."


def test_delete_of_several_says_that_they_are_gone_for_good(six: Program) -> None:
    """Each by its name, and how much came free in all."""
    six.write_config('[session]\ntrash_for = "off"\n')
    result = six.run("sessions", "delete", "--yes", "--channel", "web")
    size = six.run("history", "--json").json[-1]["bytes_freed"]
    assert result.lines[0].startswith("Deleted web_ann, ")
    assert result.lines[0].endswith("; it cannot be restored.")
    assert result.lines[-1] == f"2 sessions deleted for good, {size} B freed."


def test_delete_to_the_trash_says_how_to_restore(six: Program) -> None:
    """They go there unless it is switched off, and what is printed brings them back."""
    result = six.run("sessions", "delete", "--yes", "web_ann")
    assert result.code == 0
    assert result.out.startswith("Moved web_ann to the trash, ")
    assert result.out.endswith("; `miniclaw trash restore web_ann` brings it back within 7d.\n")
    assert six.run("trash", "restore", "web_ann").code == 0
    assert "web_ann.json" in six.files()
    dry = six.run("sessions", "delete", "--chat", "ann", "--dry-run")
    assert "2 sessions would be moved to the trash, " in dry.lines[-1]
    both = six.run("sessions", "delete", "--yes", "--chat", "ann")
    assert both.lines[-1].startswith("2 sessions moved to the trash, ")
    assert both.lines[-1].endswith("; `miniclaw trash list` shows them, and `miniclaw trash restore ID` restores one.")
    document = six.run("sessions", "delete", "--yes", "web_bob", "--json").json
    (entry,) = [row["id"] for row in six.run("trash", "list", "--json").json if row["session_id"] == "web_bob"]
    assert document["sessions"][0]["trash_entry"] == entry


def test_delete_of_an_odd_id_says_a_name_that_can_be_pasted(program: Program) -> None:
    """What is shown escaped is not the id; the entry's is, and brings it back."""
    program.write_config('[session]\ntrash_for = "7d"\n')
    program.add("web_\x1b[31m a", days=1)
    result = program.run("sessions", "delete", "--yes", "web_\x1b[31m a")
    assert result.out.startswith("Moved web_\\x1b[31m a to the trash, ")
    command = shlex.split(result.out.split("`")[1])
    assert command[-1].startswith("web_%1B%5B31m%20a.")
    assert program.run(*command[1:]).code == 0
    assert program.files() == {"web_%1B%5B31m%20a.json"}


def test_delete_of_many_names_the_first_and_counts_the_rest(program: Program) -> None:
    """A thousand lines tell nobody anything."""
    for number in range(25):
        program.add(f"web_{number}", days=1)
    result = program.run("sessions", "delete", "--yes", "--channel", "web")
    assert result.code == 0
    assert sum(line.startswith("Moved ") for line in result.lines) == 20
    assert "… and 5 more; `miniclaw history` has them all." in result.lines
    assert result.lines[-1].startswith("25 sessions moved to the trash, ")
    assert program.files() == set()


@directly("it looks for the traces of an owner")
def test_delete_of_a_channel_without_sessions_is_done(six: Program) -> None:
    """A person who asks for erasure twice is told that there is nothing."""
    result = six.run("sessions", "delete", "--yes", "--chat", "nobody")
    assert (result.code, result.out, result.err) == (0, "There is nothing to delete.\n", "")
    assert not six.state_dir.exists()


@pytest.mark.parametrize("arguments", [["--channel", "web"], ["--chat", "bad"]], ids=str)
def test_delete_of_a_channel_tells_what_it_could_not_delete(program: Program, arguments: list[str]) -> None:
    """A file that cannot be read is never deleted; that it is still there is an answer that matters."""
    program.add("web_a", days=1)
    bad = program.add("web_bad", days=1)
    bad.write_text("{")
    program.add("mail_x", days=1).write_text("{")
    dry = program.run("sessions", "delete", *arguments, "--dry-run")
    assert any(line.startswith("kept: web_bad.json: corrupt, ") for line in dry.lines)
    result = program.run("sessions", "delete", "--yes", *arguments)
    assert result.code == 1
    assert "kept: web_bad.json: corrupt, " in result.err
    assert "mail_x" not in result.err
    assert bad.exists()
    assert (program.sessions_dir / "web_a.json").exists() == (arguments[0] == "--chat")


def test_delete_question_for_several_says_how_many_and_how_much(six: Program) -> None:
    """Whoever says yes knows to what; a no changes nothing."""
    six.write_config('[session]\ntrash_for = "off"\n')
    size = sum((six.sessions_dir / name).stat().st_size for name in ("web_ann.json", "web_bob.json"))
    result = six.run_on_terminal("sessions", "delete", "--channel", "web", prompt="[y/N]: ", answer="n\n")
    assert result.code == 1
    assert f"Delete 2 sessions, {size} B, for good?" in result.out
    six.write_config('[session]\ntrash_for = "7d"\n')
    result = six.run_on_terminal("sessions", "delete", "--channel", "web", prompt="[y/N]: ", answer="n\n")
    assert f"Move 2 sessions, {size} B, to the trash?" in result.out
    assert len(six.files()) == 6


def _with_copies(program: Program) -> None:
    """Leave things of web_a, of web_A and of web_b in the sessions, the trash and the quarantine."""
    program.write_config('[session]\ntrash_for = "7d"\n')
    for session_id in ("web_a", "web_b", "web_A"):
        program.add(session_id, days=3)
        assert program.run("sessions", "delete", "--yes", session_id).code == 0
        program.add(session_id, days=1)
    _quarantine(program, "web_a.json")
    _quarantine(program, "web_a.json.corrupted")
    _quarantine(program, "web_b.json")
    for name in ("web_a.json.tmp", "web_b.json.tmp"):
        path = program.sessions_dir / name
        path.write_bytes(b"x" * 10)
        os.utime(path, (0, 0))


@pytest.mark.parametrize("arguments", [["web_a"], ["--chat", "a"], ["--channel", "web", "--chat", "a"]], ids=str)
def test_erase_takes_a_session_out_of_trash_and_quarantine(program: Program, arguments: list[str]) -> None:
    """For good, without a detour through the trash; of others everything is still there."""
    _with_copies(program)
    dry = program.run("sessions", "delete", "--erase", "--dry-run", "--json", *arguments).json
    assert [row["session_id"] for row in dry["sessions"]] == ["web_a"]
    assert [row["session_id"] for row in dry["copies"]] == ["web_a"] * 4
    shown = program.run("sessions", "delete", "--erase", "--dry-run", *arguments)
    assert shown.lines[-1].startswith("1 session and 4 files of trash and quarantine would be deleted for good, ")
    result = program.run("sessions", "delete", "--yes", "--erase", *arguments)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Deleted web_a, ")
    everything = program.content()
    assert not [name for name in everything if "web_a." in name]
    assert {row["session_id"] for row in program.run("trash", "list", "--json").json} == {"web_b", "web_A"}
    assert (program.sessions_dir / "web_b.json").exists()
    assert (program.sessions_dir / ".quarantine" / f"web_b.json.{STAMP}").exists()
    assert program.run("history", "--json").json[-1]["event"] == "erased"


@pytest.mark.parametrize("arguments", [["web_a"], ["--chat", "a"]], ids=str)
@pytest.mark.parametrize("trashed", [True, False])
def test_erase_goes_by_the_session_that_a_file_in_quarantine_holds(
    program: Program, arguments: list[str], trashed: bool
) -> None:
    """Whatever it is called, in quarantine or in the trash; what stood in the session's place may be another one's."""
    program.add("web_a", days=1)
    _quarantine(program, "copy.json").write_text(json.dumps(session_dict("web_a", OLD)))
    _quarantine(program, "web_a.json").write_text(json.dumps(session_dict("web_b", OLD)))
    if trashed:
        assert program.run("quarantine", "delete", "--yes", "copy.json", "web_a.json").code == 0
    dry = program.run("sessions", "delete", "--erase", "--dry-run", "--json", *arguments).json
    assert [row["file"].startswith((".trash/copy.json.", ".quarantine/copy.json.")) for row in dry["copies"]] == [True]
    result = program.run("sessions", "delete", "--yes", "--erase", *arguments)
    assert (result.code, result.err) == (0, "")
    assert not [name for name in program.content() if "copy" in name]
    left = program.run("trash", "list", "--json").json if trashed else program.run("quarantine", "list", "--json").json
    assert [row["session_id"] for row in left] == ["web_b"]


def test_erase_of_a_damaged_file_from_quarantine_takes_it_out_of_the_trash(program: Program) -> None:
    """There its name tells whose it is, as it does in quarantine."""
    program.add("web_a", days=1)
    _quarantine(program, "web_a.json")
    _quarantine(program, "web_b.json")
    assert program.run("quarantine", "delete", "--yes", "web_a", "web_b").code == 0
    dry = program.run("sessions", "delete", "--erase", "--dry-run", "--json", "web_a").json
    assert [row["session_id"] for row in dry["copies"]] == ["web_a"]
    assert program.run("sessions", "delete", "--yes", "--erase", "web_a").code == 0
    assert [entry["key"] for entry in program.run("trash", "list", "--json").json] == ["web_b.json"]


def test_erase_of_a_channel_takes_all_of_it(program: Program) -> None:
    """Also what is only left in the trash; and what it cannot tell is named."""
    _with_copies(program)
    program.add("mail_a", days=1)
    unknown = _quarantine(program, "web_X~0123456789abcdef0123456789abcdef.json")
    odd = _quarantine(program, "web_%3A.json")
    assert program.run("sessions", "delete", "web_b", "--yes").code == 0
    result = program.run("sessions", "delete", "--yes", "--erase", "--channel", "web")
    assert result.code == 1
    assert f"kept: .quarantine/{unknown.name}: unreadable, its name does not tell whose it is" in result.err
    assert program.run("trash", "list", "--json").json == []
    assert program.files() == {"mail_a.json"}
    assert not odd.exists()
    assert [path.name for path in (program.sessions_dir / ".quarantine").iterdir()] == [unknown.name]


def test_erase_of_what_is_only_in_the_trash_works(program: Program) -> None:
    """A person's data may have been removed already, and is still to go."""
    program.write_config('[session]\ntrash_for = "7d"\n')
    program.add("web_a", days=3)
    assert program.run("sessions", "delete", "--yes", "web_a").code == 0
    assert program.run("sessions", "delete", "--yes", "web_a").code == 1
    result = program.run_on_terminal("sessions", "delete", "--erase", "web_a", prompt="[y/N]: ", answer="y\n")
    assert result.code == 0
    assert "Delete 0 sessions and 1 file of trash and quarantine, " in result.out
    assert list(program.trash_dir.iterdir()) == []
    assert program.run("sessions", "delete", "--yes", "--erase", "web_a").err == "miniclaw: no session 'web_a'\n"


def test_erase_takes_damaged_entries_by_their_names(program: Program) -> None:
    """What cannot be read in the trash still says in its name whose it is."""
    program.write_config('[session]\ntrash_for = "7d"\n')
    program.add("web_a", days=3)
    program.add("web_A", days=3)
    for session_id in ("web_a", "web_A"):
        assert program.run("sessions", "delete", "--yes", session_id).code == 0
    for path in program.trash_dir.iterdir():
        path.write_bytes(b"junk")
    dry = program.run("sessions", "delete", "--erase", "--channel", "web", "--dry-run", "--json").json
    assert [row["session_id"] for row in dry["copies"]] == ["web_a"]
    assert len(dry["kept"]) == 1
    assert dry["kept"][0]["file"].startswith(".trash/web_A~")
    assert program.run("sessions", "delete", "--yes", "--erase", "--chat", "A").code == 0
    assert [path.name.partition(".")[0] for path in program.trash_dir.iterdir()] == ["web_a"]


LONG = "web_" + "ä" * 120  # with its suffix longer than a name in quarantine, which is cut within it


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize(
    "arguments", [[LONG], ["--chat", LONG[4:]], ["--channel", "web", "--chat", LONG[4:]], ["--channel", "web"]],
    ids=["id", "chat", "chat on a channel", "channel"],
)  # fmt: skip
def test_erase_names_files_whose_cut_names_may_be_the_sessions(
    program: Program, arguments: list[str], is_there: bool
) -> None:
    """In quarantine two sessions may have the same name: what may be another's stays, is named, and is exit code 1."""
    cut = _quarantine(program, os.fsdecode(f"{LONG}.json".encode()[:200]))
    _quarantine(program, os.fsdecode(f"mail_{LONG[4:]}.json".encode()[:199]))
    legacy = program.sessions_dir / f"{LONG}.json.tmp"
    legacy.write_bytes(b"x")
    os.utime(legacy, (0, 0))
    if is_there:
        program.add(LONG, days=1)
    result = program.run("sessions", "delete", "--yes", "--erase", *arguments)
    assert result.code == 1
    assert result.out.startswith(f"Deleted {LONG}, " if is_there else "There is nothing to delete.")
    kept = [line for line in result.err.splitlines() if line.startswith("miniclaw: kept: ")]
    assert [line.split(": ")[2] for line in kept] == [f".quarantine/{printable(cut.name)}", legacy.name]
    assert all("may be another session's as well" in line for line in kept)
    assert cut.exists()
    assert program.files() == {legacy.name}


@pytest.mark.parametrize("arguments", [["web_" + "é" * 80 + "x"], ["--chat", "é" * 80 + "x"]], ids=["id", "chat"])
def test_erase_takes_what_was_cut_behind_the_sessions_own_name(program: Program, arguments: list[str]) -> None:
    """A name that has the digest whole is nobody else's."""
    own = file_name("web_" + "é" * 80 + "x")
    assert 195 < len(own) <= 200
    cut = _quarantine(program, f"{own}.corrupted"[:200])
    result = program.run("sessions", "delete", "--yes", "--erase", *arguments)
    assert (result.code, result.err) == (0, "")
    assert not cut.exists()


def test_erase_of_several_ids_of_which_one_is_unknown_deletes_none(program: Program) -> None:
    """A cut name that may be of one session is no reason to let a mistyped id of another pass."""
    program.add("web_a", days=1)
    _quarantine(program, os.fsdecode(f"{LONG}.json".encode()[:200]))
    result = program.run("sessions", "delete", "--yes", "--erase", LONG, "web_a", "web_b")
    assert (result.code, result.out, result.err) == (1, "", "miniclaw: no session 'web_b'\n")
    assert program.files() == {"web_a.json"}


@pytest.mark.parametrize("chat", [b"\xff", b""], ids=["not UTF-8", "empty"])
def test_erase_of_a_chat_that_there_cannot_be_finds_nothing(program: Program, chat: bytes) -> None:
    """A text that names no session is no session's, whatever lies there."""
    program.add("web_a", days=1)
    kept = _quarantine(program, "web_a.json")
    odd = _quarantine(program, "WEB_a.json")
    result = program.run("sessions", "delete", "--yes", "--erase", "--chat", os.fsdecode(chat))
    assert (result.code, result.out) == (0, "There is nothing to delete.\n")
    assert kept.exists()
    assert odd.exists()


@directly("it changes the command's own process")
def test_delete_that_the_system_refuses_is_told_for_that_one(program: Program) -> None:
    """One that stays is named, with exit code 1; the others go."""
    program.write_config('[session]\ntrash_for = "off"\n')
    program.add("web_a", days=1)
    path = program.add("web_b", days=1)
    result = program.run_python(refusing_rename("web_b.json"), "sessions", "delete", "--yes", "web_b", "web_a")
    assert result.code == 1
    assert result.lines[0].startswith("Deleted web_a, ")
    assert result.lines[-1].startswith("1 session deleted for good, ")
    assert f"miniclaw: {path}: " in result.err
    assert program.files() == {"web_b.json"}
    as_json = program.run_python(refusing_rename("web_b.json"), "sessions", "delete", "--yes", "web_b", "--json")
    assert as_json.code == 1
    (row,) = as_json.json["sessions"]
    assert (row["session_id"], row["bytes_freed"], row["trash_entry"]) == ("web_b", 0, None)
    assert str(path) in row["error"]


def test_erase_leaves_alone_what_names_nobody(program: Program) -> None:
    """A file in quarantine whose name is that of no session is nobody's."""
    path = _quarantine(program, "Web_x.json")
    program.add("web_x", days=1)
    assert program.run("sessions", "delete", "--yes", "--erase", "--chat", "x").code == 0
    assert path.exists()
    assert program.files() == set()

"""Conflict copies are known by the forms of their names, and no session is ever taken for one."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.session.conflict_names import by_content, by_name, is_copy_of, is_temporary, original_of
from miniclaw.session.entries import ProblemFile
from miniclaw.session.names import file_name, file_names
from miniclaw.session.types import SessionHeader
from tests.session.test_names import CHANNELS, CHAT_IDS

# What stands between a session's name and its end. Each of these says by itself that a program has made a copy.
ADDITIONS = [
    ".sync-conflict-20260714-093012-ABCDEF7",
    ".sync-conflict-20260714-093012-ABCDEF7.sync-conflict-20260715-093012-ABCDEF7",
    "~20260714-093012",
    " (pi's conflicted copy 2026-07-14)",
    " (Case Conflict)",
    " (Case Conflict 1)",
    " (Unicode Encoding Conflict)",
    " (In Konflikt stehende Kopie von pi 2026-07-14)",
    " (Konfliktkopie 2026-07-14)",
    " (Copie en conflit de pi 2026-07-14)",
    " (Copia en conflicto de pi 2026-07-14)",
    " (Copia in conflitto di pi 2026-07-14)",
    " (Cópia em conflito de pi 2026-07-14)",
    " (pi の競合コピー 2026-07-14)",
    " (pi 的冲突副本 2026-07-14)",
    " (pi의 충돌된 복사본 2026-07-14)",
    " (Конфликтующая копия pi 2026-07-14)",
    " (conflicted copy 2026-07-14 093012)",
    " (conflicted copy anna 2026-07-14 093012)",
    " (case clash from anna 2026-07-14 093012)",
    " (SFConflict anna@example.org 2026-07-14-09-30-12)",
    ".Conflict",
    ".Conflict1",
    "_DiskStation_Jul-14-0930-2026_Conflict",
    "_Andy-PC_Jan-03-0901-2013_CaseConflict_1",
    " [conflicted]",
    " (conflicted)",
    " (copy: conflict #1 on 2026-07-14)",
    "-PI-safeBackup-0001",
    " (1)",
    "(1)",
    " (1) (2)",
    " 2",
    " copy",
    " copy 2",
    " - Copy",
    " - Copy (2)",
    " - Kopie",
    " – Kopie (2)",  # noqa: RUF001 - an en dash is what some versions write
    " (copy)",
    " (another copy)",
    " (3rd copy)",
    " (copia)",
]
# The same, behind the whole name.
ENDINGS = [
    ".conflict1", "..path1", ".path2", "~", ".~1~", ".bak", ".bak2", ".orig", ".rej", ".old", " (1)", " copy",
    ".sync-conflict-20260714-093012-ABCDEF7",
]  # fmt: skip
BEGINNINGS = ["Copy of ", "Kopie von ", "Copie de ", "Copy (2) of ", "Conflict copy of "]
# Names that a chat may have as well: only the content can tell.
AMBIGUOUS = ["_conflict-20260714-093012", ".conflict1", "-pi", "-desktop-4f2", "_copy", "-copy-2", ".conflict"]

TEMPORARY = [
    ".syncthing.web_a.json.tmp", "~syncthing~web_a.json.tmp", ".~lock.web_a.json#", "~$web_a.json", "desktop.ini",
    ".DS_Store", "Thumbs.db", ".fuse_hidden0000001a00000002", ".nfs00000000001a", "._web_a.json", "web_a.json.part",
    "web_a.json.filepart", "web_a.json.crdownload", ".goutputstream-ABC123", ".web_a.json.swp", "4913", "#web_a.json#",
    ".#web_a.json", ".unison.web_a.json.1a2b.unison.tmp", "web_a.json.1a2b.partial", "web_a.json.!sync",
    "web_a.json___jb_tmp___",
]  # fmt: skip


def mismatched(name: str, inside: str) -> ProblemFile:
    """Return a file whose content names another session."""
    return ProblemFile(name, "mismatched", "another", SessionHeader(inside, "web", "a", datetime.now(UTC)))


@pytest.mark.parametrize("session_id", ["web_a", "telegram_-100123", "slack_U024", "web_ü"])
@pytest.mark.parametrize("addition", ADDITIONS)
def test_addition_of_another_program_tells_the_original(session_id: str, addition: str) -> None:
    """Each form names its original, whatever the session's own name looks like, with its content or without."""
    own = file_name(session_id)
    name = own.removesuffix(".json") + addition + ".json"
    assert original_of(name) == own
    assert is_copy_of(name, session_id)
    assert by_content(ProblemFile(name, "corrupt", "it is torn")).kind == "conflict"


@pytest.mark.parametrize("ending", ENDINGS)
def test_ending_of_another_program_tells_the_original(ending: str) -> None:
    """What does not even end as a session's name is a copy of the one that it begins with."""
    problem = by_name(f"web_a.json{ending}", is_file=True)
    assert (problem.kind, original_of(problem.key)) == ("conflict", "web_a.json")
    assert "web_a.json" in problem.reason
    assert by_name(problem.key, is_file=False).kind == "foreign"


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_beginning_of_another_program_tells_the_original(beginning: str) -> None:
    """Some programs put their word in front."""
    assert original_of(f"{beginning}web_a.json") == "web_a.json"
    assert is_copy_of(f"{beginning}slack_U2.json", "slack_U2")


@pytest.mark.parametrize("addition", ADDITIONS)
def test_copy_is_known_in_the_form_of_a_mac(addition: str) -> None:
    """A file system that decomposes letters does not hide a copy."""
    assert original_of(unicodedata.normalize("NFD", f"web_a{addition}.json")) == "web_a.json"
    assert original_of(unicodedata.normalize("NFD", "Cópia de web_ä.json")) == "web_ä.json"


@pytest.mark.parametrize("addition", AMBIGUOUS)
def test_name_that_a_chat_may_have_needs_the_content(addition: str) -> None:
    """The name of a session is a copy's only where its content names the session of its beginning."""
    name = f"web_a{addition}.json"
    assert name in file_names(f"web_a{addition}")
    assert original_of(name) is None
    assert by_content(ProblemFile(name, "corrupt", "it is torn")).kind == "corrupt"
    assert by_content(mismatched(name, "web_b")).kind == "mismatched"
    copy = by_content(mismatched(name, "web_a"))
    assert (copy.kind, copy.inside) == ("conflict", "web_a")
    assert "web_a.json" in copy.reason


@pytest.mark.parametrize(
    ("name", "inside"),
    [("web_12.json", "web_1"), ("web_1_2.json", "web_1"), ("web_b.json", "web_a"), ("web_a.json", "nothing")],
)
def test_file_of_another_session_is_mismatched(name: str, inside: str) -> None:
    """A file that only lies in a wrong place is no copy: it stays an error."""
    problem = mismatched(name, inside)
    assert by_content(problem) is problem


def test_copy_that_cannot_be_read_stays_unreadable() -> None:
    """It may be the session of just this name: nobody has seen its content."""
    problem = ProblemFile("web_a (1).json", "unreadable", "could not open it")
    assert by_content(problem) is problem


@given(CHANNELS, CHAT_IDS, st.sampled_from(["", *ADDITIONS, *AMBIGUOUS]))
def test_own_name_of_a_session_is_never_a_copys_by_itself(channel: str, chat_id: str, addition: str) -> None:
    """Whatever the chat is called, the name that its session gets does not say that it is a copy."""
    assert original_of(file_name(f"{channel}_{chat_id}{addition}")) is None


@pytest.mark.parametrize("name", TEMPORARY)
def test_temporary_file_of_another_program_is_foreign(name: str) -> None:
    """What a sync program or an editor needs for a moment is neither a session nor a copy of one."""
    assert is_temporary(name)
    assert by_name(name, is_file=True).kind == "foreign"
    assert by_content(ProblemFile(name, "corrupt", "it is torn")).kind == "foreign"


@pytest.mark.parametrize("name", ["web_a.json.tmp", "web_a.json.corrupted", "notes.txt", "web_a", "web_ copy.txt"])
def test_other_names_are_foreign(name: str) -> None:
    """What an earlier implementation has left, and what is a stranger's, is not taken for a copy."""
    problem = by_name(name, is_file=True)
    assert (problem.kind, is_temporary(name)) == ("foreign", False)
    assert "ends in .json" in problem.reason


def test_hidden_name_is_foreign_for_its_dot() -> None:
    """The reason is the right one."""
    assert by_name(".hidden.json", is_file=True).reason == "its name begins with a dot"

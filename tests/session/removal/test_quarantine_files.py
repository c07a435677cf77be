"""The files in quarantine: each is judged as it is now, and found by what a person can type."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from miniclaw.errors import (
    AmbiguousQuarantineIdError,
    CorruptSessionError,
    QuarantinedFileNotFoundError,
    StoreIOError,
)
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import quarantine
from miniclaw.session.format import codec
from miniclaw.session.names import file_name
from miniclaw.session.removal.quarantine_files import (
    find_quarantined,
    list_quarantined,
    pieces_of,
    read_quarantined,
)
from miniclaw.session.removal.quarantine_removal import leftover_of
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import make_socket, session_dict

OLD = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = datetime(2026, 10, 1, 8, 30, 15, tzinfo=UTC)
STAMPED = "20261001T083015Z-0a1b2c3"


def lay(directory: SessionDirectory, file_id: str, content: bytes | str = b"{") -> Path:
    path = directory.path / ".quarantine" / file_id
    path.parent.mkdir(exist_ok=True, mode=0o700)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def session(session_id: str, **fields: Any) -> str:
    return json.dumps(session_dict(session_id, OLD, **fields))


def test_list_of_no_quarantine_is_empty_and_makes_none(directory: SessionDirectory) -> None:
    """Before the first file there is no folder, and looking makes none."""
    assert list_quarantined(directory) == []
    assert not (directory.path / ".quarantine").exists()


def test_list_judges_each_file_as_it_is_now(directory: SessionDirectory) -> None:
    """What holds a session is sound whatever it was called; of the rest it says what is wrong. The oldest come first."""
    lay(directory, f"web_1.json.{STAMPED}0", session("web_1", pinned=True))
    lay(directory, f"web_2.json.{STAMPED}1", session("web_anna"))
    lay(directory, f"web_3.json.{STAMPED}2", session("web_3", channel="mail"))
    lay(directory, f"web_4.json.{STAMPED}3", "{")
    lay(directory, f"web_5.json.{STAMPED}4", b"")
    lay(directory, f"web_6.json.{STAMPED}5", b"\0" * 9000)
    lay(directory, "web_7.json.20260901T083015Z-0a1b2c3d", session("web_7", note="x" * 9000)[:-1])
    found = list_quarantined(directory)
    assert [file.file for file in found] == [f"web_{number}.json" for number in (7, 1, 2, 3, 4, 5, 6)]
    assert [file.header and file.header.session_id for file in found] == [
        None,
        "web_1",
        "web_anna",
        None,
        None,
        None,
        None,
    ]
    assert found[1].header is not None
    assert found[1].header.pinned
    assert [bool(file.problem) for file in found] == [True, False, False, True, True, True, True]
    assert found[3].problem == "its ids do not agree with one another"
    assert all(file.readable for file in found)
    assert (found[1].since, found[1].size) == (STAMP, len(session("web_1", pinned=True)))


@pytest.mark.parametrize("inside", ["../../etc/passwd", "web", "_1", "Web_1", "web_", "web_\0", "web_" + "x" * 70_000])
def test_ids_of_any_kind_inside_a_file_make_no_path(directory: SessionDirectory, inside: str) -> None:
    """A content that names what can be no session is not sound; one that can is, however long its id."""
    channel, _, chat_id = inside.partition("_")
    fields = {**session_dict("web_1", OLD), "session_id": inside, "channel": channel, "chat_id": chat_id}
    lay(directory, f"web_1.json.{STAMPED}0", json.dumps(fields))
    (file,) = list_quarantined(directory)
    can_be = inside in {"web_\0"} or inside.startswith("web_xx")
    assert (file.header is not None) == can_be


@pytest.mark.parametrize(
    ("make", "kind"),
    [(lambda path: path.symlink_to("/etc/passwd"), "a symbolic link"), (os.mkfifo, "a FIFO"), (os.mkdir, "a directory"),
     (make_socket, "a socket")],
)  # fmt: skip
def test_what_is_no_file_is_listed_and_found_and_not_opened(
    directory: SessionDirectory, make: Callable[[Path], Any], kind: str
) -> None:
    """A link, a FIFO, a socket or a folder is shown as such, no rule deletes it, and nothing waits for it."""
    path = lay(directory, f"web_1.json.{STAMPED}0")
    path.unlink()
    make(path)
    (file,) = list_quarantined(directory)
    assert (file.problem, file.size, file.is_file) == (f"it is {kind}, not a file", 0, False)
    assert not leftover_of(file).readable
    assert find_quarantined(directory, "web_1") == file
    with pytest.raises(CorruptSessionError, match=kind):
        next(pieces_of(directory, path.name))
    with pytest.raises(CorruptSessionError, match=kind):
        read_quarantined(directory, path.name)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE])
def test_file_that_is_refused_is_said_to_be_unknown(directory: SessionDirectory, fs: FaultyOs, number: int) -> None:
    """What the system does not let be read may be a pinned session: it counts as neither sound nor damaged."""
    lay(directory, f"web_1.json.{STAMPED}0", session("web_1", pinned=True))
    fs.fail("open", number, path="web_1.json")
    (file,) = list_quarantined(directory)
    assert (file.header, file.readable) == (None, False)
    assert os.strerror(number) in file.problem
    assert not leftover_of(file).readable


def test_file_that_is_too_large_is_known_to_be_none(
    directory: SessionDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file beyond the bound nothing is read, and its size alone makes it no session."""
    lay(directory, f"web_1.json.{STAMPED}0", session("web_1"))
    monkeypatch.setattr(codec, "MAX_SESSION_BYTES", 50)
    (file,) = list_quarantined(directory)
    assert (file.header, file.readable) == (None, True)
    assert "more than the 50" in file.problem
    with pytest.raises(CorruptSessionError, match="more than the 50"):
        read_quarantined(directory, file.id)


def test_sparse_file_of_a_terabyte_is_not_read(directory: SessionDirectory, fs: FaultyOs) -> None:
    """A hostile file costs a look and no more."""
    os.truncate(lay(directory, f"web_1.json.{STAMPED}0", session("web_1")), 2**40)
    (file,) = list_quarantined(directory)
    assert (file.header, file.readable, file.size) == (None, True, 2**40)
    assert all(args[1] <= codec.HEADER_PREFIX_BYTES for name, args in fs.calls if name in {"read", "pread"})


def test_list_of_a_folder_that_is_refused_is_an_error(directory: SessionDirectory, fs: FaultyOs) -> None:
    """It is not taken for an empty one."""
    lay(directory, f"web_1.json.{STAMPED}0")
    fs.fail("scandir", errno.EIO)
    with pytest.raises(StoreIOError, match="quarantine: could not list"):
        list_quarantined(directory)


@pytest.mark.parametrize("text", [f"web_1.json.{STAMPED}0", "web_1.json", "web_1", "0a1b2c30"])
def test_find_by_a_whole_name_finds_the_file(directory: SessionDirectory, text: str) -> None:
    """The id, the digits at its end, the file's earlier name and the session's id each mean the file."""
    wanted = lay(directory, f"web_1.json.{STAMPED}0")
    lay(directory, f"web_12.json.{STAMPED}1")
    lay(directory, f"web_1.json.corrupted.{STAMPED}2")
    assert find_quarantined(directory, text).id == wanted.name


@pytest.mark.parametrize("text", ["web_anna", "web_", "web_anna2.json.2026", f"web_anna2.json.{STAMPED}"])
def test_find_by_the_beginning_of_a_name_finds_nothing(directory: SessionDirectory, text: str) -> None:
    """A text never means a file with a longer name, which may be another session's."""
    lay(directory, f"web_anna2.json.{STAMPED}0")
    with pytest.raises(QuarantinedFileNotFoundError):
        find_quarantined(directory, text)


def test_find_by_a_session_finds_the_file_that_holds_it(directory: SessionDirectory) -> None:
    """A file is that of the session inside, as the list shows it, and not of the session whose name it had."""
    wanted = lay(directory, f"web_lena.json.{STAMPED}0", session("web_anna"))
    lay(directory, f"web_anna2.json.{STAMPED}1")
    assert find_quarantined(directory, "web_anna").id == wanted.name
    assert find_quarantined(directory, "web_lena.json").id == wanted.name
    with pytest.raises(QuarantinedFileNotFoundError):
        find_quarantined(directory, "web_lena")
    lay(directory, f"web_anna.json.{STAMPED}2")
    with pytest.raises(AmbiguousQuarantineIdError):
        find_quarantined(directory, "web_anna")


def test_find_by_the_id_of_a_session_with_another_file_name(directory: SessionDirectory) -> None:
    """Also where the name has a digest, and what was there has not, and where it had its bare name."""
    name = file_name("slack_U2")
    lay(directory, f"{name}.{STAMPED}0")
    assert find_quarantined(directory, "slack_U2").file == name
    lay(directory, f"slack_U2.json.{STAMPED}1")
    with pytest.raises(AmbiguousQuarantineIdError) as caught:
        find_quarantined(directory, "slack_U2")
    assert len(caught.value.file_ids) == 2
    assert all(file_id in str(caught.value) for file_id in caught.value.file_ids)


@pytest.mark.parametrize("text", ["", "web_9", "x" * 5000, "\0", "../web_1.json", ".", "notes", "\udcff"])
def test_find_of_nothing_says_so(directory: SessionDirectory, text: str) -> None:
    """A text that means no file is no path, and no file that is not ours."""
    lay(directory, f"web_1.json.{STAMPED}0")
    lay(directory, "notes")
    with pytest.raises(QuarantinedFileNotFoundError, match="nothing in quarantine") as caught:
        find_quarantined(directory, text)
    assert len(str(caught.value)) < 600


def test_find_by_id_reads_only_that_file(directory: SessionDirectory, fs: FaultyOs) -> None:
    """However many and large the others are."""
    lay(directory, f"web_1.json.{STAMPED}0")
    lay(directory, f"mail_1.json.{STAMPED}1")
    fs.calls.clear()
    find_quarantined(directory, f"mail_1.json.{STAMPED}1")
    assert not any("web_1.json" in str(args) for _, args in fs.calls)


def test_name_that_is_no_text_is_found_as_it_is_shown(directory: SessionDirectory) -> None:
    """What a command shows escaped can be typed."""
    path = lay(directory, f"web_\udcff.json.{STAMPED}0")
    for text in (path.name, rf"web_\udcff.json.{STAMPED}0", r"web_\udcff.json", "0a1b2c30"):
        assert find_quarantined(directory, text).id == path.name


def test_content_comes_as_it_is(directory: SessionDirectory) -> None:
    """Piece by piece, byte for byte, also of none."""
    content = bytes(range(256)) * 3000
    path = lay(directory, f"web_1.json.{STAMPED}0", content)
    assert b"".join(pieces_of(directory, path.name)) == content
    assert list(pieces_of(directory, lay(directory, f"web_2.json.{STAMPED}0", b"").name)) == []
    with pytest.raises(QuarantinedFileNotFoundError):
        list(pieces_of(directory, f"web_3.json.{STAMPED}0"))


def test_not_enough_memory_is_no_verdict(directory: SessionDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small machine neither deletes what it cannot hold, nor says that it is damaged."""
    lay(directory, f"web_1.json.{STAMPED}0", session("web_1"))

    def no_memory(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(codec, "decode_header", no_memory)
    monkeypatch.setattr(codec, "decode_session", no_memory)
    (file,) = list_quarantined(directory)
    assert (file.header, file.readable) == (None, False)
    with pytest.raises(StoreIOError, match="Cannot allocate memory"):
        read_quarantined(directory, file.id)


def test_quarantined_file_is_listed_as_it_was_moved(directory: SessionDirectory) -> None:
    """The name of a long file is cut, and the rest is found again."""
    name = "web_" + "é" * 120 + ".json"
    (directory.path / name).write_text("{")
    kept = quarantine(directory, name)
    (file,) = list_quarantined(directory)
    assert file.id == kept.name
    assert file.file.startswith("web_é")
    assert find_quarantined(directory, kept.name[-8:]).id == kept.name

"""File names: injective also where case is ignored, safe, short, and never taken from anybody's word."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.errors import InvalidSessionIdError
from miniclaw.session.names import (
    MAX_NAME_BYTES,
    belongs,
    file_name,
    file_names,
    ids_of,
    is_channel,
    is_session_file,
    make_session_id,
    own_name_of_bare,
    split_session_id,
)

SAFE = re.compile(r"[a-z0-9-]{1,32}_(?:[A-Za-z0-9.@+_-]|%[0-9A-F]{2})*(?:~[0-9a-f]{32})?\.json", re.ASCII)

CHANNELS = st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)
TRICKY_TEXT = st.text("aAbB_~%./0257EeéÉß\u017f\u212a \n\0\U0001f600-@+", min_size=1, max_size=120)
CHAT_IDS = st.one_of(ANY_TEXT, TRICKY_TEXT)

STRANGE_CHAT_IDS = [
    "/",
    "../../etc/passwd",
    "..",
    ".",
    "a\0b",
    "a\nb",
    "\U0001f600",
    "A",
    "~",
    "%",
    "%2F",
    "a b",
    " ",
    "\\",
    "a:b",
    "_",
    ".json",
    "\x7f",
    "\u202e",
]


def variants(chat_id: str) -> set[str]:
    """Return chat ids that a careless encoding would take for this one."""
    stem = file_name(f"x_{chat_id}").removeprefix("x_").removesuffix(".json")
    candidates = {
        chat_id,
        chat_id.lower(),
        chat_id.upper(),
        chat_id.swapcase(),
        chat_id.casefold(),
        chat_id + "_",
        chat_id + ".json",
        chat_id + " ",
        chat_id[:-1],
        quote(chat_id, safe=""),
        quote(chat_id, safe="").lower(),
        stem,
        stem.lower(),
        chat_id + "x" * 10_000,
        chat_id + "x" * 9_999 + "y",
    }
    return candidates - {""}


@given(CHANNELS, CHAT_IDS)
def test_file_name_of_lookalike_ids_differs_under_casefold(channel: str, chat_id: str) -> None:
    """Ids that differ in case, encoding, length or tail have names that differ where case is ignored."""
    ids = variants(chat_id)
    assert len({file_name(f"{channel}_{other}").casefold() for other in ids}) == len(ids)


@given(CHANNELS, CHAT_IDS, CHANNELS, CHAT_IDS)
def test_file_name_of_two_chats_is_equal_only_for_the_same_chat(c1: str, i1: str, c2: str, i2: str) -> None:
    """Two chats share a name exactly when channel and chat id are the same."""
    same = file_name(make_session_id(c1, i1)).casefold() == file_name(make_session_id(c2, i2)).casefold()
    assert same == ((c1, i1) == (c2, i2))


@given(CHANNELS, CHAT_IDS, st.integers(1, 60))
def test_file_name_of_any_id_is_safe_and_short(channel: str, chat_id: str, times: int) -> None:
    """Whatever the chat id, the name is made of the safe ASCII characters and has at most 200 bytes."""
    name = file_name(make_session_id(channel, chat_id * times))
    assert SAFE.fullmatch(name)
    assert len(name.encode()) <= MAX_NAME_BYTES == 200


@given(CHANNELS, CHAT_IDS)
def test_split_session_id_undoes_make_session_id(channel: str, chat_id: str) -> None:
    """A session id gives back the channel and the chat id that it was made of."""
    assert split_session_id(make_session_id(channel, chat_id)) == (channel, chat_id)


@pytest.mark.parametrize(
    ("session_id", "name"),
    [
        ("telegram_123456789", "telegram_123456789.json"),
        ("web_a_b", "web_a_b.json"),
        ("mail_me+you@example.org", "mail_me+you@example.org.json"),
        ("x-1_-100.5", "x-1_-100.5.json"),
    ],
)
def test_file_name_of_plain_id_is_the_id(session_id: str, name: str) -> None:
    """Lower-case ids without strange characters keep the name that earlier implementations gave them."""
    assert file_names(session_id) == (name,)


def test_file_name_where_underscore_moves_differs() -> None:
    """Chat `b_c` on `a` has a name, chat `c` on `a_b` is refused: the two can never meet."""
    assert file_name(make_session_id("a", "b_c")) == "a_b_c.json"
    with pytest.raises(InvalidSessionIdError):
        make_session_id("a_b", "c")


@pytest.mark.parametrize("chat_id", STRANGE_CHAT_IDS)
def test_file_name_of_strange_id_stays_in_the_directory(chat_id: str) -> None:
    """Path separators, dots, NUL and their like are encoded and reach no other file."""
    name = file_name(make_session_id("web", chat_id))
    assert SAFE.fullmatch(name)
    assert is_session_file(name)


def test_file_name_of_strange_ids_is_unique() -> None:
    """No two of the strange ids share a name, also when case is ignored."""
    assert len({file_name(f"web_{each}").casefold() for each in STRANGE_CHAT_IDS}) == len(STRANGE_CHAT_IDS)


@pytest.mark.parametrize("character", ["x", "X", "/", "é", "\U0001f600"])
def test_file_name_of_10000_characters_is_cut_and_told_apart(character: str) -> None:
    """Very long ids are cut to the limit without half an escape, and differ by their last character still."""
    names = {file_name("web_" + character * 9_999 + last) for last in (character, "y")}
    assert len(names) == 2
    for name in names:
        assert SAFE.fullmatch(name)
        assert len(name) <= 200


@pytest.mark.parametrize(("length", "digest"), [(191, False), (192, True)])
def test_file_name_at_the_limit_gets_a_digest_only_beyond_it(length: int, digest: bool) -> None:
    """A name of exactly 200 bytes is kept as it is; one more byte makes a digest necessary."""
    name = file_name("web_" + "x" * length)
    assert ("~" in name) == digest
    assert len(name) == 200


@pytest.mark.parametrize("lone", ["\ud800", "a\udfffb"])
def test_ids_with_lone_surrogates_are_refused(lone: str) -> None:
    """What cannot be written as UTF-8 names no session, and the error carries the value."""
    with pytest.raises(InvalidSessionIdError) as caught:
        make_session_id("web", lone)
    assert caught.value.value == lone
    with pytest.raises(InvalidSessionIdError):
        file_name(f"web_{lone}")
    assert not belongs("web_x.json", f"web_{lone}", "web", lone)


@pytest.mark.parametrize(
    "channel", ["", "a_b", "Web", "é", "a b", "a/b", ".", "..", "a\n", "\0", "x" * 33, "٣", "a~", "%41"]
)
def test_bad_channels_are_refused(channel: str) -> None:
    """A channel is 1 to 32 of a-z, 0-9 and -; everything else is refused."""
    assert not is_channel(channel)
    with pytest.raises(InvalidSessionIdError):
        make_session_id(channel, "1")


@pytest.mark.parametrize("channel", ["a", "0", "-", "x" * 32, "web-2"])
def test_good_channels_are_accepted(channel: str) -> None:
    """The shortest and the longest channel are both within bounds."""
    assert make_session_id(channel, "1") == f"{channel}_1"


@pytest.mark.parametrize("session_id", ["", "web", "_1", "web_", "Web_1", "we b_1", "../x_1"])
def test_session_ids_of_another_form_are_refused(session_id: str) -> None:
    """Only `{channel}_{chat_id}` has a file."""
    for function in (split_session_id, file_name, file_names):
        with pytest.raises(InvalidSessionIdError):
            function(session_id)


@pytest.mark.parametrize("chat_id", ["Alice", "a b", "日本"])
def test_file_names_of_encoded_id_has_the_bare_legacy_name_second(chat_id: str) -> None:
    """An id that we encode may lie under the bare name of an earlier implementation; ours comes first."""
    session_id = f"web_{chat_id}"
    assert file_names(session_id) == (file_name(session_id), f"{session_id}.json")


@pytest.mark.parametrize(("chat_id", "other"), [("Jos\u00e9", "Jose\u0301"), ("Jose\u0301", "Jos\u00e9")])
def test_file_names_of_a_name_that_has_normal_forms_has_each(chat_id: str, other: str) -> None:
    """Programs and file systems of macOS change the form of a bare name, and never the id inside the file."""
    assert file_names(f"web_{chat_id}")[1:] == (f"web_{chat_id}.json", f"web_{other}.json")
    assert belongs(f"web_{other}.json", f"web_{chat_id}", "web", chat_id)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("web_Bob.json", file_name("web_Bob")),
        ("web_a b.json", "web_a%20b.json"),
        ("web_bob.json", None),
        (file_name("web_Bob"), None),
        ("web_a%20b.json", None),
        ("WEB_bob.json", None),
        ("Bob.json", None),
        ("web_Bob", None),
    ],
)
def test_own_name_of_bare_is_that_of_the_session_that_the_name_is_of(name: str, ours: str | None) -> None:
    """A bare name tells the session without a look inside; our own names, and those of no session, are none."""
    assert own_name_of_bare(name) == ours


@pytest.mark.parametrize("chat_id", ["%20", "A~559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd"])
def test_file_names_never_has_another_sessions_own_name(chat_id: str) -> None:
    """A bare name that could be the encoded name of another id is never looked at."""
    assert len(file_names(f"web_{chat_id}")) == 1


@pytest.mark.parametrize("chat_id", ["a/b", "../../x", "/", "a\0b", "\0"])
def test_file_names_of_id_with_separator_or_nul_has_no_bare_name(chat_id: str) -> None:
    """A bare name that would be a path is never looked at."""
    assert file_names(f"web_{chat_id}") == (file_name(f"web_{chat_id}"),)


@pytest.mark.parametrize(("chat_id", "count"), [("x" * 246, 2), ("x" * 247, 1), ("é" * 123, 2), ("é" * 124, 1)])
def test_file_names_of_long_id_has_a_bare_name_up_to_255_bytes(chat_id: str, count: int) -> None:
    """A bare name is only tried where a file system could hold it; bytes count, not characters."""
    assert len(file_names(f"web_{chat_id}")) == count


@given(CHANNELS, CHAT_IDS)
def test_file_names_of_any_id_are_single_path_components(channel: str, chat_id: str) -> None:
    """No name leads out of the directory, and our own comes first."""
    found = file_names(f"{channel}_{chat_id}")
    assert found[0] == file_name(f"{channel}_{chat_id}")
    assert not any("/" in name or "\0" in name or name in {".", ".."} for name in found)


@given(CHANNELS, CHAT_IDS)
def test_belongs_accepts_each_name_of_the_session(channel: str, chat_id: str) -> None:
    """A file whose content and name agree belongs, under our own name and under the bare one."""
    session_id = f"{channel}_{chat_id}"
    assert all(belongs(name, session_id, channel, chat_id) for name in file_names(session_id))


@pytest.mark.parametrize(
    ("name", "session_id", "channel", "chat_id"),
    [
        ("web_2.json", "web_1", "web", "1"),
        ("web_1.json", "web_1", "web", "2"),
        ("web_1.json", "web_1", "mail", "1"),
        ("web_1.json", "web_2", "web", "1"),
        ("web_1.json.json", "web_1", "web", "1"),
        ("web_1", "web_1", "web", "1"),
        ("WEB_1.json", "web_1", "web", "1"),
        ("Web_1.json", "Web_1", "Web", "1"),
        ("a_b_c.json", "a_b_c", "a_b", "c"),
        ("_1.json", "_1", "", "1"),
        ("web_.json", "web_", "web", ""),
        ("web_a/b.json", "web_a/b", "web", "a/b"),
        ("web_alice.json", "web_Alice", "web", "Alice"),
    ],
)
def test_belongs_refuses_what_does_not_agree(name: str, session_id: str, channel: str, chat_id: str) -> None:
    """Ids that contradict one another or the file's name, and ids of no session, do not belong."""
    assert not belongs(name, session_id, channel, chat_id)


@given(st.text("aA1_-é", max_size=4), st.text("aA1_%~/.\0é@ ", max_size=6) | st.just("b" * 250), st.booleans())
def test_belongs_says_what_the_names_of_the_id_say(channel: str, chat_id: str, is_bare: bool) -> None:
    """The quick way for the usual file is only quicker."""
    session_id = f"{channel}_{chat_id}"
    try:
        known = file_names(session_id)
    except InvalidSessionIdError:
        known = ()
    name = session_id + ".json" if is_bare or not known else known[0]
    assert belongs(name, session_id, channel, chat_id) == ("_" not in channel and name in known)


@pytest.mark.parametrize(
    ("name", "claims"),
    [("web_1.json", True), (".web_1.json", False), ("web_1.json.tmp", False), (".lock", False), ("web_1.JSON", False)],
)
def test_is_session_file_looks_at_suffix_and_dot(name: str, claims: bool) -> None:
    """Only a visible name that ends in .json claims to be a session."""
    assert is_session_file(name) == claims


@pytest.mark.parametrize(
    "session_id", ["web_1", "slack_U2", "web_a b", "web_~", "web_%41", "web_é", "web_e\u0301", "web_U~1%"]
)
def test_ids_of_a_name_are_those_of_the_sessions_that_may_have_it(session_id: str) -> None:
    """Each session is found by each of its names, and by no other name."""
    for name in file_names(session_id):
        assert session_id in ids_of(name)
        assert all(name in file_names(each) for each in ids_of(name))
    assert session_id not in ids_of("web_2.json")


@pytest.mark.parametrize("name", ["notes.txt", "\udcff.json", ".json", "Web_1.json", file_name("web_" + "x" * 300)])
def test_ids_of_a_name_of_no_session_or_of_a_cut_one_are_none(name: str) -> None:
    """A name that does not show the whole id names no session."""
    assert ids_of(name) == []

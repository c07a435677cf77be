"""``/api/v1/sessions``: listed page by page, shown as memory has them, deleted and pinned."""

from __future__ import annotations

import errno
from urllib.parse import quote

import pytest

from tests.admin.api.conftest import Office
from tests.fakes.journalled import crashed
from tests.fakes.logs import LogRecorder

NOT_SAVED = "Session could not be saved; it stays in memory for the next try"

ODD = ["web_a/pin", "web_../../x", "web_a%2Fb", "web_Ünï 😀", "web_\x1b[31m", "web_?q=1#x", "web_.."]


async def ids(office: Office, **query: object) -> list[str]:
    page = (await office.api.get("/sessions", **query)).json
    assert page["next"] is None
    return [row["session_id"] for row in page["sessions"]]


async def test_list_tells_what_the_command_tells_and_what_is_unreadable(office: Office) -> None:
    """Each session with the verdict on it, the most recently used first, and how many files are none."""
    size = office.add("web_new", days=1).stat().st_size
    office.add("telegram_old", days=31)
    (office.sessions_dir / "web_bad.json").write_text("{")
    (office.sessions_dir / "web_new (1).json").write_text("{")
    (office.sessions_dir / "notes.txt").write_text("mine")
    page = (await office.api.get("/sessions")).json
    assert (page["next"], page["unreadable"], page["conflicts"]) == (None, 1, 1)
    assert [(row["session_id"], row["reason"], row["removes"]) for row in page["sessions"]] == [
        ("web_new", "within_ttl", False),
        ("telegram_old", "ttl", True),
    ]
    assert page["sessions"][0] == {
        "session_id": "web_new", "channel": "web", "chat_id": "new", "bytes": size, "file": "web_new.json",
        "last_accessed": office.clock.ago(days=1).isoformat().replace("+00:00", "Z"), "age_days": 1.0,
        "pinned": False, "expired": False, "removes": False, "reason": "within_ttl",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"channel": "telegram"}, ["telegram_d"]),
        ({"older_than": "5d"}, ["web_c", "telegram_d"]),
        ({"state": "expired"}, ["telegram_d"]),
        ({"state": "going"}, ["telegram_d"]),
        ({"state": "pinned"}, ["web_b"]),
        ({"state": "future"}, ["web_a"]),
        ({"state": "kept", "channel": "web"}, ["web_a", "web_b", "web_c"]),
        ({"sort": "age"}, ["telegram_d", "web_c", "web_b", "web_a"]),
        ({"sort": "name"}, ["telegram_d", "web_a", "web_b", "web_c"]),
        ({"sort": "size"}, ["web_c", "telegram_d", "web_b", "web_a"]),
        ({"limit": "4"}, ["web_a", "web_b", "web_c", "telegram_d"]),
    ],
    ids=str,
)
async def test_list_chooses_and_orders(office: Office, query: dict[str, str], expected: list[str]) -> None:
    """Each parameter by itself; together they all have to hold."""
    office.add("web_a", days=-3)
    office.add("web_b", days=4, pinned=True)
    office.add("web_c", days=6, note="x" * 500)
    office.add("telegram_d", days=40, note="x" * 99)
    assert await ids(office, **query) == expected


@pytest.mark.parametrize("sort", ["recent", "age", "size", "name"])
async def test_pages_have_each_session_that_stays_once_while_others_come_and_go(office: Office, sort: str) -> None:
    """A cursor says where the last page ended, not how many rows it had."""
    for number in range(9):
        office.add(f"web_{number}", days=number, note="x" * (number % 3))
    seen: list[str] = []
    page = (await office.api.get("/sessions", sort=sort, limit=2)).json
    for step in range(20):
        seen += [row["session_id"] for row in page["sessions"]]
        assert len(page["sessions"]) <= 2
        if page["next"] is None:
            break
        if step == 0:
            (office.sessions_dir / f"{seen[-1]}.json").unlink()  # where the cursor points to
        office.add(f"web_new{step}", days=step + 0.5, note="x")
        page = (await office.api.get("/sessions", sort=sort, limit=2, cursor=page["next"])).json
    assert page["next"] is None
    assert len(seen) == len(set(seen))
    assert {f"web_{number}" for number in range(9)} <= set(seen)


async def test_list_sees_what_was_in_memory_only(office: Office) -> None:
    """Who looks sees the present: it is made durable first."""
    office.add("web_a", days=3)
    await office.say("web", "b", "hello")
    assert await ids(office) == ["web_b", "web_a"]
    assert office.manager._memory.unsaved() == []


async def test_list_without_a_save_shows_the_disk(office: Office, logs: LogRecorder) -> None:
    """A full disk is an ERROR in the log, and nobody's look fails for it."""
    office.add("web_a", days=3)
    await office.say("web", "b", "hello")
    logs.expect_error(NOT_SAVED)
    logs.expect_error("Journal could not be written; sessions are saved as a whole")
    office.fs.fail("write", errno.ENOSPC)
    assert await ids(office) == ["web_a"]
    office.fs.clear()


async def test_list_before_the_first_session_is_empty(office: Office) -> None:
    """Nothing is no error."""
    assert (await office.api.get("/sessions")).json == {"sessions": [], "next": None, "unreadable": 0, "conflicts": 0}


async def test_show_is_the_session_as_memory_has_it_and_no_access(office: Office, logs: LogRecorder) -> None:
    """What was said and cannot be saved is shown as well; showing touches nothing."""
    office.add("web_a", days=3, unknown={"kept": True})
    on_disk = (await office.api.get("/sessions/web_a")).json
    assert (on_disk["unknown"], len(on_disk["messages"])) == ({"kept": True}, 1)
    assert office.manager.live_sessions() == 0
    session_id = await office.say("web", "a", "unsaved")
    office.clock.move(seconds=60)
    shown = (await office.api.get(f"/sessions/{session_id}")).json
    assert [message["content"] for message in shown["messages"]] == ["hello from a", "unsaved"]
    assert shown["last_accessed"] == office.clock.ago(seconds=60).isoformat().replace("+00:00", "Z")
    assert office.manager.dirty_sessions() == [session_id]


@pytest.mark.parametrize("session_id", ODD, ids=ascii)
async def test_odd_ids_are_ids_and_no_paths(office: Office, session_id: str) -> None:
    """Whatever a chat is called: it is shown, pinned and deleted by its own name, and nothing else is."""
    office.add(session_id, days=1)
    office.add("web_a", days=1)
    path = f"/sessions/{quote(session_id, safe='')}"
    assert (await office.api.get(path)).json["session_id"] == session_id
    assert (await office.api.ask("PUT", f"{path}/pin")).json == {
        "session_id": session_id, "pinned": True, "changed": True,
    }  # fmt: skip
    assert await ids(office, state="pinned") == [session_id]
    assert (await office.api.ask("DELETE", path)).json["session_id"] == session_id
    assert office.left() == {"web_a.json"}


async def test_names_of_strangers_are_escaped_and_mean_the_same(office: Office) -> None:
    """What curl prints commands no terminal, and what a program parses is the id as it is; a problem likewise."""
    hostile = "web_\u009b31m\x7f\u202e\u2028\u200b\U000e0041"
    office.add(hostile, days=1)
    listed = await office.api.get("/sessions")
    assert listed.json["sessions"][0]["session_id"] == hostile
    refused = await office.api.get("/sessions", channel=hostile, state="\u009bno")
    refused.refused(400)
    for answer in (listed, refused):
        assert answer.body.decode().isprintable()


async def test_delete_is_told_with_the_entry_that_brings_it_back(office: Office) -> None:
    """Moved to the trash; a second time there is nothing to delete."""
    office.add("web_a", days=1)
    done = (await office.api.ask("DELETE", "/sessions/web_a")).json
    assert (done["session_id"], done["error"]) == ("web_a", None)
    assert office.left() == set()
    problem = (await office.api.ask("DELETE", "/sessions/web_a")).refused(404)
    assert (problem["error"], problem["detail"]) == ("SessionNotFoundError", "no session 'web_a'")
    assert (await office.api.post(f"/trash/{done['trash_entry']}/restore")).json == {"session_id": "web_a"}
    assert office.left() == {"web_a.json"}


async def test_delete_with_erase_leaves_nothing_in_the_trash(office: Office) -> None:
    """For a person who asks for it: gone for good, out of the trash as well."""
    office.add("web_a", days=1)
    await office.api.ask("DELETE", "/sessions/web_a")
    office.add("web_a", days=1)
    assert (await office.api.ask("DELETE", "/sessions/web_a?erase=true")).json["trash_entry"] is None
    assert (await office.api.get("/trash")).json["entries"] == []
    assert [event["event"] for event in (await office.api.get("/history")).json["events"]] == ["deleted", "erased"]


async def test_delete_with_erase_names_the_files_that_remain(office: Office) -> None:
    """The answer names each file that holds messages of the session, or may hold some, and is left."""
    path = office.add("web_a", days=1)
    for name in ("web_a.json.1", "web_a (1).json"):
        path.with_name(name).write_bytes(path.read_bytes())
    done = (await office.api.ask("DELETE", "/sessions/web_a?erase=true")).json
    assert {(row["file"], row["kind"]) for row in done["remaining"]} == {
        ("web_a.json.1", "foreign"), ("web_a (1).json", "conflict"),
    }  # fmt: skip


async def test_delete_of_several_tells_of_each(office: Office) -> None:
    """One that is not there, one that cannot be read and one that is no id hinder no other; it is one receipt."""
    office.add("web_a", days=1)
    office.add("web_b", days=2)
    (office.sessions_dir / "web_bad.json").write_text("{")
    wanted = ["web_a", "web_none", "web_bad", "nonsense", "web_b", "web_a"]
    done = (await office.api.post("/sessions/delete", {"session_ids": wanted})).json
    assert [(row["session_id"], row["error"] and row["error"]["error"]) for row in done["sessions"]] == [
        ("web_a", None),
        ("web_none", "SessionNotFoundError"),
        ("web_bad", "CorruptSessionError"),
        ("nonsense", "InvalidSessionIdError"),
        ("web_b", None),
    ]
    assert done["bytes_freed"] == sum(row["bytes_freed"] for row in done["sessions"])
    assert office.left() == {"web_bad.json"}
    (event,) = (await office.api.get("/history")).json["events"]
    assert [row["session_id"] for row in event["sessions"]] == ["web_a", "web_b"]


async def test_pin_is_on_the_disk_when_it_is_told(office: Office) -> None:
    """Who is told that it is pinned may cut the power."""
    path = office.add("web_a", days=1)
    for method, pinned, changed in [("PUT", True, True), ("PUT", True, False), ("DELETE", False, True)]:
        told = (await office.api.ask(method, "/sessions/web_a/pin")).json
        assert told == {"session_id": "web_a", "pinned": pinned, "changed": changed}
        assert (b'"pinned":true' in path.read_bytes()) == pinned
    assert (await office.api.ask("PUT", "/sessions/web_b/pin")).refused(404)["error"] == "SessionNotFoundError"


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
@pytest.mark.parametrize(("method", "path"), [("PUT", "/pin"), ("DELETE", "/pin")])
async def test_disk_that_refuses_is_503(office: Office, method: str, path: str, number: int) -> None:
    """What the disk does to a request is told by the file, and not as if the session were not there."""
    office.add("web_a", days=1)
    office.fs.fail("open", number, path="web_a.json")
    problem = (await office.api.ask(method, f"/sessions/web_a{path}")).refused(503)
    assert problem["error"] == "StoreIOError"
    assert "web_a.json" in problem["detail"]
    office.fs.clear()


async def test_damaged_session_is_409_and_stays(office: Office) -> None:
    """Never deleted, never shown as what it is not."""
    path = office.add("web_a", days=1)
    path.write_text("{")
    for method in ("GET", "DELETE"):
        assert (await office.api.ask(method, "/sessions/web_a")).refused(409)["error"] == "CorruptSessionError"
    assert path.read_text() == "{"


async def test_session_is_shown_and_listed_as_it_was_confirmed(office: Office) -> None:
    """A save that does not get done leaves its messages in the journal; who asks the gateway sees them."""
    crashed(office.sessions_dir, at=office.clock.now, begun=office.clock.ago(days=40))
    shown = (await office.api.get("/sessions/web_a")).json
    assert [message["content"] for message in shown["messages"]] == ["one", "two"]
    (row,) = (await office.api.get("/sessions")).json["sessions"]
    assert (row["age_days"], row["expired"]) == (0, False)


async def test_move_gives_a_session_another_id(office: Office) -> None:
    """What is not saved of it moves along; it is on the disk when that is told, with a receipt."""
    await office.say("web", "a/b", "unsaved")
    told = (await office.api.post("/sessions/web_a%2Fb/move", {"to": "telegram_1"})).json
    assert told == {"session_id": "web_a/b", "to": "telegram_1"}
    assert office.left() == {"telegram_1.json"}
    shown = (await office.api.get("/sessions/telegram_1")).json
    assert [message["content"] for message in shown["messages"]] == ["unsaved"]
    assert (await office.api.get("/sessions/web_a%2Fb")).refused(404)["error"] == "SessionNotFoundError"
    (event,) = (await office.api.get("/history")).json["events"]
    assert (event["event"], event["by"], event["because"]) == ("moved", "command", "moved to telegram_1")


async def test_move_that_cannot_be_is_refused_by_its_reason(office: Office) -> None:
    """What is not there, what is in the way, what is in use, and what is no id; nothing is changed by any."""
    office.add("web_a", days=1)
    office.add("web_b", days=1)
    for path, to, status, error in (
        ("web_none", "web_c", 404, "SessionNotFoundError"),
        ("web_a", "web_b", 409, "SessionExistsError"),
        ("web_a", "web_a", 400, "InvalidSessionIdError"),
        ("web_a", "nonsense", 400, "InvalidSessionIdError"),
    ):
        refused = (await office.api.post(f"/sessions/{path}/move", {"to": to})).refused(status)
        assert refused["error"] == error
    async with office.manager.using("web_a"):
        refused = (await office.api.post("/sessions/web_a/move", {"to": "web_c"})).refused(409)
    assert refused["error"] == "SessionInUseError"
    assert "try again" in refused["detail"]
    assert (await office.api.post("/sessions/web_a/move", {})).refused(422)["field"] == "to"
    assert office.left() == {"web_a.json", "web_b.json"}
    assert (await office.api.get("/history")).json["events"] == []


async def test_move_by_a_stranger_is_told_as_the_apis(office: Office) -> None:
    """Who comes with the token to the address is named so."""
    office.add("web_a", days=1)
    assert (await office.stranger.post("/sessions/web_a/move", {"to": "web_b"})).json["to"] == "web_b"
    (event,) = (await office.api.get("/history")).json["events"]
    assert event["by"] == "api"

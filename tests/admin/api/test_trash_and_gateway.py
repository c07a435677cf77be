"""``/api/v1/trash``, ``/save``, ``/status`` and ``/config``."""

from __future__ import annotations

import errno
from typing import Any

import msgspec
import pytest

from miniclaw.config import Config, SessionConfig
from miniclaw.config.model import ModelConfig
from miniclaw.workspace.status import look
from miniclaw.workspace.status_json import shown_workspace
from miniclaw.workspace.workspace import Workspace
from tests.admin.api.conftest import Office
from tests.fakes.logs import LogRecorder

NOT_SAVED = "Session could not be saved; it stays in memory for the next try"


async def trashed(office: Office, *session_ids: str) -> list[str]:
    """Delete sessions, one a minute, and return the entries of the trash."""
    entries = []
    for session_id in session_ids:
        office.clock.move(minutes=1)
        office.add(session_id, days=1)
        entries.append((await office.api.ask("DELETE", f"/sessions/{session_id}")).json["trash_entry"])
    return entries


# The trash -----------------------------------------------------------------------------------------------------


async def test_trash_is_listed_page_by_page_the_newest_first(office: Office) -> None:
    """All of it, each entry once."""
    entries = await trashed(office, "web_a", "web_b", "web_c")
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    for _ in range(5):
        page = (await office.api.get("/trash", limit=1, **cursor)).json
        seen += [entry["id"] for entry in page["entries"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == entries[::-1]


async def test_restore_by_entry_or_by_session_and_never_over_one(office: Office) -> None:
    """What is there is never overwritten; what is not in the trash cannot come back."""
    (entry,) = await trashed(office, "web_a")
    assert (await office.api.post("/trash/web_a/restore")).json == {"session_id": "web_a"}
    assert (await office.api.post(f"/trash/{entry}/restore")).refused(404)["error"] == "TrashEntryNotFoundError"
    await trashed(office, "web_b")
    office.add("web_b", days=1)
    assert (await office.api.post("/trash/web_b/restore")).refused(409)["error"] == "SessionExistsError"


async def test_empty_removes_those_entries_and_no_others(office: Office) -> None:
    """Each is told for itself; one that is not there is no error."""
    first, second = await trashed(office, "web_a", "web_b")
    told = (await office.api.post("/trash/empty", {"entries": [first, "web_none.20260101T000000Z-00000000"]})).json
    assert [row["outcome"] for row in told["entries"]] == ["removed", "vanished"]
    assert told["bytes_freed"] == told["entries"][0]["bytes_freed"] > 0
    assert [entry["id"] for entry in (await office.api.get("/trash")).json["entries"]] == [second]


async def test_empty_takes_no_name_for_a_path(office: Office) -> None:
    """An entry is a name in the trash, whatever it looks like."""
    office.add("web_a", days=1)
    for name in ("../sessions/web_a", "/etc/passwd", ""):
        told = (await office.api.post("/trash/empty", {"entries": [name]})).json
        assert [row["outcome"] for row in told["entries"]] == ["vanished"]
        assert (await office.api.post(f"/trash/{name.replace('/', '%2F') or '%20'}/restore")).refused(404)
    assert office.left() == {"web_a.json"}


# Saving, status, configuration ---------------------------------------------------------------------------------


async def test_save_puts_what_is_in_memory_on_the_disk(office: Office) -> None:
    """What counts as saved is there for everybody."""
    await office.say("web", "a", "hello")
    assert (await office.api.post("/save")).json == {"saved": 1, "failed": 0, "failed_session_ids": []}
    assert office.left() == {"web_a.json"}
    assert (await office.api.post("/save")).json["saved"] == 0


async def test_save_tells_what_could_not_be_saved(office: Office, logs: LogRecorder) -> None:
    """It stays in memory, and who asked knows."""
    await office.say("web", "a", "hello")
    logs.expect_error(NOT_SAVED)
    office.fs.fail("write", errno.ENOSPC)
    assert (await office.api.post("/save")).json == {"saved": 0, "failed": 1, "failed_session_ids": ["web_a"]}
    office.fs.clear()
    assert (await office.api.post("/save")).json["saved"] == 1


async def test_status_is_what_the_command_tells_and_how_the_gateway_is(office: Office) -> None:
    """Over the files it is the same; besides, what only the gateway knows."""
    office.add("web_old", days=40)
    await office.say("web", "a", "hello")
    office.clock.move(minutes=5)
    told = (await office.api.get("/status")).json
    gateway = told.pop("gateway")
    context = office.context
    with Workspace(context.home, lambda: context.config, context.runtime.time.moment()) as workspace:
        expected = msgspec.json.decode(msgspec.json.encode(shown_workspace(workspace, look(workspace))))
    assert told.pop("free_disk") > 0  # others write to the disk, too
    del expected["free_disk"]
    assert told == expected
    assert (told["sessions"]["readable"], told["would_remove"]["sessions"]) == (2, 1)
    assert (gateway["saved"], gateway["sessions_live"], gateway["sessions_dirty"]) == (0, 1, 1)
    assert gateway["now"] == office.clock().isoformat().replace("+00:00", "Z")
    assert gateway["pid"] == told["held_by"]["pid"]
    assert (await office.api.get("/gateway")).json.keys() == gateway.keys()


@pytest.mark.parametrize(
    "config",
    [
        Config(
            session=SessionConfig(),
            model=ModelConfig(provider="openai", base_url="http://localhost/v1", model="m", api_key_env="SECRET_KEY"),
        )
    ],
    ids=["with a key"],
)
async def test_config_is_as_its_file_would_say_it_and_has_no_secret(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says where a key lies, and never what it is."""
    monkeypatch.setenv("SECRET_KEY", "sk-very-secret")
    answer = await office.api.get("/config")
    assert answer.json["config"]["session"]["ttl"] == "30d"
    assert answer.json["config"]["model"]["api_key_env"] == "SECRET_KEY"
    for path in ("/config", "/status"):
        assert b"sk-very-secret" not in (await office.api.get(path)).body

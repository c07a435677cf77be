"""``/api/v1/quarantine``."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.admin.api.conftest import Office
from tests.fakes.samples import session_dict


def lay(office: Office, name: str, content: str | bytes = "{", *, days: float = 0, number: int = 0) -> str:
    folder = office.sessions_dir / ".quarantine"
    folder.mkdir(exist_ok=True, mode=0o700)
    file_id = f"{name}.{office.clock.ago(days=days):%Y%m%dT%H%M%SZ}-{number:08x}"
    (folder / file_id).write_bytes(content.encode() if isinstance(content, str) else content)
    return file_id


def session(office: Office, session_id: str, **fields: Any) -> str:
    return json.dumps(session_dict(session_id, office.clock.ago(days=1), **fields))


async def test_quarantine_is_listed_page_by_page_the_newest_first(office: Office) -> None:
    """All of it, each file once, with what is in it and when it goes."""
    old, young = lay(office, "web_1.json", days=80), lay(office, "x.json", session(office, "web_2"), days=1)
    pinned = lay(office, "y.json", session(office, "web_3", pinned=True), days=2)
    seen: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    for _ in range(5):
        page = (await office.api.get("/quarantine", limit=1, **cursor)).json
        seen += page["files"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert [file["id"] for file in seen] == [young, pinned, old]
    assert [file["session_id"] for file in seen] == ["web_2", "web_3", None]
    assert [bool(file["problem"]) for file in seen] == [False, False, True]
    assert [file["goes_at"] is None for file in seen] == [False, True, False]
    assert seen[2]["file"] == "web_1.json"


async def test_quarantine_says_when_a_place_is_taken(office: Office) -> None:
    """A session that could be used cannot be restored over another."""
    office.add("web_1")
    lay(office, "web_1.json", session(office, "web_1"))
    (file,) = (await office.api.get("/quarantine")).json["files"]
    assert file["problem"] == "there is a file in its place, web_1.json"


async def test_restore_by_whatever_means_one_file(office: Office) -> None:
    """It is in its place, once; what is not there, not clear, damaged or in the way is refused."""
    lay(office, "x.json", session(office, "web_1"), number=1)
    assert (await office.api.post("/quarantine/00000001/restore")).json == {"session_id": "web_1"}
    assert office.left() == {"web_1.json"}
    assert (await office.api.post("/quarantine/00000001/restore")).refused(404)[
        "error"
    ] == "QuarantinedFileNotFoundError"
    lay(office, "x.json", session(office, "web_1"), number=2)
    assert (await office.api.post("/quarantine/x.json/restore")).refused(409)["error"] == "SessionExistsError"
    lay(office, "x.json", number=3)
    assert (await office.api.post("/quarantine/x.json/restore")).refused(409)["error"] == "AmbiguousQuarantineIdError"
    assert (await office.api.post("/quarantine/00000003/restore")).refused(409)["error"] == "CorruptSessionError"


async def test_delete_and_add_tell_of_each_file(office: Office) -> None:
    """What is refused is told with the others that are done; the trash gives back what went there."""
    (office.sessions_dir / "web_1.json").write_text("{")
    office.add("web_2")
    added = (await office.api.post("/quarantine/add", {"files": ["web_1.json", "web_2.json", "../x"]})).json["files"]
    assert [file["error"] and file["error"]["error"] for file in added] == [
        None,
        "NotQuarantinedError",
        "NotQuarantinedError",
    ]
    file_id = added[0]["id"]
    done = (await office.api.post("/quarantine/delete", {"files": [file_id, "web_9", file_id]})).json["files"]
    assert [file["name"] for file in done] == [file_id, "web_9"]
    assert [file["error"] is None for file in done] == [True, False]
    (entry,) = (await office.api.get("/trash")).json["entries"]
    assert (entry["id"], entry["from_quarantine"], entry["session_id"]) == (done[0]["trash_entry"], True, None)
    back = (await office.api.post(f"/trash/{entry['id']}/restore")).json
    assert back["session_id"] is None
    (file,) = (await office.api.get("/quarantine")).json["files"]
    assert file["id"] == back["file_id"]
    assert (await office.api.post("/quarantine/delete", {"files": [file["id"]], "erase": True})).json["files"][0][
        "trash_entry"
    ] is None
    assert (await office.api.get("/trash")).json["entries"] == []


async def test_history_says_who_asked(office: Office) -> None:
    """Over the address it is the API, over the socket a command."""
    lay(office, "web_1.json", number=1)
    lay(office, "web_2.json", number=2)
    await office.stranger.post("/quarantine/delete", {"files": ["00000001"]})
    await office.api.post("/quarantine/delete", {"files": ["00000002"]})
    events = (await office.api.get("/history")).json["events"]
    assert [event["by"] for event in events] == ["api", "command"]


async def test_content_is_text_that_is_safe_to_show(office: Office) -> None:
    """Controls and what is no UTF-8 are escaped; of a large file there is the beginning."""
    lay(office, "web_1.json", b"\x1b[31mred\n\xff\0\xe2\x80\xae")
    told = (await office.api.get("/quarantine/web_1")).json
    assert told["text"] == "\\x1b[31mred\n\\xff\\x00\\u202e"
    assert (told["bytes"], told["omitted"]) == (14, 0)
    lay(office, "web_2.json", b"x" * 2**21)
    told = (await office.api.get("/quarantine/web_2")).json
    assert (len(told["text"]), told["omitted"]) == (2**20, 2**20)
    assert (await office.api.get("/quarantine/web_9")).refused(404)


@pytest.mark.parametrize("name", ["..%2Fweb_1.json", "%00", "%20", "x" * 1000])
async def test_file_is_a_name_and_no_path(office: Office, name: str) -> None:
    """Whatever it looks like."""
    office.add("web_1")
    lay(office, "web_2.json")
    assert (await office.api.get(f"/quarantine/{name}")).refused(404)
    assert (await office.api.post(f"/quarantine/{name}/restore")).refused(404)
    assert office.left() == {"web_1.json"}


async def test_status_and_metrics_count_the_quarantine(office: Office) -> None:
    """How many files, and their bytes."""
    lay(office, "web_1.json", "12345")
    assert (await office.api.get("/status")).json["quarantine"] == {"files": 1, "bytes": 5}
    usage = await office.context.runtime.usage.measure()
    assert usage.quarantine is not None
    assert (usage.quarantine.files, usage.quarantine.bytes) == (1, 5)


async def test_goes_at_is_the_time_at_which_the_file_goes(office: Office) -> None:
    """As a plan of that moment says."""
    lay(office, "web_1.json", days=80)
    (file,) = (await office.api.get("/quarantine")).json["files"]
    goes_in = datetime.fromisoformat(file["goes_at"]) - office.clock.now
    assert timedelta(days=10) <= goes_in <= timedelta(days=11)
    office.clock.move(days=9)
    plan = (await office.api.get("/cleanup/plan")).json
    assert plan["leftovers"] == []
    office.clock.move(days=2)
    plan = (await office.api.get("/cleanup/plan")).json
    assert [row["reason"] for row in plan["leftovers"]] == ["quarantine_expired"]

"""``/api/v1/cleanup`` and ``/api/v1/history``: planned, run, held, stopped, and told by whom."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import pytest
import trio

from miniclaw.config import Config, SessionConfig
from miniclaw.session.executor import REMOVAL_BATCH
from miniclaw.workspace.plan import look_ahead
from miniclaw.workspace.plan_json import shown_plan
from miniclaw.workspace.workspace import Workspace
from tests.admin.api.conftest import Office
from tests.fakes.api import Answer
from tests.fakes.threads import wait_in_thread


async def kept(into: list[Answer], ask: Any) -> None:
    """Ask, and keep the answer."""
    into.append(await ask())


async def test_plan_is_what_the_dry_run_tells(office: Office) -> None:
    """One plan, two ways to it; nothing is changed."""
    for days in (1, 31, 40):
        office.add(f"web_{days}", days=days)
    (office.sessions_dir / "web_bad.json").write_text("{")
    told = (await office.api.get("/cleanup/plan")).json
    lists = ("sessions", "due_sessions", "due_files", "leftovers", "future", "problems")
    assert told.pop("omitted") == dict.fromkeys(lists, 0)
    context = office.context
    with Workspace(context.home, lambda: context.config, context.runtime.time.moment()) as workspace:
        expected = shown_plan(look_ahead(workspace))
    assert told == msgspec.to_builtins(expected) | {"now": office.clock().isoformat().replace("+00:00", "Z")}
    assert [row["session_id"] for row in told["sessions"]] == ["web_31", "web_40"] or told["remove"]["sessions"] == 2
    assert office.left() == {"web_1.json", "web_31.json", "web_40.json", "web_bad.json"}


@pytest.mark.parametrize(
    ("path", "removed"),
    [
        ("/cleanup/plan", lambda told: told["remove"]["sessions"]),
        ("/status", lambda told: told["would_remove"]["sessions"]),
        ("/sessions", lambda told: sum(row["removes"] for row in told["sessions"])),
        ("/cleanup/forecast", lambda told: told["days"][1]["sessions"]),
    ],
    ids=["plan", "status", "sessions", "forecast"],
)
async def test_answer_goes_by_the_rules_of_when_it_was_asked_for(
    office: Office, monkeypatch: pytest.MonkeyPatch, path: str, removed: Callable[[Any], int]
) -> None:
    """A reload that comes meanwhile holds for the next question: no answer is made by two sets of rules."""
    office.add("web_10", days=10)
    save = office.context.runtime.manager.saver.commit_all

    async def save_and_reload() -> None:
        await save()
        office.context.in_force.config = Config(session=SessionConfig(ttl=timedelta(days=7)))

    monkeypatch.setattr(office.context.runtime.manager.saver, "commit_all", save_and_reload)
    assert [removed((await office.api.get(path)).json) for _ in range(2)] == [0, 1]


async def test_plan_is_cut_and_says_how_much_is_left_out(office: Office) -> None:
    """An answer is bounded; the counts are of all."""
    for days in (31, 32, 33):
        office.add(f"web_{days}", days=days)
    told = (await office.api.get("/cleanup/plan", limit=1)).json
    assert (len(told["sessions"]), told["omitted"]["sessions"], told["remove"]["sessions"]) == (1, 2, 3)
    assert (len(told["due_sessions"]), told["omitted"]["due_sessions"], told["due"]["sessions"]) == (1, 2, 3)


async def test_plan_tells_what_is_due_in_the_order_in_which_it_goes(office: Office) -> None:
    """What expires within a week, what has expired, and nothing that is younger or pinned."""
    for days in (22, 25, 29, 31):
        office.add(f"web_{days}", days=days)
    office.add("web_pinned", days=31, pinned=True)
    told = (await office.api.get("/cleanup/plan")).json
    rows = told["due_sessions"]
    assert [row["session_id"] for row in rows] == ["web_31", "web_29", "web_25"]
    assert [row["age_days"] for row in rows] == [31, 29, 25]
    assert {(row["reason"], row["announced"]) for row in rows} == {("ttl", False)}
    first = office.clock()  # no run is known: the next one is due, and announces
    goes_at = [datetime.fromisoformat(row["goes_at"]) - first for row in rows]
    assert goes_at == [timedelta(days=1), timedelta(days=1), timedelta(days=5)]
    assert told["due"] == {"sessions": 3, "bytes": sum(row["bytes"] for row in rows)}


async def test_run_removes_what_the_rules_say_at_once_and_puts_off_no_daily_run(office: Office) -> None:
    """Who orders a run waits for no announcement; the daily cleanup goes on announcing at its times."""
    office.add("web_old", days=31)
    office.add("web_due", days=25)
    office.add("web_new", days=1)
    result = (await office.api.post("/cleanup/run", {"confirmed": False})).json
    assert (result["sessions_scanned"], result["sessions_deleted"], result["trashed"]) == (3, 1, 1)
    assert (result["held"], result["interrupted"], result["announced"], result["due"]) == ("", False, 0, 0)
    assert office.left() == {"web_due.json", "web_new.json"}
    assert office.context.runtime.time.moment().last_run is None
    assert len(office.context.runtime.time.moment().due) == 0


async def test_run_that_is_held_says_so_and_confirmed_lets_it_through(office: Office) -> None:
    """What the guard holds removes nothing, and that is an answer and no error."""
    for days in range(21, 51):
        office.add(f"web_{days}", days=days)
    held = (await office.api.post("/cleanup/run", {})).json
    assert held["held"].startswith("it would remove 20 of 30 sessions")
    assert held["sessions_deleted"] == 0
    assert (await office.api.post("/cleanup/run", {"confirmed": True})).json["sessions_deleted"] == 20
    assert [event["event"] for event in (await office.api.get("/history")).json["events"]] == ["held", "cleanup"]


async def test_second_run_at_once_follows_the_first(office: Office) -> None:
    """Two never go at once: the second one waits; a session deleted meanwhile is gone once."""
    office.add("web_old", days=31)
    office.add("web_new", days=1)
    gate = office.fs.block("unlink", path="web_old.json")
    answers: list[Answer] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept, answers, partial(office.api.post, "/cleanup/run", {}))
        await wait_in_thread(gate.reached)
        nursery.start_soon(kept, answers, partial(office.api.post, "/cleanup/run", {}))
        assert (await office.api.ask("DELETE", "/sessions/web_new")).status == 200
        assert answers == []
        gate.opened.set()
    assert [answer.json["sessions_deleted"] for answer in answers] == [1, 0]
    assert office.left() == set()
    assert sorted(event["event"] for event in (await office.api.get("/history")).json["events"]) == [
        "cleanup", "cleanup", "deleted",
    ]  # fmt: skip


async def test_stop_ends_a_run_after_its_batch_and_touches_no_later_one(office: Office) -> None:
    """Stopping is of the run that is going; where there is none it does nothing, and never to the next one."""
    assert (await office.api.post("/cleanup/stop")).json == {"stopping": False}
    count = 2 * REMOVAL_BATCH
    for number in range(count):
        office.add(f"web_{number}", days=31)
    gate = office.fs.block("unlink", path="web_")
    first: list[Answer] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept, first, partial(office.api.post, "/cleanup/run", {"confirmed": True}))
        await wait_in_thread(gate.reached)
        assert (await office.api.post("/cleanup/stop")).json == {"stopping": True}
        gate.opened.set()
    result = first[0].json
    assert result["interrupted"]
    assert 0 < result["sessions_deleted"] < count
    assert (await office.api.get("/cleanup/plan")).json["remove"]["sessions"] == count - result["sessions_deleted"]
    rest = (await office.api.post("/cleanup/run", {"confirmed": True})).json
    assert (rest["interrupted"], rest["sessions_deleted"]) == (False, count - result["sessions_deleted"])


async def test_stop_does_not_hide_sessions_from_the_next_announcement(office: Office) -> None:
    """A plan that saw nothing would announce nothing."""
    office.add("web_old", days=31)
    await office.api.post("/cleanup/stop")
    office.context.operations.stop_cleanup()
    session = office.context.config.session
    policy, moment = session.retention_policy(), office.context.runtime.time.moment()
    plan = await office.context.runtime.cleanup.plan(moment.notice(policy, session.schedule.interval, waits=True))
    assert [due.session.header.session_id for due in plan.due] == ["web_old"]
    assert plan.removals == []


async def test_forecast_is_day_by_day(office: Office) -> None:
    """The first row is now; each of the others is a day later."""
    office.add("web_31", days=31)
    office.add("web_29", days=28.5)
    told = (await office.api.get("/cleanup/forecast", days=3)).json
    assert [day["sessions"] for day in told["days"]] == [0, 1, 1, 0], "what nobody has announced stays for a day"
    assert told["sessions_now"] == 2
    assert told["due"] == {"sessions": 2, "bytes": told["bytes_now"]}


async def test_history_tells_commands_from_clients_of_the_api(office: Office) -> None:
    """Over the socket it is a command, over the address it is the API; in the trash as well."""
    for session_id in ("web_a", "web_b"):
        office.add(session_id, days=1)
    await office.api.ask("DELETE", "/sessions/web_a")
    await office.stranger.ask("DELETE", "/sessions/web_b")
    office.add("web_old", days=31)
    await office.stranger.post("/cleanup/run", {})
    told = (await office.api.get("/history", limit=2)).json
    assert [(event["event"], event["by"]) for event in told["events"]] == [("deleted", "api"), ("cleanup", "api")]
    assert (await office.api.get("/history")).json["events"][0]["by"] == "command"
    entries = (await office.api.get("/trash")).json["entries"]
    assert {entry["session_id"]: entry["by"] for entry in entries} == {
        "web_a": "command", "web_b": "api", "web_old": "api",
    }  # fmt: skip


async def test_history_counts_what_cannot_be_read(office: Office) -> None:
    """A damaged line is no reason not to tell the others."""
    office.add("web_a", days=1)
    await office.api.ask("DELETE", "/sessions/web_a")
    with (office.context.home.sessions_dir / ".state" / "history.jsonl").open("ab") as file:
        file.write(b"{\n")
    told = (await office.api.get("/history")).json
    assert (len(told["events"]), told["damaged"]) == (1, 1)


@pytest.fixture
def config(request: pytest.FixtureRequest, config: Config) -> Config:
    """Without a guard, where a test is about something else."""
    if "held" in request.node.name or "confirmed" in request.node.name:
        return config
    return Config(session=SessionConfig(trash_for=config.session.trash_for))

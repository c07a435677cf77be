"""Adding to quarantine what is in the way of a chat."""

from __future__ import annotations

import errno

import pytest
import trio

from miniclaw.errors import (
    MismatchedSessionError,
    NotQuarantinedError,
)
from miniclaw.session.names import file_name
from miniclaw.session.operations.quarantine import FileOutcome
from miniclaw.session.types import Message
from tests.fakes.desk import Desk
from tests.fakes.logs import LogRecorder
from tests.fakes.threads import until, wait_in_thread
from tests.session.operations.test_quarantine_operations import BEGUN_ANEW, lying, session

# Adding ---------------------------------------------------------------------------------------------------------


async def test_add_moves_what_is_in_the_way_and_is_told(desk: Desk) -> None:
    """One receipt for all; what is refused is an error of its own, and a sound session stays."""
    path = desk.store.directory.path
    (path / "web_1.json").write_text("{")
    (path / "web_2 (conflicted copy).json").write_text(session("web_2", desk.clock.now))
    done = await desk.do.quarantine.add(["web_1.json", "telegram_1.json", "../x", "web_2 (conflicted copy).json"])
    kinds = [type(each.error) for each in done]
    assert kinds == [type(None), NotQuarantinedError, NotQuarantinedError, type(None)]
    assert lying(desk) == sorted([done[0].file_id, done[3].file_id])
    assert desk.left() == ["telegram_1", "telegram_2"]
    event = desk.only()
    assert (event.event, event.leftovers["quarantined"].files) == ("quarantined", 2)
    assert event.because == f"{done[0].file_id}, {done[3].file_id}"


async def test_add_lets_a_chat_go_on_whose_place_another_ones_file_has(desk: Desk) -> None:
    """A mismatched file that is out of the way is not lost, and goes where it belongs."""
    path = desk.store.directory.path / "web_1.json"
    path.write_text(session("web_anna", desk.clock.ago(days=3)))
    with pytest.raises(MismatchedSessionError):
        await desk.manager.get_session("web_1")
    (done,) = await desk.do.quarantine.add(["web_1.json"])
    assert await desk.manager.get_or_create_session("web", "1")
    assert await desk.do.quarantine.restore(done.file_id) == "web_anna"


async def test_add_waits_for_a_load_of_the_session(desk: Desk, logs: LogRecorder) -> None:
    """A person who writes in that moment gets a session, and the damaged file is moved aside once."""
    logs.expect_error(BEGUN_ANEW)
    (desk.store.directory.path / "web_1.json").write_text("{")
    gate = desk.fs.block("rename", path="web_1.json")
    outcomes: list[FileOutcome] = []

    async def add() -> None:
        outcomes.extend(await desk.do.quarantine.add(["web_1.json"]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.manager.get_or_create_session, "web", "1")
        await wait_in_thread(gate.reached)
        nursery.start_soon(add)
        await trio.testing.wait_all_tasks_blocked()
        gate.opened.set()
    assert type(outcomes[0].error) is NotQuarantinedError
    assert len(lying(desk)) == 1


@pytest.mark.parametrize("session_id", ["web_1", "slack_U2", "web_a b", "web_" + "é" * 90])
@pytest.mark.parametrize("dirty", [True, False])
async def test_add_of_a_damaged_file_keeps_the_copy_in_memory(desk: Desk, session_id: str, dirty: bool) -> None:
    """A file that miniclaw itself moves aside is not taken for deleted: the next save writes all that memory has."""
    channel, _, chat_id = session_id.partition("_")
    held = await desk.manager.get_or_create_session(channel, chat_id)
    said = ["one", "two", "three"] if dirty else ["one", "two"]
    for text in said:
        if text == "three":
            await desk.manager.save_all_sessions()
        await desk.manager.add_message(session_id, Message("user", text, desk.clock.now))
    if not dirty:
        await desk.manager.save_all_sessions()
    path = desk.store.directory.path / file_name(session_id)
    path.write_bytes(path.read_bytes()[:50])
    (done,) = await desk.do.quarantine.add([path.name])
    assert done.error is None
    await desk.manager.add_message(session_id, Message("user", "next", desk.clock.now))
    await desk.manager.save_all_sessions()
    assert [each.content for each in desk.store.directory.load(session_id).messages] == [*said, "next"]
    assert len(lying(desk)) == 1
    del held


async def test_add_that_fails_or_is_cancelled_keeps_the_copy_in_memory(desk: Desk, logs: LogRecorder) -> None:
    """Wherever the file is afterwards, the next save writes all that memory has; a refused file changes nothing."""
    await desk.manager.get_or_create_session("web", "1")
    await desk.manager.add_message("web_1", Message("user", "one", desk.clock.now))
    await desk.manager.save_all_sessions()
    path = desk.store.directory.path / "web_1.json"
    assert type((await desk.do.quarantine.add([path.name]))[0].error) is NotQuarantinedError
    assert desk.manager.dirty_sessions() == []
    path.write_text("{")
    gate = desk.fs.block("rename", path="web_1.json")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.do.quarantine.add, [path.name])
        await wait_in_thread(gate.reached)
        nursery.cancel_scope.cancel()
    gate.opened.set()
    await until(lambda: bool(desk.manager.dirty_sessions()))
    await desk.manager.save_all_sessions()
    assert [each.content for each in desk.store.directory.load("web_1").messages] == ["one"]
    path.write_text("{")
    desk.fs.fail("fsync", errno.EIO)
    assert (await desk.do.quarantine.add([path.name]))[0].error is not None
    desk.fs.clear()
    await desk.manager.save_all_sessions()
    assert [each.content for each in desk.store.directory.load("web_1").messages] == ["one"]

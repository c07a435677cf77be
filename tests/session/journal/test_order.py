"""The order of commits, saves and of giving up: what a crash, or a hang, leaves."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import trio

from miniclaw.errors import StoreError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.journal.journal import Batch, Journal
from miniclaw.session.journal.records import body
from miniclaw.session.live.store import open_store
from tests.fakes.descriptors import descriptors_below
from tests.fakes.journalled import crashed
from tests.fakes.live_journal import open_live, texts_after
from tests.fakes.os_calls import FaultyOs
from tests.fakes.threads import wait_in_thread


async def test_message_during_the_first_save_of_all_survives_the_note_of_that_save(tmp_path: Path) -> None:
    """The file that was copied before the message does not count as holding it, though no record came before."""
    async with open_live(tmp_path) as live:
        await live.manager.get_or_create_session("web", "a")
        gate = live.fs.block("rename", path="web_a.json")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live.manager.save_all_sessions)
            await wait_in_thread(gate.reached)
            await live.say("web_a", "one")
            gate.opened.set()
        await live.manager.saver.committer.tidy()
        crash = live.crash()
    assert await texts_after(crash, "web_a") == ["one"]


@pytest.mark.parametrize("name", ["000000000001.jsonl", "web_a.json"])
async def test_start_that_lacks_descriptors_is_refused_and_puts_nothing_into_quarantine(
    name: str, tmp_path: Path
) -> None:
    """The next start has all that was acknowledged."""
    crashed(tmp_path / "sessions", saved=["one"], more=["two"])
    fs = FaultyOs()
    fs.fail("open", errno.EMFILE, path=name)
    with pytest.raises(StoreError):
        async with open_store(tmp_path / "sessions", fs=fs):
            pass
    assert await texts_after(tmp_path / "sessions", "web_a") == ["one", "two"]
    assert not list((tmp_path / "sessions").glob(".quarantine/*"))


def test_segment_that_is_given_up_before_a_thread_has_it_is_closed(tmp_path: Path) -> None:
    """A thread that starts late closes the segment that it finds, which is another one by then."""
    batch = Batch([("web_a", body("void", {"s": "web_a"}))])
    with SessionDirectory.open(tmp_path / "sessions", create=True) as directory:
        directory.own()
        journal = Journal(directory)
        journal.commit(batch)
        assert descriptors_below(journal.path)
        journal.give_up(Batch())
        assert not descriptors_below(journal.path)
        journal.commit(batch)
        journal.close()


def test_segment_that_is_prepared_twice_is_made_once(tmp_path: Path) -> None:
    """The second call finds the segment of the first one, and leaves no descriptor of it behind."""
    with SessionDirectory.open(tmp_path / "sessions", create=True) as directory:
        directory.own()
        journal = Journal(directory)
        journal.prepare()
        journal.prepare()
        assert len(descriptors_below(journal.path)) == 1
        journal.close()
        assert not descriptors_below(journal.path)

"""People who chat by way of a `SessionManager` whose journal runs, and a model that knows what was acknowledged.

Several sessions at once: messages alone and together, pins, removals, sessions made anew, restored and moved, and
autosaves all the time. Segments are small (`small_segments`), so that they are begun and deleted all the time, and
batches are larger than one. A task stops at the first error of which it cannot say what came of it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Final
from unittest.mock import patch

import trio

from miniclaw.clock import utc_now
from miniclaw.errors import MiniclawError, NotConfirmedError
from miniclaw.session.journal import index, journal
from miniclaw.session.live import committer
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.names import split_session_id
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.types import Message, Session
from tests.fakes.said import Said

CHATTING_IDS: Final = [f"talk_{place}{name}" for name in "abcdef" for place in ("", "moved-")]
"""The sessions: two for each task, which moves the one to the other."""

_LONGEST: Final = 40
"""Number of messages beyond which a session is removed soon."""


@contextmanager
def small_segments(size: int = 16 * 1024, most: int = 3) -> Iterator[None]:
    """Have a journal that is made meanwhile use small segments."""
    with (
        patch.object(journal, "SEGMENT_BYTES", size),
        patch.object(index, "MAX_SEGMENTS", most),
        patch.object(committer, "MAX_NEWS_BYTES", size // 2),
    ):
        yield


class Chatter:
    """The people.

    Args:
        store: Owned.
        said: The model.
        chance: Says what happens.
        is_over: When nothing counts any more, and all stop.
        rounds: How often each task does something, unless it is over before.
        pause_seconds: Longest time between two autosaves.

    Attributes:
        wrong: What memory has that was never said, or has not though it was, in sentences.
    """

    def __init__(
        self,
        store: FileSessionStore,
        said: Said,
        chance: random.Random,
        is_over: Callable[[], bool] = lambda: False,
        *,
        rounds: int = 10**6,
        pause_seconds: float = 0.01,
    ) -> None:
        self._said = said
        self._chance = chance
        self._is_over = is_over
        self._rounds = rounds
        self._pause_seconds = pause_seconds
        self._numbers = itertools.count()
        self._met: set[str] = set()  # seen in memory since the start
        self._mark = f"{chance.randrange(16**6):06x}"  # no two rounds say the same
        self.wrong: list[str] = []
        # Little memory, so that sessions leave it and come back.
        self.manager = SessionManager(
            store, clock=utc_now, policy=RetentionPolicy(trash_for=timedelta(days=30)), max_live_sessions=3
        )

    async def run(self, *, flush: bool = False) -> None:
        """Chat until all have done their rounds, or it is over.

        Args:
            flush: If true, end as a gateway does; if false, as a process that dies.
        """
        async with trio.open_nursery() as outer:
            await outer.start(self.manager.saver.committer.run)
            try:
                await self._chat_and_save()
                if flush:
                    await self.manager.saver.flush()
            finally:
                self.manager.saver.committer.stop()

    async def _chat_and_save(self) -> None:
        async with trio.open_nursery() as saving:
            saving.start_soon(self._save_now_and_then, random.Random(self._chance.random()))  # noqa: S311
            async with trio.open_nursery() as nursery:
                for pair in zip(self._said.session_ids[::2], self._said.session_ids[1::2], strict=True):
                    nursery.start_soon(self._chat, pair, random.Random(self._chance.random()))  # noqa: S311
            saving.cancel_scope.cancel()

    async def _save_now_and_then(self, dice: random.Random) -> None:
        """Save as a gateway's ticks do, with sessions that are large and due later, or small and due at once."""
        manager, saver = self.manager, self.manager.saver
        while not self._is_over():
            await trio.sleep(dice.uniform(0, self._pause_seconds))
            saves: list[Callable[[], object]] = [
                *[partial(saver.save_due, 0.001)] * 6, *[partial(saver.save_due, 30)] * 3,
                manager.save_all_sessions, saver.flush,
            ]  # fmt: skip
            await dice.choice(saves)()  # type: ignore[misc]

    async def _chat(self, pair: Sequence[str], dice: random.Random) -> None:
        with suppress(_OpenError):
            for _ in range(self._rounds):
                if self._is_over():
                    return
                await self._step(pair, dice)

    async def _step(self, pair: Sequence[str], dice: random.Random) -> None:
        session_id, other_id = dice.sample(pair, 2)
        if not self._met.issuperset(pair):  # what the start has left of them shows in memory
            session_id = next(each for each in pair if each not in self._met)
            with suppress(MiniclawError):
                await self._talk(session_id, dice)
            return
        life, other = self._said.life(session_id), self._said.life(other_id)
        what = dice.random()
        if life is not None and (what < 0.15 or (what < 0.6 and len(life.texts) > _LONGEST)):
            await self._remove(session_id, dice)
        elif life is not None and other is None and what < 0.2:
            await self._move(session_id, other_id)
        else:
            with suppress(MiniclawError):
                await self._talk(session_id, dice)

    async def _talk(self, session_id: str, dice: random.Random) -> None:
        is_met = session_id in self._met
        if self._said.life(session_id) is None or not is_met:
            self._said.begin(session_id)
        session = await self.manager.get_or_create_session(*split_session_id(session_id))
        texts = [message.content for message in session.messages]
        before = str(self._said.life(session_id))
        is_right = is_met or self._said.meet(session_id, texts, session.pinned)
        life = self._said.life(session_id)
        assert life is not None
        if not is_right or texts != life.texts:
            self.wrong.append(f"{session_id} is {texts} in memory, not {before}")
            raise _OpenError
        self._met.add(session_id)
        if dice.random() < 0.25:
            pinned = dice.random() < 0.5
            self._said.pin(session_id, pinned)
            await self.manager.set_pinned(session_id, pinned)
        for _ in range(dice.choice((0, 1, 1, 1, 3)) if life.texts else 1):
            await self._add(session_id, session, dice)
        await self._make_durable(session_id, session, dice)

    async def _add(self, session_id: str, session: Session, dice: random.Random) -> None:
        text = f"{self._mark}-{next(self._numbers)} " + "x" * dice.choice((0, 0, 200, 3_000, 9_000))
        self._said.say(session_id, text)
        is_durable = dice.random() < 0.3
        try:
            await self.manager.add_message(session_id, Message("user", text, utc_now()), durable=is_durable)
        except NotConfirmedError:
            raise  # it is in memory
        except MiniclawError:
            self._said.refuse(session_id, text)
            raise
        if is_durable:
            self._acknowledge(session_id, session)

    async def _make_durable(self, session_id: str, session: Session, dice: random.Random) -> None:
        what = dice.random()
        if what < 0.1:
            return
        if what < 0.6:
            await self.manager.durable(session_id)
        elif what < 0.7:
            with suppress(BaseExceptionGroup):  # it is told to both, or to none
                async with trio.open_nursery() as nursery:
                    for _ in range(2):
                        nursery.start_soon(self.manager.durable, session_id)
        elif what < 0.85:
            await self.manager.saver.committer.commit([session_id])
        elif (await self.manager.save_sessions([session_id])).failed:
            return
        if self.manager.watch_save(session_id)() == "saved":
            self._acknowledge(session_id, session)

    def _acknowledge(self, session_id: str, session: Session) -> None:
        # A process does not outlive the power. Here it does, and what it is told then counts for nothing.
        if not self._is_over():
            self._said.keep(session_id, len(session.messages), session.pinned)

    async def _remove(self, session_id: str, dice: random.Random) -> None:
        is_erased = dice.random() < 0.5
        self._said.remove(session_id)
        await self._do(partial(self.manager.delete_session, session_id, erase=is_erased))
        self._said.removed(session_id)
        if not is_erased and dice.random() < 0.4:
            self._said.restore(session_id)
            await self._do(partial(self.manager.restore_session, session_id))
            self._said.restored(session_id)

    async def _move(self, session_id: str, target_id: str) -> None:
        self._said.move(session_id, target_id)
        await self._do(partial(self.manager.move_session, session_id, target_id))
        self._said.moved(session_id, target_id)

    async def _do(self, work: Callable[[], object]) -> None:
        try:
            await work()  # type: ignore[misc]
        except MiniclawError as error:
            raise _OpenError from error
        if self._is_over():
            raise _OpenError


class _OpenError(Exception):
    """Nobody can say what came of it."""

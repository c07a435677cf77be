"""All ways in which a runtime removes a session, and a program with hooks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import miniclaw
from miniclaw import DueEntry, Keep, RemovalCandidate, Remove, RemovedSession, RetentionPolicy
from miniclaw.session.entries import StoredSession
from miniclaw.session.hooks.types import LoadSession
from miniclaw.session.runtime import SessionRuntime
from tests.fakes.clock import WallClock
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import write_session
from tests.fakes.threads import settle

ID: Final = "telegram_1"
NEWER: Final = "telegram_2"
WEEK: Final = timedelta(days=7)


@dataclass(frozen=True)
class Way:
    """A way in which a session is removed.

    Attributes:
        remove: Removes it; an error that a hook causes is raised.
        reason: What a hook is told.
        rules: Of the policy.
        options: Of the runtime.
        raises: True if a session that a hook keeps is an error.
        trashes: True if the session is in the trash afterwards, if there is one.
    """

    remove: Callable[[SessionRuntime], Awaitable[object]]
    reason: str
    rules: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=lambda: {"cleanup_interval_seconds": None})
    raises: bool = False
    trashes: bool = True


async def _run(runtime: SessionRuntime) -> object:
    return await runtime.cleanup.run()


async def _one(runtime: SessionRuntime) -> object:
    path = runtime.sessions_dir / f"{ID}.json"
    row = StoredSession(path.name, path.stat().st_size, await runtime.manager.store.header(ID))
    return await runtime.cleanup.delete_session(row)


async def _delete(runtime: SessionRuntime, *, erase: bool = False) -> object:
    (outcome,) = await runtime.operations().delete([ID], erase=erase)
    if outcome.error is not None:
        raise outcome.error
    return outcome


async def _erase(runtime: SessionRuntime) -> object:
    return await _delete(runtime, erase=True)


async def _command(runtime: SessionRuntime) -> object:
    return await runtime.operations(by="api").cleanup()


async def _by_manager(runtime: SessionRuntime) -> object:
    return await runtime.manager.delete_session(ID)


async def _erase_by_manager(runtime: SessionRuntime) -> object:
    return await runtime.manager.delete_session(ID, erase=True)


async def _by_call(runtime: SessionRuntime) -> object:
    return await runtime.delete(ID)


async def _run_by_call(runtime: SessionRuntime) -> object:
    return await runtime.clean_up()


WAYS: Final[dict[str, Way]] = {
    "daily run": Way(lambda _: settle(), "ttl", options={"notice": False}),
    "run": Way(_run, "ttl"),
    "command": Way(_command, "ttl"),
    "number": Way(_run, "max_sessions", {"ttl": None, "max_sessions": 1}),
    "disk": Way(_run, "max_disk_bytes", {"ttl": None, "max_disk_bytes": 400}, trashes=False),
    "one": Way(_one, "ttl"),
    "manager": Way(_by_manager, "deleted", raises=True),
    "manager erases": Way(_erase_by_manager, "erased", raises=True, trashes=False),
    "delete": Way(_by_call, "deleted", raises=True),
    "clean_up": Way(_run_by_call, "ttl"),
    "operations": Way(_delete, "deleted", raises=True),
    "erasure": Way(_erase, "erased", raises=True, trashes=False),
}


class Program:
    """A program with hooks, in a workspace with a session that each of `WAYS` removes, and a newer one.

    Attributes:
        asked: What `before_remove` was called with.
        told: What `after_remove` was called with.
        due: What `on_due` was called with.
        answer: What `before_remove` does: returns this, or awaits the result of it.
    """

    def __init__(self, sessions_dir: Path, clock: WallClock) -> None:
        self.sessions_dir, self.clock = sessions_dir, clock
        self.asked: list[RemovalCandidate] = []
        self.told: list[RemovedSession] = []
        self.due: list[tuple[DueEntry, ...]] = []
        self.answer: Callable[[RemovalCandidate, LoadSession], Awaitable[Any]] = self.agree
        self.path = write_session(sessions_dir, ID, clock.ago(days=31))
        self.size = self.path.stat().st_size
        write_session(sessions_dir, NEWER, clock.ago(days=2))

    async def agree(self, candidate: RemovalCandidate, load: LoadSession) -> Remove:
        return Remove()

    async def refuse(self, candidate: RemovalCandidate, load: LoadSession) -> Keep:
        return Keep("a lawyer wants it")

    async def before_remove(self, candidate: RemovalCandidate, load: LoadSession) -> Keep | Remove:
        self.asked.append(candidate)
        answer: Keep | Remove = await self.answer(candidate, load)
        return answer

    async def after_remove(self, removal: RemovedSession) -> None:
        self.told.append(removal)

    async def on_due(self, entries: tuple[DueEntry, ...]) -> None:
        self.due.append(entries)

    @asynccontextmanager
    async def open(self, way: Way, *, trash: bool = False, **options: Any) -> AsyncIterator[SessionRuntime]:
        """Run the program; hooks that are not given are this one's."""
        policy = RetentionPolicy(**way.rules, trash_for=WEEK if trash else None)
        hooks = {
            "before_remove": self.before_remove,
            "after_remove": self.after_remove,
            "on_due": self.on_due,
            "hook_deadline": timedelta(seconds=PATIENCE_SECONDS),
        }
        given: dict[str, Any] = {**hooks, **way.options, **options}
        async with miniclaw.open_runtime(self.sessions_dir, policy=policy, clock=self.clock, **given) as runtime:
            yield runtime

    async def try_to_remove(self, way: Way, runtime: SessionRuntime) -> str:
        """Remove the session; return the text of the error that says why it is kept, if that is one."""
        if not way.raises:
            await way.remove(runtime)
            return ""
        try:
            await way.remove(runtime)
        except miniclaw.SessionKeptError as error:
            return str(error)
        return ""

    @property
    def is_kept(self) -> bool:
        """True if the session is in its place; the newer one always is."""
        assert (self.sessions_dir / f"{NEWER}.json").exists()
        return self.path.exists()

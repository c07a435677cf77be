"""A controller that runs a few actors in every order in which they could go.

Each actor stops before each system call; one at a time gets the baton and goes on to its next stop. `explore` walks all
choices depth first, by replay: each run begins anew with the choices of an earlier one, and takes another turn at its
end. A run is replayed alone by its list of choices: ``MINICLAW_REPLAY="save cleanup cleanup" pytest -k …``.

Two kinds of runs share the choices: `run_threads`, plain threads, which may wait at their stops only; `run_tasks`, trio
tasks with whatever threads they start, which may wait for anything: a choice is made when all tasks are blocked and all
threads have stopped, so who waits for a lock or an answer is simply not to be chosen.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from random import Random
from typing import Any, Final, Literal

import trio
import trio.testing
from trio._core import _run as trio_run

from miniclaw.session.disk.syscalls import OsCalls
from tests.fakes.os_calls import CALLS
from tests.fakes.patience import PATIENCE_SECONDS

SOAK = int(os.environ.get("MINICLAW_SOAK", "1"))

Level = Literal["shared", "named", "all"]
"""Before which calls an actor stops.

``all``: every one. ``named``: not those on a descriptor of its own, which can be swapped with any call of another actor,
as nobody writes in place. ``shared``: of those, only what concerns a name in the sessions directory itself, a listing,
and each opening of a session, behind which a removal asks for consent; the names in `.work` are drawn by lot, so that
nobody else meets them. The fewer stops reach the same states; the more are there to check that claim.
"""

_ON_OWN_DESCRIPTOR: Final = frozenset(
    {"read", "readv", "pread", "read_ahead", "write", "fstat", "close", "fchmod", "ftruncate", "flock"}
)
_STUCK_SECONDS: Final = PATIENCE_SECONDS
_ACTOR: ContextVar[str | None] = ContextVar("actor", default=None)


class Schedule:
    """The choices of one run: given ones first, then whoever went last goes on.

    Args:
        given: Names of actors, one for each choice.
        preemptions: How often an actor that could go on may be stopped for another one; None: always.
    """

    def __init__(self, given: Sequence[str] = (), *, preemptions: int | None = None) -> None:
        self.choices: list[str] = []
        self.others: list[list[str]] = []  # for each choice
        self._given = given
        self._left = preemptions

    def choose(self, ready: Sequence[str]) -> str:
        """Return who goes next, of those that can."""
        last = self.choices[-1] if self.choices else None
        options = sorted(ready, key=lambda actor: (actor != last, actor))
        if self._left == 0 and options[0] == last:
            options = options[:1]
        position = len(self.choices)
        choice = self._given[position] if position < len(self._given) else options[0]
        assert choice in options, f"choice {position} was {choice!r}, now there are {options}: not deterministic"
        if self._left and last in options and choice != last:
            self._left -= 1
        self.choices.append(choice)
        self.others.append([actor for actor in options if actor != choice])
        return choice


def explore(run: Callable[[Schedule], None], *, preemptions: int | None = None) -> int:
    """Call `run` for every sequence of choices, which alone decide about it; return how many there were."""
    if replay := os.environ.get("MINICLAW_REPLAY"):
        run(Schedule(replay.split()))
        return 1
    todo: list[list[str]] = [[]]
    for count in itertools.count():
        if not todo:
            return count
        given = todo.pop()
        schedule = Schedule(given, preemptions=preemptions)
        try:
            run(schedule)
        except BaseException as error:
            error.add_note(f'run {count + 1}; MINICLAW_REPLAY="{" ".join(schedule.choices)}"')
            raise
        for position in range(len(given), len(schedule.choices)):
            todo += [[*schedule.choices[:position], other] for other in schedule.others[position]]
    raise AssertionError


class PausingOs(OsCalls):
    """The real calls, with a stop before each and a trace of what they did. A sync does nothing: no power is cut here.

    Args:
        level: See `Level`.

    Attributes:
        shared_fd: The sessions directory's descriptor.
        pause: Called at each stop; set while a run is on.
        trace: Actor, call, positional arguments, and whether it succeeded, in the order in which they happened.
    """

    def __init__(self, level: Level = "shared") -> None:
        self.shared_fd = -1
        self.pause: Callable[[], None] | None = None
        self.trace: list[tuple[str, str, tuple[Any, ...], bool]] = []
        self._level = level

    def _stops(self, call: str, args: tuple[Any, ...], descriptors: Iterable[int]) -> bool:
        if self._level == "all" or call in _ON_OWN_DESCRIPTOR:
            return self._level == "all"
        if self._level == "named" or call == "scandir" or self.shared_fd in descriptors:
            return True
        return args[0] == self.shared_fd if call == "fsync" else call == "open" and args[0].endswith(".json")

    def fsync(self, fd: int) -> None:
        os.fstat(fd)

    def sync_data(self, fd: int) -> None:
        os.fstat(fd)

    def stop(self) -> None:
        """Stop where there is no system call."""
        if self.pause is not None:
            self.pause()

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name not in CALLS:
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            if (actor := _ACTOR.get()) is None or self.pause is None:
                return value(*args, **kwargs)
            if self._stops(name, args, kwargs.values()):
                self.pause()
            succeeded = False
            try:
                result = value(*args, **kwargs)
                succeeded = True
            finally:
                self.trace.append((actor, name, args, succeeded))
            return result

        return call


Outcome = Any  # what an actor returned, or the exception that it ended with


class _Abandoned(BaseException):
    """The run has failed before the actor was at its end."""


def run_threads(  # noqa: C901 - one baton, and all that may be done with it
    schedule: Schedule, fs: PausingOs, actors: Mapping[str, Callable[[], object]]
) -> dict[str, Outcome]:
    """Run each actor in a thread of its own, and return what became of them."""
    go = {name: threading.Semaphore(0) for name in actors}
    over = threading.Semaphore(0)
    outcomes: dict[str, Outcome] = {}
    failures: list[BaseException] = []

    def pass_on(holder: str | None) -> None:
        """Give the baton to whom the schedule says; called by its holder."""
        ready = [name for name in actors if name not in outcomes]
        try:
            chosen = schedule.choose(ready) if ready else None
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)
            chosen = None
        if chosen is None:
            over.release()
        elif chosen != holder:
            go[chosen].release()
        if holder is not None and chosen != holder:
            wait(holder)

    def wait(name: str) -> None:
        go[name].acquire()
        if failures:
            raise _Abandoned

    def body(name: str) -> None:
        _ACTOR.set(name)
        try:
            wait(name)
            try:
                outcomes[name] = actors[name]()
            except Exception as error:  # noqa: BLE001 - it is the actor's outcome
                outcomes[name] = error
            pass_on(None)
        except _Abandoned:
            pass

    fs.pause = lambda: pass_on(_ACTOR.get())
    threads = [threading.Thread(target=body, args=(name,), daemon=True) for name in actors]
    for thread in threads:
        thread.start()
    pass_on(None)
    if not over.acquire(timeout=_STUCK_SECONDS):
        failures.append(AssertionError("an actor waits for something other than a stop"))
    fs.pause = None
    if failures:
        for semaphore in go.values():
            semaphore.release()
        raise failures[0]
    for thread in threads:
        thread.join()
    return outcomes


class Stage(trio.abc.Instrument):
    """Where tasks and their threads act. Made in a running trio, whose thread alone changes its state."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._token = trio.lowlevel.current_trio_token()
        self._trio_thread = threading.get_ident()
        self._driver = trio.lowlevel.current_task()
        self._stopped: dict[str, Callable[[], object]] = {}  # actor -> how to let it go on
        self._threads: set[str] = set()  # those of them that are in a thread
        self._at_work = 0  # threads that have begun and not ended, also those whose task has left them
        self._left = 0  # those of them whose task has left them
        self._moved = trio.Event()

    async def stop(self) -> None:
        """Let the others go, if they are chosen; for a task of an actor."""
        event = trio.Event()
        self._arrive(_ACTOR.get() or "", event.set)
        await event.wait()

    def pause(self) -> None:
        """The same for a thread of an actor. What the trio thread calls, closing a listing, is no stop."""
        if threading.get_ident() == self._trio_thread:
            return
        go = threading.Semaphore(0)
        self._token.run_sync_soon(self._arrive, _ACTOR.get() or "", go.release, True)
        assert go.acquire(timeout=_STUCK_SECONDS)

    def _arrive(self, actor: str, resume: Callable[[], object], in_thread: bool = False) -> None:
        if in_thread:
            self._threads.add(actor)
        assert actor not in self._stopped, f"{actor} does two things at once"
        self._stopped[actor] = resume
        self._moved.set()

    async def in_thread(self, run_sync: Callable[..., Awaitable[Any]], work: Callable[..., Any], options: Any) -> Any:
        """Run work in a thread, which is counted while it goes on, and after its task has left it."""
        states: list[str] = []

        def begin() -> None:
            states.append("begun")
            self._at_work += 1
            self._moved.set()

        def end() -> None:
            self._left -= "left" in states
            states.append("ended")
            self._at_work -= 1
            self._moved.set()

        def counted_work(*args: Any) -> Any:
            trio.from_thread.run_sync(begin, trio_token=self._token)
            try:
                return work(*args)
            finally:
                self._token.run_sync_soon(end)

        try:
            return await run_sync(counted_work, **options)
        finally:
            if states == ["begun"]:
                states.append("left")
                self._left += 1

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`. A thread that ends makes a task go on: that is how it is noticed."""
        if task is not self._driver:
            self._moved.set()

    def look(self) -> None:
        """Look at the world before each choice: nothing moves."""

    async def drive(self) -> None:
        """Choose until nobody can go on any more."""
        while await self._quiet():
            self.look()
            actor = self._schedule.choose(list(self._stopped))
            self._threads.discard(actor)
            self._stopped.pop(actor)()

    async def _quiet(self) -> bool:
        while True:
            self._moved = trio.Event()
            await trio.testing.wait_all_tasks_blocked()
            # trio counts those that have not begun yet, and forgets those whose task has left them.
            active = trio.testing.active_thread_count()
            if active <= self._at_work - self._left and self._at_work == len(self._threads):
                return bool(self._stopped)
            await self._moved.wait()


async def run_tasks(
    schedule: Schedule,
    fs: PausingOs,
    actors: Mapping[str, Callable[[Stage], Awaitable[object]]],
    stage: Stage | None = None,
) -> dict[str, Outcome]:
    """Run each actor in a task of its own, and return what became of them. Each begins with a stop."""
    stage = stage or Stage(schedule)
    outcomes: dict[str, Outcome] = {}

    async def body(name: str) -> None:
        _ACTOR.set(name)
        await stage.stop()
        try:
            outcomes[name] = await actors[name](stage)
        except Exception as error:  # noqa: BLE001 - it is the actor's outcome
            outcomes[name] = error

    run_sync = trio.to_thread.run_sync

    async def counted_run_sync(work: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return await stage.in_thread(run_sync, partial(work, *args), options)

    trio.lowlevel.add_instrument(stage)
    fs.pause = stage.pause
    trio.to_thread.run_sync = counted_run_sync  # type: ignore[assignment]
    try:
        async with trio.open_nursery() as nursery:
            for name in actors:
                nursery.start_soon(body, name)
            await stage.drive()
            assert len(outcomes) == len(actors), f"stuck for ever: {sorted(set(actors) - set(outcomes))}"
    finally:
        fs.pause = None
        trio.to_thread.run_sync = run_sync
        trio.lowlevel.remove_instrument(stage)
    return outcomes


def run_trio(main: Callable[[], Awaitable[None]], monkeypatch: Any) -> None:
    """Run in a trio whose clock stands still and whose scheduling is the same each time."""
    monkeypatch.setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr(trio_run, "_r", Random(0))  # noqa: S311 - the order of tasks is no secret
    trio.run(main, clock=trio.testing.MockClock())

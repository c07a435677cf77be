"""Wrong arguments of the public calls: each is refused by the call, in a sentence that names the argument."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any, get_overloads, get_type_hints

import pytest
import trio

import miniclaw
from miniclaw import Message, RetentionPolicy, SessionRuntime, ToolCall, blocking
from miniclaw.blocking import BlockingOptions, BlockingSessions, BlockingStoreOptions
from miniclaw.session import runtime as over_directory
from miniclaw.session.calls.rules import AUTOSAVE, RuntimeOptions, StoreOptions
from miniclaw.session.cleanup import Cleanup
from miniclaw.session.hooks.hooks import Hooks
from miniclaw.session.sessions import Sessions
from miniclaw.stores import MemoryStore
from tests.fakes.clock import WallClock

T = datetime(2026, 12, 1, 10, tzinfo=UTC)
NAIVE = Message("user", "hello", datetime(2026, 12, 1, 10))  # noqa: DTZ001 - that is the fault


def _keep(*_: object) -> miniclaw.Keep:
    return miniclaw.Keep()


CALLS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "channel": (lambda s: s.get_or_create("Web", "1"), "'Web': a channel is 1 to 32 of a-z, 0-9 and -"),
    "chat": (lambda s: s.get_or_create("web", ""), "a chat id is a text that is not empty"),
    "id": (lambda s: s.get("nonsense"), "nonsense"),
    "number as id": (lambda s: s.read(5), "5"),
    "text as message": (lambda s: s.add_message("web_1", "hello"), "message is a Message, not 'hello'"),
    "message without a zone": (lambda s: s.add_message("web_1", NAIVE), "timestamp of message has a time zone"),
    "message as list": (lambda s: s.add_messages("web_1", NAIVE), "messages is a list of Messages"),
    "text in list": (lambda s: s.add_messages("web_1", ["a"]), r"messages\[0\] is a Message, not 'a'"),
    "durable": (lambda s: s.add_messages("web_1", [], durable="no"), "durable is True or False, not 'no'"),
    "count": (lambda s: s.pop_messages("web_1", 0), "count is at least 1, not 0"),
    "count as text": (lambda s: s.pop_messages("web_1", "2"), "count is an int, not '2'"),
    "count as bool": (lambda s: s.pop_messages("web_1", True), "count is an int, not True"),
    "tool_call_id": (
        lambda s: s.add_message("web_1", Message("user", "x", T, tool_call_id=timedelta(0))),  # type: ignore[arg-type]
        "message refused: the content, the tool_call_id and the inbound_id",
    ),
    "inbound_id": (
        lambda s: s.add_messages("web_1", [Message("user", "x", T, inbound_id=0)]),  # type: ignore[arg-type]
        "message refused: the content, the tool_call_id and the inbound_id",
    ),
    "tool_calls": (
        lambda s: s.add_message("web_1", Message("assistant", "", T, (ToolCall("1", "f", b"{}"),))),  # type: ignore[arg-type]
        "message refused: tool_calls has ToolCalls",
    ),
    "pinned": (lambda s: s.set_pinned("web_1", 1), "pinned is True or False, not 1"),
    "metadata": (lambda s: s.set_metadata("web_1", at=datetime.now(UTC)), "metadata refused: the value of 'at'"),
    "create": (lambda s: s.using("web_1", create=1), "create is True or False, not 1"),
    "older_than": (lambda s: s.list(older_than=30), "older_than is a timedelta, not 30"),
    "younger_than": (lambda s: s.list(younger_than=timedelta(-1)), "younger_than is not negative"),
    "channel of a list": (lambda s: s.list(channel="A B"), "channel is 1 to 32"),
    "pinned of a list": (lambda s: s.list(pinned="yes"), "pinned is True or False, not 'yes'"),
    "erase": (lambda s: s.delete("web_1", erase="no"), "erase is True or False, not 'no'"),
    "text": (lambda s: s.restore(None), "text is a str, not None"),
    "confirmed": (lambda s: s.clean_up(confirmed=1), "confirmed is True or False, not 1"),
}

OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "policy": ({"policy": {}}, r"policy is a RetentionPolicy, not \{\}"),
    "autosave": ({"autosave": 30}, "autosave is a timedelta, not 30"),
    "autosave negative": ({"autosave": timedelta(seconds=-1)}, "autosave is not negative"),
    "autosave zero": ({"autosave": timedelta(0)}, "autosave is positive"),
    "cleanup": ({"cleanup": 3600}, "cleanup is a timedelta, a time of day, or None for no daily cleanup, not 3600"),
    "cleanup with a zone": ({"cleanup": time(4, tzinfo=UTC)}, "without a zone"),
    "removes": ({"removes": "no"}, "removes is True or False, not 'no'"),
    "notice": ({"notice": None}, "notice is True or False, not None"),
    "twice": ({"autosave": timedelta(1), "persistence_interval_seconds": 5}, "without their earlier names"),
    "twice, the schedule": ({"cleanup": None, "cleanup_at": time(4)}, "without their earlier names"),
    "rules": ({"rules": 5}, "rules is a RuntimeRules, or None; not 5"),
    "earlier": ({"earlier": 5}, "earlier is an EarlierFolders, or None; not 5"),
    "clock": ({"clock": 5}, "clock is a Clock or a function"),
    "clock as a class": ({"clock": WallClock}, "clock is a Clock or a function"),
    "clock without a zone": ({"clock": lambda: NAIVE.timestamp}, "clock returns a datetime with a time zone"),
    "clock as a number": ({"clock": lambda: 5.0}, r"clock returns a datetime with a time zone, not 5\.0"),
    "on_announced": ({"on_announced": 1}, "on_announced is an async function, or None; not 1"),
    "plain on_announced": ({"on_announced": lambda _: None}, "on_announced is an async function"),
    "plain before_remove": ({"before_remove": _keep}, "before_remove is an async function, or None; not <function"),
    "plain method": ({"after_remove": [].append, "on_due": Path().joinpath}, "on_due is an async function"),
    "class as hook": ({"before_remove": miniclaw.Keep}, "before_remove is an async function"),
    "saves": ({"persistence_interval_seconds": "x"}, "persistence_interval_seconds is a number of seconds, not 'x'"),
    "runs": ({"cleanup_interval_seconds": True}, "cleanup_interval_seconds is a number of seconds, not True"),
    "waits": ({"cleanup_waits": 1}, "cleanup_waits is True or False"),
    "live sessions": ({"max_live_sessions": 0}, "max_live_sessions is a whole number from 1, not 0"),
}


async def _made(result: Any) -> None:
    if inspect.isawaitable(result):
        await result


@pytest.mark.parametrize("name", CALLS)
async def test_wrong_argument_is_refused_by_the_call(sessions_dir: Path, clock: WallClock, name: str) -> None:
    """No session is made or changed, and the sentence names the argument and what it is to be."""
    call, sentence = CALLS[name]
    async with miniclaw.open_runtime(sessions_dir, clock=clock, cleanup=None) as sessions:
        session = await sessions.get_or_create("web", "1")
        with pytest.raises((TypeError, ValueError), match=sentence):
            await _made(call(sessions))
        assert (session.messages, session.metadata, session.pinned) == ([], {}, False)


@pytest.mark.parametrize("name", CALLS)
def test_wrong_argument_is_refused_by_the_blocking_call(sessions_dir: Path, name: str) -> None:
    """The same sentences, by the call itself."""
    call, sentence = CALLS[name]
    with (
        blocking.open_runtime(sessions_dir, cleanup=None) as sessions,
        pytest.raises((TypeError, ValueError), match=sentence),
    ):
        call(sessions)


@pytest.mark.parametrize("name", OPTIONS)
async def test_wrong_option_opens_nothing(sessions_dir: Path, name: str) -> None:
    """A runtime with a wrong option does not begin."""
    options, sentence = OPTIONS[name]
    with pytest.raises((TypeError, ValueError), match=sentence):
        async with miniclaw.open_runtime(sessions_dir, **options):
            pass


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ("", ValueError, "sessions_dir is empty"),
        ("a\0b", ValueError, "sessions_dir is a path that no file system has"),
        ("\ud800", ValueError, "sessions_dir is a path that no file system has"),
        (5, TypeError, "sessions_dir is a Path or a str, not 5"),
        (0, TypeError, "sessions_dir is a Path or a str, not 0"),
        (b"sessions", TypeError, "sessions_dir is a Path or a str, not b'sessions'"),
    ],
)
async def test_directory_that_is_none_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any, error: type[Exception], sentence: str
) -> None:
    """An empty text is not the working directory, in which nothing is made."""
    monkeypatch.chdir(tmp_path)
    before = list(tmp_path.iterdir())
    with pytest.raises(error, match=sentence):
        async with miniclaw.open_runtime(given):
            pass
    with pytest.raises(error, match=sentence):
        Cleanup(given)
    assert list(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("store", "sentence"),
    [(3, "3 has no owner"), (MemoryStore, "not the class MemoryStore"), ("sessions", "has no owner")],
)
async def test_store_that_is_none_is_refused(store: Any, sentence: str) -> None:
    """A path, a number, and a class in place of an object of it are told as such."""
    with pytest.raises(TypeError, match=f"store is an object with the methods of SessionStore.*{sentence}"):
        async with miniclaw.open_runtime(store=store):
            pass


async def test_async_hooks_of_every_form_are_taken() -> None:
    """A method, a partial, a wrapped function, and an object that can be called."""

    async def keep(*_: object) -> miniclaw.Keep:
        return miniclaw.Keep()

    class Hook:
        async def method(self, *_: object) -> miniclaw.Keep:
            return miniclaw.Keep()

        def __call__(self, *_: object) -> Any:
            return self.method()

    @functools.wraps(keep)
    def wrapped(*given: object) -> Any:
        return keep(*given)

    for hook in (keep, Hook(), Hook().method, functools.partial(keep, 1), wrapped):
        assert Hooks(before_remove=hook).asks


async def test_no_directory_and_no_store_is_told_as_that() -> None:
    """None is no path, but the default."""
    with pytest.raises(ValueError, match="either sessions_dir or store; neither was given"):
        miniclaw.open_runtime(None)  # type: ignore[call-overload]


def test_duration_of_a_policy_is_a_timedelta() -> None:
    """The commonest mistake is told as such."""
    with pytest.raises(ValueError, match=r"ttl: a TTL is a positive timedelta, or None for never; not 30"):
        RetentionPolicy(ttl=30)  # type: ignore[arg-type]


async def test_options_have_their_meaning_by_both_names(sessions_dir: Path, clock: WallClock) -> None:
    """An earlier name is the same option."""
    async with miniclaw.open_runtime(sessions_dir, clock=clock) as sessions:
        rules = sessions.rules
        assert rules.persistence_interval_seconds == AUTOSAVE.total_seconds()
        assert rules.schedule.interval == timedelta(days=1)
    for options in (
        {"autosave": timedelta(seconds=5), "cleanup": time(4)},
        {"persistence_interval_seconds": 5, "cleanup_at": time(4)},
    ):
        async with miniclaw.open_runtime(sessions_dir, clock=clock, **options) as sessions:  # type: ignore[call-overload]
            assert sessions.rules.persistence_interval_seconds == 5
            assert sessions.rules.schedule.interval == timedelta(days=1)
    for none in ("cleanup", "cleanup_interval_seconds"):
        async with miniclaw.open_runtime(sessions_dir, clock=clock, **{none: None}) as sessions:  # type: ignore[call-overload]
            assert sessions.rules.schedule.interval is None


def test_options_that_are_passed_on_are_those_of_open_runtime() -> None:
    """`run_runtime` and `blocking.open_runtime` have every option, with its type."""
    parameters = inspect.signature(over_directory.open_runtime).parameters
    types = {name: str(each.annotation) for name, each in parameters.items() if name != "sessions_dir"}
    assert {name: each.__forward_arg__ for name, each in RuntimeOptions.__annotations__.items()} == types


def test_options_without_trio_are_the_same() -> None:
    """The hooks alone differ: they are plain functions."""
    assert BlockingOptions.__annotations__.keys() == RuntimeOptions.__annotations__.keys()
    assert BlockingStoreOptions.__annotations__.keys() == StoreOptions.__annotations__.keys()


def test_openings_have_the_same_overloads() -> None:
    """All three open a directory or a store, by the same arguments."""
    openings = miniclaw.open_runtime, miniclaw.run_runtime, blocking.open_runtime
    for opening in openings:
        found = [
            {name for name in inspect.signature(each).parameters if name != "task_status"}
            for each in get_overloads(opening)
        ]
        assert found == [{"sessions_dir", "options"}, {"store", "options"}], opening


def test_blocking_calls_are_those_of_sessions() -> None:
    """Every public call has the same name, parameters, defaults and, but for `async`, the same result."""
    public = [name for name in vars(Sessions) if not name.startswith("_")]
    assert len(public) > 15
    for name in public:
        ours, theirs = getattr(BlockingSessions, name), getattr(Sessions, name)
        assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters, name
        result = str(get_type_hints(theirs)["return"])
        for asynchronous, plain in (("AsyncIterator", "Iterator"), ("AbstractAsyncContext", "AbstractContext")):
            result = result.replace(asynchronous, plain)
        assert str(get_type_hints(ours)["return"]) == result, name


async def test_runtime_of_a_nursery_runs_until_it_is_cancelled_and_saves(sessions_dir: Path, clock: WallClock) -> None:
    """`run_runtime` gives out the runtime when it is open, and flushes on cancellation."""
    async with trio.open_nursery() as nursery:
        sessions: SessionRuntime = await nursery.start(lambda **status: miniclaw.run_runtime(
            sessions_dir, clock=clock, cleanup=None, **status))  # fmt: skip
        await sessions.get_or_create("web", "1")
        await sessions.add_message("web_1", Message("user", "hello", sessions.now()))
        assert not (sessions_dir / "web_1.json").exists()
        nursery.cancel_scope.cancel()
    assert b"hello" in (sessions_dir / "web_1.json").read_bytes()
    with pytest.raises(miniclaw.RuntimeClosedError):
        await sessions.get("web_1")

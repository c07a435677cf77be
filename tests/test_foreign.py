"""Exceptions of foreign code: what is contained, what passes, and how it is shown."""

from __future__ import annotations

from typing import NoReturn

import pytest
import trio

from miniclaw.foreign import MAX_TRACEBACK_CHARS, Contained, leaves, name_of, only, text_of, traceback_of
from tests.fakes.foreign import SHAPES, UnprintableError


def fail(error: BaseException) -> NoReturn:
    raise error


@pytest.mark.parametrize("shape", SHAPES)
def test_contained_exception_is_reported_once_and_ends_there(shape: str) -> None:
    """Whatever foreign code raises, who called it goes on behind the block."""
    error = SHAPES[shape]()
    reported: list[BaseException] = []
    with Contained(reported.append):
        fail(error)
    assert reported == [error]


async def test_contained_generator_exit_of_a_task_is_reported() -> None:
    """A task of foreign code that raises it in its first frame is not taken for a task that is closed."""
    reported: list[BaseException] = []

    async def work() -> None:
        raise GeneratorExit

    with Contained(reported.append):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
    assert [name_of(error) for error in reported] == ["GeneratorExit"]


def test_contained_without_an_exception_reports_nothing() -> None:
    """A block that goes well is nobody's business."""
    reported: list[BaseException] = []
    with Contained(reported.append):
        pass
    assert reported == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_contained_lets_pass_what_ends_the_program(kind: type[BaseException]) -> None:
    """Ctrl-C and sys.exit() pass, alone and in a group of their own, and nothing is reported."""
    reported: list[BaseException] = []
    with pytest.raises(kind), Contained(reported.append):
        raise kind
    with pytest.RaisesGroup(kind), Contained(reported.append):
        raise BaseExceptionGroup("program", [kind()])
    assert reported == []


def test_contained_lets_pass_the_close_of_a_suspended_task() -> None:
    """A task that the interpreter closes, as after a crash of trio, does not go on behind the block."""
    reported: list[BaseException] = []

    async def wait() -> None:
        with Contained(reported.append):
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        await trio.lowlevel.checkpoint()

    task = wait()
    task.send(None)
    task.close()  # RuntimeError: the task ignored its end
    assert reported == []


def test_contained_group_of_both_is_divided() -> None:
    """Of a Ctrl-C beside a bug the one passes, and the other is reported."""
    reported: list[BaseException] = []
    with pytest.RaisesGroup(KeyboardInterrupt), Contained(reported.append):
        raise BaseExceptionGroup("both", [KeyboardInterrupt(), KeyError("gone")])
    assert [type(leaf) for error in reported for leaf in leaves(error)] == [KeyError]


async def test_contained_cancellation_passes_out_of_a_group_with_a_bug() -> None:
    """A task that fails while it is cancelled is cancelled; its bug is reported and reaches nobody."""
    reported: list[BaseException] = []
    behind = False

    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("gone")

    with trio.CancelScope() as scope:
        with Contained(reported.append):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_when_cancelled)
                nursery.start_soon(trio.sleep_forever)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        behind = True
    assert scope.cancelled_caught
    assert not behind
    assert [name_of(error) for error in reported] == ["KeyError"]


def test_only_finds_one_kind_through_groups() -> None:
    """An error that a nursery has wrapped is still that error; one beside another is not alone."""
    inner = KeyError("gone")
    assert only(inner, LookupError) is inner
    assert only(ExceptionGroup("a", [ExceptionGroup("b", [inner, IndexError()])]), LookupError) is inner
    assert only(ExceptionGroup("a", [inner, ValueError()]), LookupError) is None


@pytest.mark.parametrize("shape", SHAPES)
def test_traceback_of_anything_is_a_text_that_names_it(shape: str) -> None:
    """The log says where it came from, whatever it is, and within a bound."""
    with pytest.raises(BaseException) as raised:  # noqa: PT011 - it may be any
        raise SHAPES[shape]()
    text = traceback_of(raised.value)
    assert name_of(raised.value) in text
    assert "test_foreign.py" in text
    assert len(text) <= MAX_TRACEBACK_CHARS + 10


def test_traceback_that_cannot_be_made_names_the_class() -> None:
    """An exception whose own attributes fail is told by its class."""

    def fail(_: object) -> list[str]:
        raise RuntimeError("no notes")

    class SpitefulError(Exception):
        pass

    setattr(SpitefulError, "__notes__", property(fail))  # noqa: B010 - its type is another one

    assert "SpitefulError" in traceback_of(SpitefulError())


def test_text_of_an_exception_that_has_none_is_its_class() -> None:
    """A sentence can be made of every exception."""
    assert text_of(UnprintableError()) == "UnprintableError"
    assert text_of(ValueError("so it is")) == "so it is"

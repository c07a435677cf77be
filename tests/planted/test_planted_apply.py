"""The list of planted bugs does not rot; whether the tests catch them is for `python -m tests.planted` to say."""

from __future__ import annotations

import pytest

from tests.planted.bug import Bug, Change
from tests.planted.bugs import BUGS
from tests.planted.plant import ROOT, PlantError, broken_files, replaced


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_planted_bug_can_be_planted(bug: Bug) -> None:
    """Each text to be replaced stands in the package exactly once, and what comes of it is a program again."""
    for file, text in broken_files(bug).items():
        assert text != (ROOT / "miniclaw" / file).read_text(encoding="utf-8")
        compile(text, file, "exec")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_planted_bug_names_tests_that_are_there(bug: Bug) -> None:
    """Each bug says which files, or which tests of them, have to catch it."""
    assert bug.tests
    for test in bug.tests:
        file, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / "tests" / file).read_text(encoding="utf-8")


def test_planted_bugs_are_at_least_fourteen_by_different_names() -> None:
    """No bug hides another one of its name."""
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 14


@pytest.mark.parametrize("text", ["", "aa"], ids=["never", "twice"])
def test_planting_what_does_not_stand_there_once_fails(text: str) -> None:
    """A bug that would change nothing, or something else, is no bug that anybody can catch."""
    with pytest.raises(PlantError, match="not once"):
        replaced(text, Change("x.py", "a", "b"))

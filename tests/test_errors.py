"""The errors that a program can catch: `docs/errors.md` lists them all, with their data."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from textwrap import dedent

import pytest

from miniclaw import errors
from miniclaw.errors import MiniclawError

ERRORS = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
_ROW = re.compile(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|[^|]+\|$", re.MULTILINE)


def _rows() -> dict[str, tuple[list[str], set[str]]]:
    """Return the parents and attributes of each error in the tables of the page."""
    page = (Path(__file__).parents[1] / "docs" / "errors.md").read_text()
    found = _ROW.findall(page)
    assert len({name for name, *_ in found}) == len(found)
    return {name: (re.findall(r"\w+", parents), {*re.findall(r"\w+", data)}) for name, parents, data in found}


def _attributes(error: type) -> set[str]:
    """Return the names to which the code of an error and of its parents assigns, and those that they annotate."""
    names: set[str] = set()
    for cls in error.__mro__:
        if cls.__module__.startswith("miniclaw"):
            for node in ast.walk(ast.parse(dedent(inspect.getsource(cls)))):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    names.add(node.attr)
    return names - {"args"}


def test_page_has_every_error_and_no_other() -> None:
    """An embedder finds each error that can be caught, and finds no error that does not exist."""
    assert _rows().keys() | {"MiniclawError"} == ERRORS.keys()


@pytest.mark.parametrize("name", sorted(ERRORS.keys() - {"MiniclawError"}))
def test_page_has_parents_and_data_of_each_error(name: str) -> None:
    """The table is what `except` and the handler of an error go by."""
    parents, attributes = _rows()[name]
    assert [parent.__name__ for parent in ERRORS[name].__bases__] == parents
    assert _attributes(ERRORS[name]) == attributes
    assert issubclass(ERRORS[name], MiniclawError)

"""The member of a document that does not fit its Struct."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from miniclaw.config.misfits import find_misfit


class Inner(Struct, frozen=True, forbid_unknown_fields=True):
    number: Annotated[int, Meta(ge=0)] = 0
    names: list[str] = []


class Outer(Struct, forbid_unknown_fields=True):
    title: str
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("document", "path", "kind", "expected"),
    [
        ([], (), "wrong", Outer),
        (None, (), "wrong", Outer),
        ({}, ("title",), "missing", str),
        ({"title": 5}, ("title",), "wrong", str),
        ({"titel": "x", "inner": 5}, ("titel",), "unknown", None),
        ({"title": "x", "inner": 5}, ("inner",), "wrong", Inner),
        ({"title": "x", "inner": {"name": []}}, ("inner", "name"), "unknown", None),
        ({"title": "x", "inner": {"names": [5]}}, ("inner", "names"), "wrong", list[str]),
    ],
)
def test_find_misfit_names_the_first_member_and_how_it_does_not_fit(
    document: Any, path: tuple[str, ...], kind: str, expected: Any
) -> None:
    """Its path, its kind and the type that is right, at any depth."""
    misfit = find_misfit(document, Outer)
    assert (misfit.path, misfit.kind, misfit.expected) == (path, kind, expected)


values = st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=2) | st.lists(st.integers() | st.text())


@given(
    st.dictionaries(
        st.sampled_from(["title", "inner", "x"]),
        values | st.dictionaries(st.sampled_from(["number", "names", "x"]), values),
    )
)
def test_find_misfit_finds_one_wherever_msgspec_refuses(document: dict[str, Any]) -> None:
    """A document that was refused has a member to blame, and without that member's value it is another document."""
    try:
        msgspec.convert(document, Outer)
    except msgspec.ValidationError:
        misfit = find_misfit(document, Outer)
        assert misfit.path
        table: Any = document
        for name in misfit.path[:-1]:
            table = table[name]
        assert (misfit.path[-1] in table) == (misfit.kind != "missing")

"""The member of a document that does not fit a Struct, found without the words of msgspec's errors.

These words are English sentences that a release of msgspec may change. The types alone decide here; the sentence for a
person is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

MisfitKind: TypeAlias = Literal["unknown", "missing", "wrong"]
"""How a member does not fit.

``unknown``: the Struct has no such member. ``missing``: it has to be there. ``wrong``: its value is of another kind.
"""


class Misfit(Struct, frozen=True):
    """A member that does not fit.

    Attributes:
        path: The names that lead to it; empty for the document itself.
        kind: How it does not fit.
        table: The Struct that it stands in, or, with an empty `path`, the one that the document is not.
        expected: The type that its value should have; None where it is unknown.
    """

    path: tuple[str, ...]
    kind: MisfitKind
    table: type[Struct]
    expected: Any = None


def find_misfit(document: object, table: type[Struct]) -> Misfit:
    """Return the first member that does not fit: unknown ones first, then in the order of the Struct.

    Args:
        document: Plain values, which `msgspec.convert` has refused.
        table: A Struct that forbids unknown members, as each Struct within it does.
    """
    if not isinstance(document, Mapping):
        return Misfit((), "wrong", table, table)
    fields = {field.encode_name: field for field in msgspec.structs.fields(table)}
    for name in document:
        if name not in fields:
            return Misfit((str(name),), "unknown", table)
    for name, field in fields.items():
        if name not in document:
            if field.required:
                return Misfit((name,), "missing", table, field.type)
        elif not _fits(document[name], field.type):
            if isinstance(field.type, type) and issubclass(field.type, Struct):
                inner = find_misfit(document[name], field.type)
                return msgspec.structs.replace(inner, path=(name, *inner.path))
            return Misfit((name,), "wrong", table, field.type)
    return Misfit((), "wrong", table, table)


def _fits(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True

"""A search for the member of a document that does not fit a Struct, independent of msgspec's error messages.

These are English sentences that a release of msgspec may change. The types alone decide here; the caller writes the
sentence for the user.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

MisfitKind: TypeAlias = Literal["unknown", "missing", "wrong"]
"""The kind of a misfit.

``unknown``: the Struct has no such member. ``missing``: a required member is absent. ``wrong``: its value has another
type.
"""


class Misfit(Struct, frozen=True):
    """A member that does not fit.

    Attributes:
        path: The names that lead to it; empty for the document itself.
        kind: The kind of misfit.
        table: The Struct that contains it or, with an empty `path`, the one that the document should be.
        expected: The type that its value should have; None if the member is unknown.
    """

    path: tuple[str, ...]
    kind: MisfitKind
    table: type[Struct]
    expected: Any = None


def find_misfit(document: object, table: type[Struct]) -> Misfit:
    """Return the first member that does not fit: unknown ones first, then in the order of the Struct.

    Args:
        document: Plain values that `msgspec.convert` has refused.
        table: A Struct that forbids unknown members, as do all Structs within it.
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

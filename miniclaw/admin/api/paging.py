"""Pages of a long list: a cursor names the row after which the next page begins.

A cursor contains the row's sort key and name, and no row number; it therefore remains valid while rows are added and
removed.
"""

from __future__ import annotations

import base64
import heapq
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from miniclaw.admin.api.refusals import RequestRefusedError
from miniclaw.admin.client.messages import MAX_PAGE

T = TypeVar("T")

Limit = Annotated[
    int,
    Meta(ge=1, le=MAX_PAGE, description="At most so many.", extra={"right": f"a whole number from 1 to {MAX_PAGE}"}),
]
Cursor = Annotated[
    str | None,
    Meta(description="The `next` of the page before.", extra={"right": "the `next` of the page before"}),
]


class PageQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limit and beginning of a page of a list."""

    limit: Limit = 100
    cursor: Cursor = None


class _Cursor(Struct, array_like=True, forbid_unknown_fields=True):
    order: str
    key: float | str
    name: str


def page(
    rows: Iterable[T], key: Callable[[T], tuple[Any, str]], query: PageQuery, *, order: str
) -> tuple[list[T], str | None]:
    """Return the rows of one page, in their order, and the cursor of the next page; None: there is none.

    Args:
        rows: All rows, in any order.
        key: Returns the sort key of a row, a number or a text, and its name, which is unique.
        query: The limit, at least 1, and the cursor of this page; None: the first page.
        order: The name of the order.

    Raises:
        RequestRefusedError: The text is no cursor, or one of another order.
    """
    limit = query.limit
    after = None if query.cursor is None else _read(query.cursor, order)
    try:
        rest = rows if after is None else (row for row in rows if key(row) > after)
        # Not sorted() as a whole: a sort of a hundred thousand rows would hold the GIL until it ends.
        found = heapq.nsmallest(limit + 1, rest, key=key)
    except TypeError:  # a number compared with a text
        raise _refused() from None
    if len(found) <= limit:
        return found, None
    last, name = key(found[limit - 1])
    text = base64.urlsafe_b64encode(msgspec.json.encode(_Cursor(order, last, name))).decode().rstrip("=")
    return found[:limit], text


def _read(cursor: str, order: str) -> tuple[Any, str]:
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found = msgspec.json.decode(data, type=_Cursor)
    except (ValueError, RecursionError):
        raise _refused() from None
    if found.order != order:
        raise RequestRefusedError(400, f"it is of the order {found.order!r}, not {order!r}", field="cursor")
    return found.key, found.name


def _refused() -> RequestRefusedError:
    return RequestRefusedError(400, "it is no cursor; take the one that the page before gave as `next`", field="cursor")

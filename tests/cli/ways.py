"""The two ways in which a command does something: by owning the workspace, and by the gateway that owns it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])


def directly(why: str) -> Callable[[T], T]:
    """Have a test of a module with ``BOTH_WAYS`` run without a gateway only.

    Args:
        why: What there is in it that a gateway changes.
    """

    def mark(test: T) -> T:
        test.without_gateway = why  # type: ignore[attr-defined]
        return test

    return mark
